//! Bytes over a loopback socket: written as they are, and asked of the exporter's own server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_iot_command_exporter::exposition::Gzip;
use aws_iot_command_exporter::server::{Body, Options, serve};
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use aws_iot_command_exporter::text::Format;
use aws_iot_command_exporter::{clock, exposition};
use bytes::Bytes;
use cpu_time::ThreadTime;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use super::fleet;

/// CPU nanoseconds of the thread that writes `body` to a socket, per time.
pub(crate) fn write_finished(body: &[u8], times: u64) -> u64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let reader = thread::spawn(move || read_all(&mut TcpStream::connect(address).expect("connects")));
    let (mut stream, _) = listener.accept().expect("accepts");
    stream.write_all(body).expect("writes");
    let start = ThreadTime::now();
    for _ in 0..times {
        stream.write_all(body).expect("writes");
    }
    let spent = start.elapsed().as_nanos() as u64 / times;
    drop(stream);
    assert_eq!(reader.join().expect("reads"), body.len() as u64 * (times + 1));
    spent
}

/// CPU nanoseconds of the server's only thread for a whole scrape, and the bytes that it sent.
pub(crate) fn scrape(store: Store, gzip: bool, times: u64) -> (u64, u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let shutdown = CancellationToken::new();
    let started = Arc::new(Mutex::new(None));
    let server = {
        let (shutdown, started) = (shutdown.clone(), Arc::clone(&started));
        thread::spawn(move || {
            serve_until(listener, store, gzip, &started, shutdown);
            let started: Option<Duration> = *started.lock().expect("no panic");
            (spent() - started.expect("it was scraped")).as_nanos() as u64
        })
    };
    get(address, gzip);
    *started.lock().expect("no panic") = None;
    let sent = (0..times).map(|_| get(address, gzip)).max().expect("at least once");
    shutdown.cancel();
    (server.join().expect("serves") / times, sent)
}

/// The CPU time of this thread so far.
fn spent() -> Duration {
    ThreadTime::now().as_duration()
}

fn serve_until(
    listener: TcpListener,
    store: Store,
    gzip: bool,
    started: &Arc<Mutex<Option<Duration>>>,
    shutdown: CancellationToken,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (store, started) = (Arc::new(store), Arc::clone(started));
    let (settings, telemetry) = (fleet::settings(), Arc::new(Telemetry::new(Build::THIS)));
    let handler = move |_: Request<Bytes>| {
        started.lock().expect("no panic").get_or_insert_with(spent);
        let view = store.view();
        std::hint::black_box((view.tallies(), clock::now()));
        let own = telemetry.text(Format::Text004);
        let chunks = exposition::render(view, Arc::clone(&settings), fleet::NOW, Format::Text004, own);
        let body = if gzip { Body::chunks(Gzip::new(chunks)) } else { Body::chunks(chunks) };
        async { Response::new(body) }
    };
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        serve(vec![listener], handler, Options::default(), shutdown).await.expect("drains");
    });
}

fn get(address: SocketAddr, gzip: bool) -> u64 {
    let mut stream = TcpStream::connect(address).expect("connects");
    let accept = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let request = format!("GET /metrics HTTP/1.1\r\nHost: bench\r\n{accept}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> u64 {
    let (mut buffer, mut total) = (vec![0; 256 << 10], 0);
    loop {
        match stream.read(&mut buffer).expect("reads") {
            0 => return total,
            read => total += read as u64,
        }
    }
}
