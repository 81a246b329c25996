//! The server from outside: real sockets on loopback, real time, short limits. Every wait is for something, under a
//! bound that is only reached when the test fails.

mod drain;
mod limits;
mod requests;
mod web;
mod web_config;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// Longer than anything takes that works.
const BOUND: Duration = Duration::from_secs(20);

/// The result of `future`, which must come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("nothing happened for too long")
}

/// A running server.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<Drained, ServeError>>,
    signals: Signals,
}

/// Between a test and its handlers.
#[derive(Clone)]
struct Signals {
    /// One permit lets one request to `/gate` or `/body` finish.
    gate: Arc<Semaphore>,
    /// One permit for each request to `/gate`, `/body` or `/endless` that has begun.
    begun: Arc<Semaphore>,
}

impl Signals {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), begun: Arc::new(Semaphore::new(0)) }
    }
}

impl Server {
    async fn start(limits: Limits, security: Option<WebSecurity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, signals) = (CancellationToken::new(), Signals::new());
        let handler = app(signals.clone());
        let options = Options { limits, security: security.map(Arc::new) };
        let serving = tokio::spawn(serve(vec![listener], handler, options, stop.clone()));
        Self { address, stop, serving, signals }
    }

    async fn with(limits: Limits) -> Self {
        Self::start(limits, None).await
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }

    /// Sends `text` on a connection of its own and reads all that comes back.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    /// Waits until a request has begun.
    async fn begun(&self) {
        soon(self.signals.begun.acquire()).await.unwrap().forget();
    }

    /// Lets a request finish that waits for it.
    fn open_gate(&self) {
        self.signals.gate.add_permits(1);
    }

    async fn stopped(self) -> Result<Drained, ServeError> {
        soon(self.serving).await.unwrap()
    }
}

/// What comes until the connection ends; a reset is an end too.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match soon(stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => return String::from_utf8(all).unwrap(),
            Ok(read) => all.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Reads until the answer ends with `end`, on a connection that stays open.
async fn until(stream: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    let mut all = String::new();
    while !all.ends_with(end) {
        let mut buffer = [0; 4096];
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "closed after {all:?}");
        all.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    all
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

type Answer = std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What is served: `/` a word, `/stream` chunks, `/gate` an answer on permit, `/body` a body whose second half comes on
/// permit, `/endless` chunks without end, `/panic`, and `POST /echo`.
fn app(signals: Signals) -> impl Fn(Request<Bytes>) -> Answer + Send + Sync + 'static {
    let routes = Routes::new()
        .with("/", Methods::Read, 'w')
        .with("/stream", Methods::Read, 's')
        .with("/gate", Methods::Read, 'g')
        .with("/body", Methods::Read, 'b')
        .with("/endless", Methods::Read, 'e')
        .with("/panic", Methods::Read, 'p')
        .with("/echo", Methods::Post, 'o');
    let routes = Arc::new(routes);
    move |request| {
        let (routes, Signals { gate, begun }) = (Arc::clone(&routes), signals.clone());
        Box::pin(async move {
            match routes.find(request.method(), request.uri().path()) {
                Ok('w') => plain(http::StatusCode::OK, "word"),
                Ok('s') => Response::new(Body::chunks(["one ", "", "two"].map(Bytes::from).into_iter())),
                Ok('g') => {
                    begun.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                    plain(http::StatusCode::OK, "through the gate")
                }
                Ok('b') => {
                    begun.add_permits(1);
                    Response::new(Body::stream(Halves { gate: Box::pin(gate.acquire_owned()), sent: 0 }))
                }
                Ok('e') => {
                    begun.add_permits(1);
                    Response::new(Body::chunks(std::iter::repeat(Bytes::from(vec![b'x'; 64 << 10]))))
                }
                Ok('p') => panic!("on purpose"),
                Ok(_) => Response::new(request.into_body().to_vec().into()),
                Err(refusal) => refusal,
            }
        })
    }
}

type Permit = std::pin::Pin<
    Box<dyn Future<Output = Result<tokio::sync::OwnedSemaphorePermit, tokio::sync::AcquireError>> + Send>,
>;

/// A body whose second half waits for a permit.
struct Halves {
    gate: Permit,
    sent: u8,
}

impl http_body::Body for Halves {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let half = match self.sent {
            0 => "first half, ",
            1 => {
                std::task::ready!(self.gate.as_mut().poll(cx)).unwrap().forget();
                "second half"
            }
            _ => return std::task::Poll::Ready(None),
        };
        self.sent += 1;
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from(half)))))
    }
}
