//! A simulated AWS IoT control plane. It knows nothing of the exporter.
//!
//! `GetCommandExecution`, `ListCommandExecutions`, `ListCommands` and `GetCommand` in the service's own wire format
//! (restJson1), over plain HTTP/1.1: point any AWS client at it by its endpoint URL. Signatures are not verified, but
//! the Region is read from them, and a request without one is refused.
//!
//! One line of data: `request → Call → faults, quota → Fleet or Books → Reply → wire`. A fleet is a pure function of
//! a seed ([`Fleet`]); tests add executions of their own, change the clock and switch faults by [`Control`], people
//! and other processes by HTTP under `/_simulator/` (`switchboard.rs` lists the paths).
//!
//! Deliberately absent: TLS, verification of signatures, changing operations (`StartCommandExecution` and the like).

mod books;
mod breakage;
mod call;
mod clock;
mod control;
mod dice;
mod fault;
mod fleet;
mod journal;
mod life;
mod listing;
mod nursery;
mod operations;
mod quota;
mod reply;
mod service;
mod switchboard;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;

pub use call::Operation;
pub use control::Control;
pub use fault::{Effect, Fault};
pub use fleet::{Births, Fleet, FleetOptions, Place};
pub use journal::{Counts, Entry};
pub use life::{CANARY, Execution, Record, Report, StatusReason};
pub use quota::Quotas;

/// The account of callers whose access key is not mapped to another.
pub const DEFAULT_ACCOUNT: &str = "123456789012";

/// How a simulator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fleet. Its start is the moment at which the simulator starts.
    pub fleet: FleetOptions,
    /// Calls a second.
    pub quotas: Quotas,
    /// The habits of listings.
    pub listing: Listing,
    /// The account of each access key ID. A key that is here is refused in other accounts; one that is not belongs to
    /// every account whose ARNs it uses.
    pub accounts: HashMap<String, String>,
    /// The account that others list commands in.
    pub default_account: String,
    /// How many requests are remembered.
    pub remembered_requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fleet: FleetOptions::default(),
            quotas: Quotas::REAL,
            listing: Listing::default(),
            accounts: HashMap::new(),
            default_account: DEFAULT_ACCOUNT.to_owned(),
            remembered_requests: 100_000,
        }
    }
}

/// The habits of listings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Listing {
    /// How far `ListCommandExecutions` lags behind `GetCommandExecution`.
    pub lag_millis: i64,
    /// Whether every other page is empty, and still has a token for the next.
    pub empty_pages: bool,
}

/// A simulated control plane that is bound to its address and not yet running.
#[derive(Debug)]
pub struct Simulator {
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<service::Service>,
}

impl Simulator {
    /// Binds, and makes the fleet of the options.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn bind(address: impl ToSocketAddrs, options: &Options) -> io::Result<Self> {
        let fleet = Fleet::new(&options.fleet, crate::clock::now());
        Self::bind_fleet(address, fleet, options).await
    }

    /// Binds, with this fleet instead of that of the options.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn bind_fleet(address: impl ToSocketAddrs, fleet: Fleet, options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, service: Arc::new(service::Service::new(Arc::new(fleet), options)) })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint URL for AWS clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.service.fleet
    }

    /// The switches, which go on working while it runs.
    pub fn control(&self) -> Control {
        Control { service: Arc::clone(&self.service) }
    }

    /// Serves until `shutdown`, then closes every connection.
    pub async fn run(self, shutdown: CancellationToken) {
        wire::serve(self.listener, self.service, shutdown).await;
    }
}

#[cfg(test)]
mod tests;
