//! Addresses to listen on, as Prometheus writes them: `:10477` is every address of the host.

use std::net::Ipv6Addr;

use tokio::net::TcpListener;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: String,
    source: std::io::Error,
}

/// Binds an address of the form `HOST:PORT` or `:PORT`.
pub(super) async fn bind(address: &str) -> Result<TcpListener, BindError> {
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
pub(super) async fn bind_all(addresses: &[String], what: &'static str) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = bind(address).await?;
        let local = listener.local_addr().map_or_else(|_| address.clone(), |local| local.to_string());
        tracing::info!(address = %local, serves = what, "listening");
        listeners.push(listener);
    }
    Ok(listeners)
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
