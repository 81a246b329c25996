//! Bytes over a loopback socket: written as they are, and asked of the exporter's own server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_iot_command_exporter::exposition::{self, Gzip};
use aws_iot_command_exporter::server::{Body, Options, serve};
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use aws_iot_command_exporter::text::Format;
use bytes::Bytes;
use cpu_time::{ProcessTime, ThreadTime};
use http::header::ACCEPT_ENCODING;
use http::{Request, Response};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::fleet;

/// What readers ask for at once.
const READ: usize = 256 << 10;

/// CPU nanoseconds of one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Of the thread that sends.
    pub(crate) sender: u64,
    /// Of it and the one that reads: on a loopback socket much of what sending costs is done when the reader's kernel
    /// acknowledges, on the reader's account, and how much of it that is depends on who waits for whom.
    pub(crate) both: u64,
}

/// What it takes to write `body` to a socket, in parts of so many bytes: the whole in one call, or as a program writes
/// that does not hold the whole. Small parts cost more, since each ends with a small packet.
pub(crate) fn write_finished(body: &[u8], part: usize, times: u64) -> Spent {
    let (listener, address) = listen();
    let reader = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("connects");
        let (mut buffer, mut total) = (vec![0; READ], 0);
        loop {
            match stream.read(&mut buffer).expect("reads") {
                0 => return total,
                read => total += read as u64,
            }
        }
    });
    let (mut stream, _) = listener.accept().expect("accepts");
    stream.write_all(body).expect("writes");
    let (start, all) = (ThreadTime::now(), ProcessTime::now());
    for part in (0..times).flat_map(|_| body.chunks(part)) {
        stream.write_all(part).expect("writes");
    }
    let sender = start.elapsed().as_nanos() as u64 / times;
    drop(stream);
    assert_eq!(reader.join().expect("reads"), body.len() as u64 * (times + 1));
    Spent { sender, both: all.elapsed().as_nanos() as u64 / times }
}

/// What a whole scrape takes of the server, which has one thread, and the bytes that it sent.
pub(crate) fn scrape(store: Store, gzip: bool, times: u64) -> (Spent, u64) {
    let (listener, address) = listen();
    let shutdown = CancellationToken::new();
    let started = Arc::new(Mutex::new(None));
    let server = {
        let (shutdown, started) = (shutdown.clone(), Arc::clone(&started));
        thread::spawn(move || {
            let mark = Arc::clone(&started);
            let asked = move || _ = mark.lock().expect("no panic").get_or_insert_with(spent);
            serve_until(Builder::new_current_thread(), listener, Arc::new(store), asked, shutdown);
            let started: Option<Duration> = *started.lock().expect("no panic");
            (spent() - started.expect("it was scraped")).as_nanos() as u64
        })
    };
    let mut client = Client::new(address, gzip);
    client.get(|_| {});
    *started.lock().expect("no panic") = None;
    let all = ProcessTime::now();
    let sent = (0..times).map(|_| client.get(|_| {})).max().expect("at least once");
    let both = all.elapsed().as_nanos() as u64 / times;
    drop(client);
    shutdown.cancel();
    (Spent { sender: server.join().expect("serves") / times, both }, sent)
}

/// The CPU time of this thread so far.
fn spent() -> Duration {
    ThreadTime::now().as_duration()
}

/// A port of this machine.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// The exporter's server with its path of a scrape, until `shutdown`. `asked` is called for every request.
pub(crate) fn serve_until(
    mut runtime: Builder,
    listener: TcpListener,
    store: Arc<Store>,
    asked: impl Fn() + Send + Sync + 'static,
    shutdown: CancellationToken,
) {
    let (settings, telemetry) = (fleet::settings(), Arc::new(Telemetry::new(Build::THIS)));
    let handler = move |request: Request<Bytes>| {
        asked();
        let view = store.view();
        std::hint::black_box(view.tallies());
        let own = telemetry.text(Format::Text004);
        let chunks = exposition::render(view, Arc::clone(&settings), fleet::NOW, Format::Text004, own);
        let gzip = request.headers().contains_key(ACCEPT_ENCODING);
        let body = if gzip { Body::chunks(Gzip::new(chunks)) } else { Body::chunks(chunks) };
        async { Response::new(body) }
    };
    runtime.enable_all().build().expect("a runtime").block_on(async {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        serve(vec![listener], handler, Options::default(), shutdown).await.expect("drains");
    });
}

/// A scrape as Prometheus makes it, again and again on one connection.
pub(crate) struct Client {
    stream: TcpStream,
    request: String,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, gzip: bool) -> Self {
        let accept = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let request = format!("GET /metrics HTTP/1.1\r\nHost: bench\r\n{accept}\r\n");
        Self { stream: TcpStream::connect(address).expect("connects"), request, buffer: vec![0; READ] }
    }

    /// Reads a whole response, hands it over as it comes, and returns its size.
    pub(crate) fn get(&mut self, mut received: impl FnMut(&[u8])) -> u64 {
        // What the last chunk ends with. No text has it; compressed bytes could, once in 2^56 reads.
        const END: &[u8] = b"\r\n0\r\n\r\n";
        self.stream.write_all(self.request.as_bytes()).expect("writes");
        let (mut total, mut kept) = (0, 0);
        loop {
            let read = self.stream.read(&mut self.buffer[kept..]).expect("reads");
            assert!(read > 0, "the server has closed the connection");
            total += read as u64;
            let filled = kept + read;
            received(&self.buffer[kept..filled]);
            if self.buffer[..filled].ends_with(END) {
                return total;
            }
            // The end may come in two reads.
            kept = filled.min(END.len());
            self.buffer.copy_within(filled - kept..filled, 0);
        }
    }

    /// A whole response's body.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        self.get(|bytes| response.extend_from_slice(bytes));
        let head = response.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let (mut rest, mut body) = (&response[head + 4..], Vec::new());
        loop {
            let line = rest.windows(2).position(|window| window == b"\r\n").expect("the size of a chunk");
            let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.expect("a size");
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&rest[line + 2..][..size]);
            rest = &rest[line + 2 + size + 2..];
        }
    }
}
