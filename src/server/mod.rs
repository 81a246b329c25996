//! HTTP: connections, limits, TLS and authentication. It knows not what it serves.
//!
//! [`serve()`] takes bound listeners, a handler and a token to stop; [`WebSecurity`] is the `--web.config.file`.
//!
//! | File | Owns |
//! |---|---|
//! | `serve` | the listeners, all connections, the drain |
//! | `accept` | which failures of `accept` pass and which do not |
//! | `connection` | one connection: handshake, requests, its end |
//! | `pace` | how slow a client may be, measured on its socket |
//! | `body`, `reply`, `routes` | what a handler answers with |
//! | `web_config`, `tls_names`, `bcrypt_hash` | the web configuration as written |
//! | `tls`, `client_cert`, `basic_auth`, `throttle` | what it asks for |
//! | `security` | the version in force, and its reload |
//!
//! Absent on purpose: HTTP/2 (Prometheus scrapes as well by HTTP/1.1), upgrades, compression (the handler's).

mod accept;
mod basic_auth;
mod bcrypt_hash;
mod body;
mod client_cert;
mod connection;
mod limits;
mod pace;
mod reply;
mod routes;
mod security;
mod serve;
mod throttle;
mod tls;
mod tls_names;
mod web_config;

#[cfg(test)]
mod tests;

pub use bcrypt_hash::BcryptHash;
pub use body::Body;
pub use limits::Limits;
pub use reply::{html, plain};
pub use routes::{Methods, Routes};
pub use security::{Reloaded, WebConfigError, WebSecurity};
pub use serve::{Drained, Options, ServeError, serve};
pub use tls_names::{CipherSuite, Curve, TlsVersion};
pub use web_config::{
    ClientAuth, HttpServerConfig, Interval, Parse, RateLimit, ResponseHeaders, Secret, TextFault, TlsServerConfig,
    WebConfig, parse_web_config,
};
