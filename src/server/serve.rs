//! The server: its listeners, all its connections, and its end.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::accept::{Accept, Backoff, Fault};
use super::connection::{self, Shared};
use super::pace::Pace;
use super::{Body, Limits, WebSecurity};

/// What a client over the limit gets, where TLS does not stand in between.
pub(super) const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n";

/// How long aborted connections may take to be gone: longer only if a handler blocks its thread.
const ABORT: Duration = Duration::from_secs(1);

/// How a server serves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a client may take.
    pub limits: Limits,
    /// TLS, authentication and the rest of a web configuration; `None` is plain HTTP for everybody.
    pub security: Option<Arc<WebSecurity>>,
}

/// A server that stopped as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections cut because their requests had not finished in time.
    pub aborted: usize,
}

/// A server that cannot go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is nothing to listen on.
    #[error("no listener")]
    NoListener,
    /// A listener is broken for good.
    #[error("listening on {address} failed")]
    Listener {
        /// Where it listened.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Serves HTTP on `listeners` until `shutdown`, then lets the requests in flight finish within `limits.drain`.
///
/// The handler gets each request that the limits and the web configuration let through, with its whole body. When a
/// client goes away, the handler's future and the response's body are dropped. Dropping the future of `serve` closes
/// everything at once.
///
/// # Errors
/// A listener that fails for good; requests in flight are finished first, as on a shutdown.
pub async fn serve<H, F>(
    listeners: Vec<TcpListener>,
    handler: H,
    options: Options,
    shutdown: CancellationToken,
) -> Result<Drained, ServeError>
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listeners = listeners
        .into_iter()
        .map(|listener| {
            (listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()), listener)
        })
        .collect();
    serve_on(listeners, handler, options, shutdown).await
}

/// [`serve()`] on anything that accepts, each with its name.
pub(super) async fn serve_on<L, H, F>(
    listeners: Vec<(String, L)>,
    handler: H,
    options: Options,
    shutdown: CancellationToken,
) -> Result<Drained, ServeError>
where
    L: Accept,
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    let stop = shutdown.child_token();
    let shared = Arc::new(Shared { handler, options, stop: stop.clone() });
    let mut connections = Connections { tasks: JoinSet::new(), open: HashMap::new(), full: false };
    let ended = accept_until(&listeners, &shared, &mut connections, &shutdown).await;
    drop(listeners);
    stop.cancel();
    let drained = connections.drain(shared.options.limits.drain).await;
    ended.map(|()| drained)
}

/// Accepts and reaps connections until `shutdown`.
async fn accept_until<L, H, F>(
    listeners: &[(String, L)],
    shared: &Arc<Shared<H>>,
    connections: &mut Connections,
    shutdown: &CancellationToken,
) -> Result<(), ServeError>
where
    L: Accept,
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut turn = 0;
    let mut backoff = Backoff::default();
    let mut resume = Instant::now();
    loop {
        let accepted = async {
            sleep_until(resume).await;
            poll_fn(|cx| poll_accept(listeners, &mut turn, cx)).await
        };
        let (listener, result) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = connections.tasks.join_next_with_id(), if !connections.tasks.is_empty() => {
                connections.ended(ended);
                continue;
            }
            accepted = accepted => accepted,
        };
        match result {
            Ok((stream, _)) => {
                backoff.accepted();
                connections.add(stream, shared);
            }
            Err(error) => match Fault::of(&error) {
                Fault::Connection => debug!(%error, "a connection died before it was accepted"),
                Fault::Shortage => resume = backoff.failed(&error),
                Fault::Listener => {
                    return Err(ServeError::Listener { address: listeners[listener].0.clone(), source: error });
                }
            },
        }
    }
}

/// The next connection of any listener, asked in turns so that none is starved.
fn poll_accept<L: Accept>(
    listeners: &[(String, L)],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<(usize, io::Result<(TcpStream, SocketAddr)>)> {
    for _ in 0..listeners.len() {
        *turn = (*turn + 1) % listeners.len();
        if let Poll::Ready(result) = listeners[*turn].1.poll_accept(cx) {
            return Poll::Ready((*turn, result));
        }
    }
    Poll::Pending
}

/// The connections of a server.
struct Connections {
    tasks: JoinSet<()>,
    /// Those that count against the limit.
    open: HashMap<Id, (AbortHandle, Arc<Pace>)>,
    /// Whether the last connection was refused.
    full: bool,
}

impl Connections {
    /// Serves a new connection, or refuses it at once.
    fn add<H, F>(&mut self, stream: TcpStream, shared: &Arc<Shared<H>>)
    where
        H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        if self.open.len() >= shared.options.limits.connections && !self.evict() {
            if !std::mem::replace(&mut self.full, true) {
                warn!(connections = self.open.len(), "too many connections at work; refusing more");
            }
            if !shared.options.security.as_ref().is_some_and(|security| security.has_tls()) {
                // A courtesy: what does not fit into the empty send buffer is not worth waiting for.
                _ = stream.try_write(REFUSAL);
            }
            return;
        }
        if std::mem::take(&mut self.full) {
            info!("connections are accepted again");
        }
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY not set");
        }
        let pace = Pace::new(&shared.options.limits);
        let task = self.tasks.spawn(connection::run(stream, Arc::clone(&pace), Arc::clone(shared)));
        self.open.insert(task.id(), (task, pace));
    }

    /// Closes the connection that has waited longest without a request, so that those who only hold connections
    /// cannot keep out those who ask. Says whether there was one.
    fn evict(&mut self) -> bool {
        let waiting = self.open.iter().filter_map(|(id, (_, pace))| Some((pace.waiting_since()?, *id)));
        let Some((_, id)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        if let Some((task, _)) = self.open.remove(&id) {
            task.abort();
            debug!("waiting connection closed for a new one");
        }
        true
    }

    /// Forgets a connection that ended.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(failed) => {
                if failed.is_panic() {
                    // The panic's own text stays with the panic hook: it may hold anything.
                    error!("a request's handler panicked; its connection is closed");
                }
                failed.id()
            }
        };
        self.open.remove(&id);
    }

    /// Waits for all to end, then aborts the rest.
    async fn drain(mut self, within: Duration) -> Drained {
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.ended(ended);
            }
        };
        if timeout(within, all).await.is_ok() {
            return Drained { aborted: 0 };
        }
        let aborted = self.tasks.len();
        warn!(connections = aborted, "requests did not finish in time; closing their connections");
        if timeout(ABORT, self.tasks.shutdown()).await.is_err() {
            error!("a request's handler blocks its thread");
        }
        Drained { aborted }
    }
}
