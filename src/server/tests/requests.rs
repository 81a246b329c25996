//! Requests and their answers.

use super::*;

#[tokio::test]
async fn get_and_head_have_the_same_headers() {
    let server = Server::with(Limits::default()).await;
    let get = server.get("/").await;
    let head = server.exchange("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let (headers, body) = get.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "word\n");
    let but_date = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines().filter(|line| !line.starts_with("date:"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(but_date(headers), but_date(&head));
    assert!(headers.starts_with("HTTP/1.1 200 OK") && headers.contains("content-length: 5"), "{headers}");
    assert!(headers.contains("date: "), "{headers}");
}

#[tokio::test]
async fn refusals_say_what_is_allowed() {
    let server = Server::with(Limits::default()).await;
    let post = server.exchange("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    let get = server.get("/echo").await;
    assert!(get.starts_with("HTTP/1.1 405 ") && get.contains("allow: POST\r\n"), "{get}");
    let none = server.get("/nowhere").await;
    assert!(none.starts_with("HTTP/1.1 404 ") && none.contains("text/plain") && none.ends_with("\r\n\r\nnot found\n"));
}

#[tokio::test]
async fn streams_are_chunked_for_http_1_1_and_end_with_the_connection_for_1_0() {
    let server = Server::with(Limits::default()).await;
    let new = server.get("/stream").await;
    assert!(new.contains("transfer-encoding: chunked"), "{new}");
    assert!(new.ends_with("\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"), "{new}");
    let old = server.exchange("GET /stream HTTP/1.0\r\n\r\n").await;
    assert!(
        old.starts_with("HTTP/1.0 200 OK") && !old.contains("chunked") && old.ends_with("\r\n\r\none two"),
        "{old}"
    );
}

#[tokio::test]
async fn a_connection_serves_many_requests_also_sent_ahead() {
    let server = Server::with(Limits::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(until(&mut stream, "word\n").await.starts_with("HTTP/1.1 200"));
    }
    let ahead = format!("{GET}{GET}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(ahead.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await.matches("word\n").count(), 3);
}

#[tokio::test]
async fn a_body_is_read_within_its_limit() {
    let server = Server::with(Limits { request_body_bytes: 10, ..Limits::default() }).await;
    let post =
        |head: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\n{body}");
    let fits = server.exchange(&post("Content-Length: 10", "0123456789")).await;
    assert!(fits.starts_with("HTTP/1.1 200 ") && fits.ends_with("\r\n\r\n0123456789"), "{fits}");
    let chunked = server.exchange(&post("Transfer-Encoding: chunked", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).await;
    assert!(chunked.ends_with("\r\n\r\n0123456789"), "{chunked}");
    // The announced body is not sent: the refusal comes at once.
    let announced = server.exchange(&post("Content-Length: 11", "")).await;
    assert!(announced.starts_with("HTTP/1.1 413 ") && announced.contains("connection: close"), "{announced}");
    let grown = server.exchange(&post("Transfer-Encoding: chunked", "b\r\n0123456789a\r\n")).await;
    assert!(grown.starts_with("HTTP/1.1 413 "), "{grown}");
}

#[tokio::test]
async fn a_handlers_panic_closes_its_connection_only() {
    let server = Server::with(Limits::default()).await;
    let mut other = server.connect().await;
    other.write_all(GET.as_bytes()).await.unwrap();
    until(&mut other, "word\n").await;
    assert_eq!(server.get("/panic").await, "");
    other.write_all(GET.as_bytes()).await.unwrap();
    until(&mut other, "word\n").await;
    assert!(server.get("/").await.ends_with("word\n"));
}

#[tokio::test]
async fn nonsense_is_answered_and_closed() {
    let server = Server::with(Limits::default()).await;
    let answer = server.exchange("\x16\x03\x01 not http\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(server.get("/").await.ends_with("word\n"));
}

/// Run by hand: `cargo test --release --lib server::tests::requests::cost -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn cost() {
    const REQUESTS: u32 = 20_000;
    let server = Server::with(Limits::default()).await;
    let mut stream = server.connect().await;
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<u64> =
            stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2).map_while(|f| f.parse().ok()).collect();
        fields.iter().sum::<u64>() * 10_000
    };
    let (before, start) = (cpu(), tokio::time::Instant::now());
    for _ in 0..REQUESTS {
        stream.write_all(GET.as_bytes()).await.unwrap();
        until(&mut stream, "word\n").await;
    }
    println!(
        "{:.1} µs of CPU and {:.1} µs a request on a kept connection, client included",
        (cpu() - before) as f64 / f64::from(REQUESTS),
        start.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS)
    );
}
