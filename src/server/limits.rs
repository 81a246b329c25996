//! How much a client may take: connections, bytes and time.

use std::time::Duration;

/// Limits of a server; the defaults suit an exporter that a few Prometheus servers scrape.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at the same time. One more closes the connection that has waited longest between requests; where
    /// all have a request running, it is refused.
    pub connections: usize,
    /// A whole TLS handshake.
    pub handshake: Duration,
    /// From the connection, or from the first byte of a later request, to the end of its headers; once more for its
    /// body.
    pub header: Duration,
    /// Request line and headers in bytes; more is answered 431.
    pub header_bytes: usize,
    /// A request's body in bytes; more is answered 413.
    pub request_body_bytes: usize,
    /// How long a client may take no byte of a response. Linux reports room only when about a third of the send
    /// buffer is free, so a slow link needs seconds between two writes.
    pub write_stall: Duration,
    /// From the end of a request's headers to the last byte handed over of its response. Scrapes may take a minute.
    pub response: Duration,
    /// Between two requests on a connection; longer than usual scrape intervals.
    pub keep_alive: Duration,
    /// How long requests in flight may take to finish once the server was asked to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            header_bytes: 16 << 10,
            request_body_bytes: 4 << 10,
            write_stall: Duration::from_secs(30),
            response: Duration::from_secs(120),
            keep_alive: Duration::from_secs(120),
            drain: Duration::from_secs(8),
        }
    }
}
