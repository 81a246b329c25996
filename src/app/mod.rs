//! Which tasks live together, from start to drain.

mod bind;
mod demo;
mod load;
mod once;
mod reload;
mod routes;
mod run;
mod simulate;

pub use bind::BindError;
pub use demo::demo;
pub use load::{check, iam_policy};
pub use once::once;
pub use run::run;
pub use simulate::simulate;

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock;
use crate::config::Config;
use crate::execution::Timestamp;
use crate::exposition;
use crate::iot::Iot;
use crate::poller::{Progress, Rate};
use crate::store::{Store, View};
use crate::telemetry::{RateKind, Telemetry, Tracked};
use crate::text::Format;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Bad configuration: exit code 2.
    #[error(transparent)]
    Config(#[from] crate::config::LoadError),
    /// Bad web configuration: exit code 2.
    #[error(transparent)]
    WebConfig(#[from] crate::server::WebConfigError),
    /// An endpoint that must not be called: exit code 2.
    #[error(transparent)]
    Endpoint(#[from] crate::iot::EndpointError),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A server that cannot go on.
    #[error(transparent)]
    Serve(#[from] crate::server::ServeError),
    /// Polling has ended by itself.
    #[error(transparent)]
    Poller(#[from] crate::poller::PollerError),
    /// A task has panicked.
    #[error("a task has ended by itself")]
    Task(#[from] tokio::task::JoinError),
    /// Standard output, or the simulator's socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `once`: so many polls failed.
    #[error("{failed} of {polled} polls failed")]
    Polls {
        /// How many failed.
        failed: u64,
        /// How many there were.
        polled: u64,
    },
}

impl AppError {
    /// The exit code of the program: 2 for a bad configuration, 1 for every other failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::WebConfig(_) | Self::Endpoint(_) => 2,
            _ => 1,
        }
    }
}

/// What the rooms that serve and reload share.
#[derive(Clone, Debug)]
struct Shared {
    store: Arc<Store>,
    telemetry: Arc<Telemetry>,
    progress: Progress,
    iot: Arc<Iot>,
    config: watch::Receiver<Arc<Active>>,
}

/// The configuration in force, without its executions: those went on with the plan.
#[derive(Debug)]
struct Active {
    hash: String,
    exposition: Arc<exposition::Settings>,
}

impl Active {
    fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self { hash: config.hash.clone(), exposition: Arc::new(exposition::Settings::new(config)) })
    }
}

impl Shared {
    /// The page of this moment, in chunks. No call to AWS is made for it.
    fn scrape(&self, format: Format) -> exposition::Scrape {
        let (now, view) = (clock::now(), self.store.view());
        self.update_telemetry(&view, now);
        let settings = Arc::clone(&self.config.borrow().exposition);
        exposition::render(view, settings, now, format, self.telemetry.text(format))
    }

    /// The gauges that are a view of the state and not a count of events.
    fn update_telemetry(&self, view: &View, now: Timestamp) {
        let tallies = view.tallies();
        let tracked = Tracked {
            unpolled: tallies.unpolled,
            open: tallies.open,
            terminal: tallies.terminal,
            not_found: tallies.not_found,
        };
        self.telemetry.set_tracked(tracked);
        for (scope, oldest) in &tallies.oldest_open {
            self.telemetry.set_oldest_open_observation(scope, *oldest);
        }
        for (scope, rates) in self.progress.rates() {
            for Rate { operation, configured, current } in rates {
                self.telemetry.set_rate_limit(&scope, operation, RateKind::Configured, configured);
                self.telemetry.set_rate_limit(&scope, operation, RateKind::Current, current);
            }
            let account_id = &scope.account_id;
            self.telemetry.set_credentials_valid(account_id, self.iot.credentials_valid(account_id));
            self.telemetry.set_credentials_expiration(account_id, self.iot.credentials_expiration(account_id));
        }
        let age = i64::try_from(self.progress.heartbeat_age().as_millis()).unwrap_or(i64::MAX);
        self.telemetry.heartbeat(Timestamp::from_millis(now.millis().saturating_sub(age)));
    }
}
