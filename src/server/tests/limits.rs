//! Slow, idle, greedy and many clients; and no descriptors left.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::*;
use crate::server::accept::Accept;
use crate::server::serve::serve_on;

fn short() -> Limits {
    Limits { header: Duration::from_millis(300), ..Limits::default() }
}

#[tokio::test]
async fn two_hundred_idle_connections_are_closed_and_a_good_request_is_served_meanwhile() {
    let server = Server::with(short()).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(server.connect().await);
    }
    assert!(server.get("/").await.ends_with("word\n"));
    for mut stream in idle {
        assert_eq!(rest(&mut stream).await, "");
    }
}

#[tokio::test]
async fn slow_headers_are_cut_however_busy_they_look() {
    let server = Server::with(short()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_all(b"X-Slow: 1\r\n").await.is_err() {
                return;
            }
        }
    };
    soon(drip).await;
}

#[tokio::test]
async fn later_slow_headers_are_cut_too_and_idling_between_requests_is_not() {
    let limits =
        Limits { header: Duration::from_millis(200), keep_alive: Duration::from_secs(60), ..Limits::default() };
    let server = Server::with(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    until(&mut stream, "word\n").await;
    // Well past the header timeout, which closes a connection that never asked anything ...
    let mut idle = server.connect().await;
    assert_eq!(rest(&mut idle).await, "");
    let mut idle = server.connect().await;
    assert_eq!(rest(&mut idle).await, "");
    // ... the kept one is still there.
    stream.write_all(GET.as_bytes()).await.unwrap();
    until(&mut stream, "word\n").await;
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_kept_connection_is_closed_in_the_end() {
    let server = Server::with(Limits { keep_alive: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.ends_with("word\n"));
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let server = Server::with(Limits { header_bytes: 16 << 10, ..Limits::default() }).await;
    let get =
        |bytes| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Fill: {}\r\n\r\n", "a".repeat(bytes));
    assert!(server.exchange(&get(15 << 10)).await.starts_with("HTTP/1.1 200 "));
    assert!(server.exchange(&get(17 << 10)).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(server.exchange(&many).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn headers_without_end_are_refused_before_they_fill_the_memory() {
    let server = Server::with(Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let mut sent = 0;
    let fill = async {
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {
            sent += 4096;
        }
    };
    soon(fill).await;
    // The sockets' own buffers take some megabytes on loopback.
    assert!(sent < 32 << 20, "{sent} bytes taken");
}

#[tokio::test]
async fn a_slow_body_is_cut() {
    let server = Server::with(short()).await;
    let answer = server.exchange("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let server = Server::with(Limits { write_stall: Duration::from_millis(300), ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun().await;
    // The server is the one to end it: on a stop it waits for a response in flight, and this one has no end.
    server.stop.cancel();
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 0 });
}

#[tokio::test]
async fn a_response_has_a_deadline_even_if_the_client_reads_on() {
    let server = Server::with(Limits { response: Duration::from_millis(300), ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    let drain = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    soon(drain).await;
    assert_eq!(server.get("/gate").await, "", "nor may a handler take for ever");
}

#[tokio::test]
async fn those_who_wait_make_room_for_those_who_ask() {
    let server = Server::with(Limits { connections: 4, header: BOUND, ..Limits::default() }).await;
    let mut first = server.connect().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.connect().await);
    }
    assert!(server.get("/").await.ends_with("word\n"));
    assert_eq!(rest(&mut first).await, "", "the longest wait ends first");
    held[2].write_all(GET.as_bytes()).await.unwrap();
    until(&mut held[2], "word\n").await;
}

#[tokio::test]
async fn over_the_limit_with_all_at_work_is_refused_at_once() {
    let server = Server::with(Limits { connections: 2, ..Limits::default() }).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        server.begun().await;
        busy.push(stream);
    }
    let mut third = server.connect().await;
    let refused = rest(&mut third).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("\r\n\r\ntoo many connections\n"), "{refused}");
    for mut stream in busy {
        server.open_gate();
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with("through the gate\n"), "{answer}");
    }
    assert!(server.get("/").await.ends_with("word\n"));
}

#[test]
fn the_refusal_counts_its_bytes() {
    let text = std::str::from_utf8(crate::server::serve::REFUSAL).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
}

/// A listener that fails before it accepts.
struct Faulty {
    listener: TcpListener,
    errno: i32,
    /// How often it still fails; counted down once it may fail.
    left: AtomicUsize,
    fails: Arc<AtomicBool>,
}

impl Accept for Faulty {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let fails = self.fails.load(Ordering::SeqCst);
        let count = |left: usize| left.checked_sub(1);
        if fails && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(self.errno)));
        }
        self.listener.poll_accept(cx)
    }
}

async fn faulty(errno: i32, times: usize) -> (Server, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let faulty = Faulty { listener, errno, left: AtomicUsize::new(times), fails: Arc::clone(&fails) };
    let (stop, signals) = (CancellationToken::new(), Signals::new());
    let handler = app(signals.clone());
    let listeners = vec![("faulty".to_owned(), faulty)];
    let serving = tokio::spawn(serve_on(listeners, handler, Options::default(), stop.clone()));
    (Server { address, stop, serving, signals }, fails)
}

#[tokio::test]
async fn without_descriptors_old_connections_go_on_and_new_ones_come_later() {
    let (server, fails) = faulty(libc::EMFILE, 4).await;
    let mut old = server.connect().await;
    old.write_all(GET.as_bytes()).await.unwrap();
    until(&mut old, "word\n").await;
    fails.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let new = server.get("/");
    let go_on = async {
        for _ in 0..20 {
            old.write_all(GET.as_bytes()).await.unwrap();
            until(&mut old, "word\n").await;
        }
    };
    // The listener is asked before it fails, so a first connection may still come through.
    let (first, ()) = tokio::join!(new, go_on);
    assert!(first.ends_with("word\n"), "{first}");
    assert!(server.get("/").await.ends_with("word\n"));
    assert!(start.elapsed() >= Duration::from_millis(20 + 40 + 80), "it waits between tries");
}

#[tokio::test]
async fn dead_connections_are_passed_over() {
    let (server, fails) = faulty(libc::ECONNABORTED, 50).await;
    fails.store(true, Ordering::SeqCst);
    assert!(server.get("/").await.ends_with("word\n"));
    assert!(server.get("/").await.ends_with("word\n"));
}

#[tokio::test]
async fn a_broken_listener_ends_the_server_after_the_requests_in_flight() {
    let (server, fails) = faulty(libc::EBADF, 1).await;
    let mut inside = server.connect().await;
    inside.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun().await;
    fails.store(true, Ordering::SeqCst);
    let _wakes_the_listener = server.connect().await;
    server.open_gate();
    assert!(rest(&mut inside).await.ends_with("through the gate\n"));
    let error = server.stopped().await.unwrap_err();
    assert_eq!(error.to_string(), "listening on faulty failed");
}
