//! The sockets. Addresses are as Prometheus writes them: `:10477` is every address of the host.

use std::net::Ipv6Addr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::AppError;
use crate::cli::WebFlags;
use crate::server::{self, WebSecurity};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: String,
    source: std::io::Error,
}

/// Binds an address of the form `HOST:PORT` or `:PORT`.
async fn bind(address: &str) -> Result<TcpListener, BindError> {
    let bound = match address.strip_prefix(':').map(str::parse::<u16>) {
        // Both families through one socket; where the host has no IPv6, IPv4 alone.
        Some(Ok(port)) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)).await,
            bound => bound,
        },
        _ => TcpListener::bind(address).await,
    };
    bound.map_err(|source| BindError { address: address.to_owned(), source })
}

/// Binds them all and logs where.
async fn bind_all(addresses: &[String], what: &'static str) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = bind(address).await?;
        let local = listener.local_addr().map_or_else(|_| address.clone(), |local| local.to_string());
        tracing::info!(address = %local, serves = what, "listening");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The sockets, bound before anything else begins.
pub(super) struct Listeners {
    pub(super) main: Vec<TcpListener>,
    pub(super) health: Vec<TcpListener>,
    pub(super) security: Option<Arc<WebSecurity>>,
}

impl Listeners {
    /// Reads the web configuration and binds every address.
    pub(super) async fn bind(web: &WebFlags) -> Result<Self, AppError> {
        let security = match &web.web_config_file {
            Some(path) => Some(Arc::new(WebSecurity::load(path, server::parse_web_config)?)),
            None => None,
        };
        let main = bind_all(&web.listen_addresses, "metrics").await?;
        let health = bind_all(web.health_listen_address.as_slice(), "health").await?;
        Ok(Self { main, health, security })
    }

    /// The addresses to open, for people.
    pub(super) fn urls(&self) -> Vec<String> {
        let scheme = if self.security.as_ref().is_some_and(|security| security.has_tls()) { "https" } else { "http" };
        let addresses = self.main.iter().filter_map(|listener| listener.local_addr().ok());
        addresses
            .map(|address| match address.ip().is_unspecified() {
                true => format!("{scheme}://localhost:{}", address.port()),
                false => format!("{scheme}://{address}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_alone_is_every_address_and_a_port_in_use_is_named() {
        let listener = bind(":0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        assert!(address.ip().is_unspecified());
        let taken = format!(":{}", address.port());
        let error = bind(&taken).await.expect_err("the port is in use");
        assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
        assert!(bind("nonsense").await.is_err());
    }
}
