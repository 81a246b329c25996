//! One connection: its handshake, its requests, and its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::pace::{Pace, Paced};
use super::{Body, Limits, Options, plain};

/// What all connections share.
pub(super) struct Shared<H> {
    pub(super) handler: H,
    pub(super) options: Options,
    /// Asks connections to end after the request that they are at.
    pub(super) stop: CancellationToken,
}

/// Serves one connection to its end. Its failures are the client's affair and are logged at debug.
pub(super) async fn run<H, F>(stream: TcpStream, pace: Arc<Pace>, shared: Arc<Shared<H>>)
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let stop = shared.stop.clone();
    let stream = Paced::new(stream, Arc::clone(&pace));
    let tls = match &shared.options.security {
        Some(security) => security.current().await.tls.clone(),
        None => None,
    };
    let Some(tls) = tls else { return http(stream, pace, shared).await };
    let handshake = timeout(shared.options.limits.handshake, TlsAcceptor::from(tls).accept(stream));
    match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => {
            pace.restart();
            http(stream, pace, shared).await;
        }
        Some(Ok(Err(error))) => debug!(%error, "TLS handshake failed"),
        Some(Err(_)) => debug!("TLS handshake too slow"),
        None => debug!("connection closed in its handshake: stopping"),
    }
}

/// Serves HTTP on a connection that is ready for it.
async fn http<S, H, F>(stream: S, pace: Arc<Pace>, shared: Arc<Shared<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let service = service_fn(|request| {
        let turn = pace.begin();
        let shared = Arc::clone(&shared);
        async move {
            let mut response = answer(request, &shared).await;
            response.body_mut().hold(turn);
            Ok::<_, Infallible>(response)
        }
    });
    let limits = &shared.options.limits;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // it would close idle connections too; `pace` knows the difference
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(64 << 10)) // for what is sent, too
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stopped = pin!(shared.stop.cancelled());
    let mut alarm = pin!(sleep_until(pace.deadline()));
    let mut draining = false;
    poll_fn(|cx| {
        if !draining && stopped.as_mut().poll(cx).is_ready() {
            draining = true;
            // Closes at once what has no request yet.
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if let Err(error) = result {
                debug!(%error, "connection failed");
            }
            return Poll::Ready(());
        }
        loop {
            let deadline = pace.deadline();
            if deadline <= Instant::now() {
                debug!(phase = ?pace.phase(), "connection too slow");
                return Poll::Ready(());
            }
            // Moving the alarm is left for when it rings, unless it would ring too late: most requests set none.
            if deadline < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Answers one request: the web configuration's say first, then the body, then the handler.
async fn answer<H, F>(request: Request<Incoming>, shared: &Shared<H>) -> Response<Body>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Response<Body>>,
{
    let limits = &shared.options.limits;
    let Some(security) = &shared.options.security else { return handle(request, limits, &shared.handler).await };
    let active = security.current().await;
    let mut response = match active.admit(request.headers(), security.gate()).await {
        Ok(()) => handle(request, limits, &shared.handler).await,
        Err(refusal) => refusal,
    };
    active.decorate(response.headers_mut());
    response
}

async fn handle<H, F>(request: Request<Incoming>, limits: &Limits, handler: &H) -> Response<Body>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Response<Body>>,
{
    let (head, body) = request.into_parts();
    match read(body, limits).await {
        Ok(body) => handler(Request::from_parts(head, body)).await,
        Err(status) => {
            // What is left of the body stands before the next request, so there is none.
            let mut response = plain(status, status.canonical_reason().unwrap_or("refused").to_lowercase());
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// The whole body of a request, within limits; else the status that refuses it.
async fn read(body: Incoming, limits: &Limits) -> Result<Bytes, StatusCode> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limits.request_body_bytes as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match timeout(limits.header, Limited::new(body, limits.request_body_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
