//! Exact bytes from a bare socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_iot_command_exporter::execution::FailureReason::{self, Connect, Malformed, Timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::{LONG, SHORT, ask, client};

/// What follows the bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    Reset,
    Silence,
    /// The same bytes again and again.
    Flood(&'static [u8]),
}

/// Answers every request with the same bytes.
struct Socket {
    address: String,
    requests: Arc<AtomicUsize>,
    flooded: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Socket {
    async fn start(bytes: Vec<u8>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (requests, flooded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (arrived, sent) = (Arc::clone(&requests), Arc::clone(&flooded));
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, bytes.clone(), then, Arc::clone(&arrived), Arc::clone(&sent)));
            }
        });
        Self { address, requests, flooded, _task: AbortOnDropHandle::new(task) }
    }
}

async fn serve(mut stream: TcpStream, bytes: Vec<u8>, then: Then, arrived: Arc<AtomicUsize>, sent: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    // The beginning of a TLS handshake is a request, too.
    while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.first() != Some(&0x16) {
        match stream.read_buf(&mut request).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
    arrived.fetch_add(1, Ordering::SeqCst);
    // The client may be gone already, which is as good.
    let _ = stream.write_all(&bytes).await;
    match then {
        Then::Close => {}
        Then::Reset => {
            // What was written arrives before the reset.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = stream.set_zero_linger();
        }
        Then::Silence => std::future::pending().await,
        Then::Flood(again) => {
            while stream.write_all(again).await.is_ok() {
                sent.fetch_add(again.len(), Ordering::SeqCst);
            }
        }
    }
}

/// A chunk of 32 KiB of a chunked body.
const CHUNK: &[u8] = {
    const LEN: usize = 0x8000;
    const fn chunk() -> [u8; LEN + 8] {
        let mut bytes = [b'x'; LEN + 8];
        let (head, mut at) = (*b"8000\r\n", 0);
        while at < 6 {
            bytes[at] = head[at];
            at += 1;
        }
        bytes[LEN + 6] = b'\r';
        bytes[LEN + 7] = b'\n';
        bytes
    }
    &chunk()
};

#[tokio::test]
async fn broken_http_is_told_apart() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let cases: Vec<(String, Then, FailureReason)> = vec![
        (String::new(), Then::Close, Connect),
        (String::new(), Then::Reset, Connect),
        (String::new(), Then::Silence, Timeout),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), Then::Close, Connect),
        ("\0\u{1}\u{2}".repeat(100), Then::Silence, Connect),
        ("HTTP/1.1 999999 ?\r\n\r\n".into(), Then::Close, Connect),
        ("HTTP/1.1 200 OK\r\ncontent-le".into(), Then::Close, Connect),
        ("HTTP/1.1 200 OK\r\ncontent-le".into(), Then::Silence, Timeout),
        ("HTTP/1.1 200 OK\r\n".into(), Then::Flood(b"x-more: and more of it\r\n"), Connect),
        (format!("{json}content-length: 100\r\n\r\n{{\"status\":\"CREA"), Then::Reset, Connect),
        (format!("{json}content-length: 100\r\n\r\n{{\"status\":\"CREA"), Then::Close, Connect),
        (format!("{json}content-length: 100\r\n\r\n{{\"status\":\"CREA"), Then::Silence, Timeout),
        (format!("{json}content-length: 100\r\n\r\n"), Then::Silence, Timeout),
        (format!("{json}content-length: 1, 2\r\n\r\n{{}}"), Then::Close, Connect),
        (format!("{json}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n"), Then::Close, Connect),
        (format!("{json}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n"), Then::Close, Connect),
        (format!("{json}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n"), Then::Silence, Timeout),
        (format!("{json}\r\n{{\"status\":\"CREA"), Then::Close, Malformed),
        (format!("{json}content-length: 10000000\r\n\r\n"), Then::Flood(CHUNK), Malformed),
        (format!("{json}\r\n"), Then::Flood(CHUNK), Malformed),
        (format!("{json}transfer-encoding: chunked\r\n\r\n"), Then::Flood(CHUNK), Malformed),
        ("HTTP/1.1 500 No\r\n\r\n".into(), Then::Flood(CHUNK), Malformed),
    ];
    for (bytes, then, reason) in cases {
        let timeout = if reason == Timeout { SHORT } else { LONG };
        let socket = Socket::start(bytes.clone().into_bytes(), then).await;
        let iot = client(&format!("http://{}", socket.address), timeout).await;
        let (outcome, logged) = tokio::time::timeout(LONG, ask(&iot)).await.expect("within its timeout");
        assert_eq!(outcome, Err(reason), "{bytes:?} {then:?}: {logged}");
        assert_eq!(socket.requests.load(Ordering::SeqCst), 1, "no retries: {bytes:?} {then:?}");
        let flooded = socket.flooded.load(Ordering::SeqCst);
        assert!(flooded < 64 << 20, "{flooded} bytes of {bytes:?} were read");
    }
}

#[tokio::test]
async fn broken_tls_is_no_connection() {
    let plain = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".as_bytes();
    let alert = b"\x15\x03\x03\x00\x02\x02\x28".as_slice();
    let cases = [
        (plain, Then::Close, Connect),
        (alert, Then::Close, Connect),
        (b"\x16\x03\x03\xff\xff garbage".as_slice(), Then::Close, Connect),
        (b"".as_slice(), Then::Reset, Connect),
        (b"".as_slice(), Then::Silence, Timeout),
    ];
    for (bytes, then, reason) in cases {
        let timeout = if reason == Timeout { SHORT } else { LONG };
        let socket = Socket::start(bytes.to_vec(), then).await;
        let iot = client(&format!("https://{}", socket.address), timeout).await;
        let (outcome, logged) = tokio::time::timeout(LONG, ask(&iot)).await.expect("within its timeout");
        assert_eq!(outcome, Err(reason), "{bytes:?} {then:?}: {logged}");
        assert_eq!(socket.requests.load(Ordering::SeqCst), 1, "no retries: {bytes:?} {then:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|port| port.local_addr()).expect("a free port");
    // No name server is asked: a label of DNS has 63 bytes at the most.
    let unresolvable = format!("https://{}.invalid", "a".repeat(64));
    for url in [format!("http://{closed}"), format!("https://{closed}"), unresolvable] {
        let (outcome, logged) = ask(&client(&url, LONG).await).await;
        assert_eq!(outcome, Err(Connect), "{url}: {logged}");
        assert!(logged.len() > "connect: ".len(), "{url}: the log says nothing more");
    }
}
