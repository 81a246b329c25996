//! How slow a client may be.
//!
//! hyper's own header timeout also closes connections that are idle between requests, and nothing in it ever cuts a
//! slow reader. So the socket and the requests tell here what happens, and the connection asks when it is too late.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// Some of a request's headers have come.
    Head,
    /// A request is being answered.
    Busy,
    /// Between two requests.
    Idle,
}

/// The progress of one connection, and its deadlines.
#[derive(Debug)]
pub(super) struct Pace {
    header: Duration,
    response: Duration,
    keep_alive: Duration,
    write_stall: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client has taken nothing.
    blocked: Option<Instant>,
    /// Counts the requests, so that the end of an earlier one does not end a later one.
    turn: u64,
}

impl Pace {
    /// A connection accepted now.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            header: limits.header,
            response: limits.response,
            keep_alive: limits.keep_alive,
            write_stall: limits.write_stall,
            state: Mutex::new(State { phase: Phase::Fresh, since: Instant::now(), blocked: None, turn: 0 }),
        })
    }

    /// Starts anew, after a handshake.
    pub(super) fn restart(&self) {
        self.state().enter(Phase::Fresh);
    }

    /// A request's headers are complete. Dropping the turn ends the request.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.state();
        state.turn += 1;
        state.enter(Phase::Busy);
        Turn { number: state.turn, pace: Arc::clone(self) }
    }

    /// What the connection is doing.
    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Since when the connection has had no request to answer; `None` while it has.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase != Phase::Busy).then_some(state.since)
    }

    /// When it is too late, if nothing happens until then.
    pub(super) fn deadline(&self) -> Instant {
        let state = self.state();
        let phase = state.since
            + match state.phase {
                Phase::Fresh | Phase::Head => self.header,
                Phase::Busy => self.response,
                Phase::Idle => self.keep_alive,
            };
        state.blocked.map_or(phase, |since| phase.min(since + self.write_stall))
    }

    fn received(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Fresh => state.phase = Phase::Head, // the clock runs from the connection
            Phase::Idle => state.enter(Phase::Head),
            Phase::Head | Phase::Busy => {}
        }
    }

    fn blocked(&self) {
        self.state().blocked = Some(Instant::now());
    }

    fn unblocked(&self) {
        self.state().blocked = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct Turn {
    number: u64,
    pace: Arc<Pace>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if state.turn == self.number {
            state.enter(Phase::Idle);
        }
    }
}

/// A socket that tells its pace what comes and goes.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    blocked: bool,
}

impl<S> Paced<S> {
    /// Wraps a socket.
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace, blocked: false }
    }

    fn wrote<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match (&result, self.blocked) {
            (Poll::Pending, false) => {
                self.blocked = true;
                self.pace.blocked();
            }
            (Poll::Ready(_), true) => {
                self.blocked = false;
                self.pace.unblocked();
            }
            _ => {}
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.received();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> Arc<Pace> {
        Pace::new(&Limits {
            header: SECOND,
            response: 10 * SECOND,
            keep_alive: 20 * SECOND,
            write_stall: 3 * SECOND,
            ..Limits::default()
        })
    }

    fn left(pace: &Pace) -> Duration {
        pace.deadline() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_headers_do_not_move_the_deadline() {
        let pace = pace();
        assert_eq!(left(&pace), SECOND);
        tokio::time::advance(SECOND / 2).await;
        pace.received();
        assert_eq!((pace.phase(), left(&pace)), (Phase::Head, SECOND / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_deadline() {
        let pace = pace();
        let turn = pace.begin();
        assert_eq!((pace.phase(), left(&pace), pace.waiting_since()), (Phase::Busy, 10 * SECOND, None));
        drop(turn);
        assert_eq!((pace.phase(), left(&pace)), (Phase::Idle, 20 * SECOND));
        tokio::time::advance(15 * SECOND).await;
        pace.received();
        assert_eq!((pace.phase(), left(&pace)), (Phase::Head, SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_comes_first_and_progress_forgives_it() {
        let pace = pace();
        let _turn = pace.begin();
        pace.blocked();
        assert_eq!(left(&pace), 3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        pace.unblocked();
        assert_eq!(left(&pace), 8 * SECOND);
        tokio::time::advance(7 * SECOND).await;
        pace.blocked();
        assert_eq!(left(&pace), SECOND, "the response as a whole");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_earlier_request_does_not_end_the_next() {
        let pace = pace();
        let first = pace.begin();
        let _second = pace.begin();
        drop(first);
        assert_eq!(pace.phase(), Phase::Busy);
    }
}
