//! One request a connection, the answer read to its end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes, so that a hang fails the test in place of blocking it.
const BOUND: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body, without transfer encoding.
    pub(crate) body: String,
}

/// `GET path`, whatever the status of the answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    try_get(address, path).unwrap_or_else(|fault| panic!("GET {path} from {address}: {fault}"))
}

/// `GET path`, where there may be nobody to answer.
pub(crate) fn try_get(address: SocketAddr, path: &str) -> Result<Answer, std::io::Error> {
    receive(send(address, "GET", path, "")?)
}

/// `POST path` with a body, which must be answered with 200.
pub(crate) fn post(address: SocketAddr, path: &str, body: &impl Display) {
    let answer = send(address, "POST", path, &body.to_string()).and_then(receive);
    let answer = answer.unwrap_or_else(|fault| panic!("POST {path} to {address}: {fault}"));
    assert_eq!(answer.status, 200, "POST {path}: {}", answer.body);
}

/// Sends a request and leaves the answer in the socket.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<TcpStream, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&address, BOUND)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}")?;
    Ok(stream)
}

/// Reads the answer to its end. A body that is cut short is an error, whichever way its length was given.
pub(crate) fn receive(mut stream: TcpStream) -> Result<Answer, std::io::Error> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| broken("no end of headers"))?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: BTreeMap<String, &str> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let raw = &bytes[split + 4..];
    let body = if headers.get("transfer-encoding") == Some(&"chunked") {
        dechunk(raw)?
    } else {
        if let Some(length) = headers.get("content-length").and_then(|text| text.parse::<usize>().ok())
            && length != raw.len()
        {
            return Err(broken(&format!("{} of {length} bytes", raw.len())));
        }
        raw.to_vec()
    };
    let body = String::from_utf8(body).map_err(|_| broken("not UTF-8"))?;
    Ok(Answer { status: status.ok_or_else(|| broken("no status"))?, body })
}

fn dechunk(mut raw: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|window| window == b"\r\n").ok_or_else(|| broken("cut before a chunk"))?;
        let size = std::str::from_utf8(&raw[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or_else(|| broken("no size of a chunk"))?;
        raw = &raw[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        if raw.len() < size + 2 {
            return Err(broken("cut within a chunk"));
        }
        body.extend_from_slice(&raw[..size]);
        raw = &raw[size + 2..];
    }
}

fn broken(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, what.to_owned())
}
