//! Accepting connections, and which failures of it pass.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::{info, warn};

/// The pause after a first failure; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// So soon at the latest is it tried again: a scrape that waits in the backlog should not time out.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Where connections come from; a listener, or in tests one that fails on purpose.
pub(super) trait Accept {
    /// The next connection.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Accept for TcpListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        TcpListener::poll_accept(self, cx)
    }
}

/// What a failure of `accept` means for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One connection died before it was accepted; the next may be had at once.
    Connection,
    /// The system is short of something; the listener recovers.
    Shortage,
    /// The listener itself is broken.
    Listener,
}

impl Fault {
    /// By accept(2). What it does not name is taken as passing: a listener is given up only for a reason.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENOPROTOOPT,
            ) => Self::Connection,
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) => Self::Listener,
            _ => Self::Shortage,
        }
    }
}

/// When to accept again after failures, logged once where it begins and once where it ends.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pause: Option<Duration>,
}

impl Backoff {
    /// Notes a failure that passes; returns when to try again.
    pub(super) fn failed(&mut self, error: &io::Error) -> Instant {
        let pause = match self.pause {
            Some(pause) => (pause * 2).min(MAX_PAUSE),
            None => {
                warn!(%error, "accepting connections fails; trying again until it works");
                FIRST_PAUSE
            }
        };
        self.pause = Some(pause);
        Instant::now() + pause
    }

    /// Notes a connection.
    pub(super) fn accepted(&mut self) {
        if self.pause.take().is_some() {
            info!("accepting connections works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortages_pass() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EPERM, libc::EAGAIN] {
            assert_eq!(Fault::of(&io::Error::from_raw_os_error(errno)), Fault::Shortage, "{errno}");
        }
        assert_eq!(Fault::of(&io::Error::other("no number")), Fault::Shortage);
    }

    #[test]
    fn a_dead_connection_costs_no_pause() {
        for errno in [libc::ECONNABORTED, libc::ECONNRESET, libc::EINTR, libc::ENETDOWN, libc::EPROTO] {
            assert_eq!(Fault::of(&io::Error::from_raw_os_error(errno)), Fault::Connection, "{errno}");
        }
    }

    #[test]
    fn a_broken_listener_is_given_up() {
        for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EOPNOTSUPP] {
            assert_eq!(Fault::of(&io::Error::from_raw_os_error(errno)), Fault::Listener, "{errno}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_second_and_start_anew() {
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| (backoff.failed(&error) - Instant::now()).as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.accepted();
        assert_eq!((backoff.failed(&error) - Instant::now()).as_millis(), 20);
    }
}
