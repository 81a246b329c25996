//! HTTP/1.1 on a TCP listener, by hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::reply::{Delivery, Refusal, Reply};
use super::service::Service;

/// How many connections are served at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// The largest body of a request.
const BODY_BYTES: usize = 1 << 20;

/// Serves until `shutdown`, then drops every connection.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let service = Arc::clone(&service);
                connections.spawn(async move {
                    connection(stream, service).await;
                    drop(permit);
                });
            }
            // No descriptors left, or the client has gone already.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    let reset = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&reset);
    let handler = service_fn(move |request| respond(request, Arc::clone(&service), Arc::clone(&flag)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60))
        .serve_connection(TokioIo::new(stream), handler);
    let ended = (&mut connection).await;
    if ended.is_err() && reset.load(Ordering::Relaxed) {
        // Without lingering, closing sends a reset instead of an orderly end. A socket that is gone needs none.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// An error of the service closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection closes without an answer, as a fault wants it")]
struct Closed;

async fn respond(
    request: http::Request<Incoming>,
    service: Arc<Service>,
    reset: Arc<AtomicBool>,
) -> Result<http::Response<Sent>, Closed> {
    let (parts, body) = request.into_parts();
    let reply = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => service.answer(&parts, &body.to_bytes()).await,
        Err(_) => Reply::refusal(&Refusal::typed(413, "RequestEntityTooLargeException", "At most 1 MiB")),
    };
    if reply.delivery == Delivery::Nothing {
        return Err(Closed);
    }
    reset.store(reply.delivery == Delivery::HalfThenReset, Ordering::Relaxed);
    let length = reply.body.len() as u64;
    let rest = match reply.delivery {
        Delivery::Whole | Delivery::Nothing => Rest::Whole(reply.body),
        Delivery::HalfThenReset => Rest::Half(reply.body.slice(..reply.body.len() / 2), Then::Break),
        Delivery::HalfThenNothing => Rest::Half(reply.body.slice(..reply.body.len() / 2), Then::Wait),
    };
    let mut response = http::Response::new(Sent { rest, length });
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// A body on its way, of a length that is announced and not always kept.
struct Sent {
    rest: Rest,
    length: u64,
}

enum Rest {
    Whole(Bytes),
    Half(Bytes, Then),
    Break,
    BreakNow,
    Wait,
    Nothing,
}

#[derive(Clone, Copy)]
enum Then {
    Break,
    Wait,
}

/// Why half a body is not followed by the other half.
#[derive(Debug, thiserror::Error)]
#[error("the body breaks off, as a fault wants it")]
struct BrokenOff;

impl Body for Sent {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Whole(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Rest::Whole(_) | Rest::Nothing => Poll::Ready(None),
            Rest::Half(bytes, then) => {
                self.rest = match then {
                    Then::Break => Rest::Break,
                    Then::Wait => Rest::Wait,
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Rest::Break => {
                // Once more around, so that the half is flushed before the connection breaks.
                self.rest = Rest::BreakNow;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Rest::BreakNow => Poll::Ready(Some(Err(BrokenOff))),
            Rest::Wait => {
                self.rest = Rest::Wait;
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.rest {
            Rest::Whole(bytes) => bytes.is_empty(),
            Rest::Nothing => true,
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
