//! Stopping.

use super::*;

#[tokio::test]
async fn a_response_in_flight_is_delivered_whole() {
    let server = Server::with(Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /body HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun().await;
    until(&mut stream, "first half, \r\n").await;
    server.stop.cancel();
    // Nobody new is let in once the listener is closed.
    soon(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!server.serving.is_finished());
    server.open_gate();
    assert_eq!(rest(&mut stream).await, "B\r\nsecond half\r\n0\r\n\r\n");
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 0 });
}

#[tokio::test]
async fn a_handler_at_work_answers_and_closes() {
    let server = Server::with(Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun().await;
    server.stop.cancel();
    server.open_gate();
    let answer = rest(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("through the gate\n"), "{answer}");
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 0 });
}

#[tokio::test]
async fn waiting_connections_are_closed_at_once() {
    let server = Server::with(Limits { drain: 2 * BOUND, header: 2 * BOUND, ..Limits::default() }).await;
    let mut kept = server.connect().await;
    kept.write_all(GET.as_bytes()).await.unwrap();
    until(&mut kept, "word\n").await;
    let mut fresh = server.connect().await;
    // Connections are accepted in order: the fresh one is the server's by now, not the backlog's.
    assert!(server.get("/").await.ends_with("word\n"));
    server.stop.cancel();
    assert_eq!(rest(&mut kept).await, "");
    assert_eq!(rest(&mut fresh).await, "");
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 0 });
}

#[tokio::test]
async fn what_never_ends_is_cut_at_the_deadline() {
    let server = Server::with(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun().await;
    server.stop.cancel();
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 1 });
}

#[tokio::test]
async fn a_server_needs_a_listener() {
    let handler = app(Signals::new());
    let stopped = serve(Vec::new(), handler, Options::default(), CancellationToken::new()).await;
    assert!(matches!(stopped, Err(ServeError::NoListener)));
}

#[tokio::test]
async fn all_listeners_serve() {
    let (one, two) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
    let stop = CancellationToken::new();
    let handler = app(Signals::new());
    let serving = tokio::spawn(serve(vec![one, two], handler, Options::default(), stop.clone()));
    for address in addresses {
        let mut stream = soon(TcpStream::connect(address)).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        until(&mut stream, "word\n").await;
    }
    stop.cancel();
    soon(serving).await.unwrap().unwrap();
}
