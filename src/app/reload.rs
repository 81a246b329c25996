//! The configuration, read again: on SIGHUP, on `POST /-/reload`, and when the file's content changes.
//!
//! The content is compared and not the time of change, because Kubernetes updates a ConfigMap by swapping a symbolic
//! link, to which file watchers are blind. A faulty file leaves the old configuration in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::run::announce;
use super::{Active, AppError, Shared};
use crate::clock;
use crate::config::{Config, LoadError};
use crate::plan::Plan;
use crate::server::WebSecurity;
use crate::shard::Shard;

/// How often the file's content is compared.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Asks for a reload; the answer says why it failed.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// Reads one configuration file again and again.
pub(super) struct Reloader {
    file: PathBuf,
    shard: Shard,
    shared: Shared,
    plans: mpsc::Sender<Plan>,
    active: watch::Sender<Arc<Active>>,
    /// What the last look found, good or bad.
    seen: Option<Found>,
    /// A change has to look the same twice before it is applied: the file may be half written.
    changed: Option<Found>,
}

/// A content by its hash, or the message of what prevented reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found(String);

impl Reloader {
    pub(super) fn new(
        file: &Path,
        shard: Shard,
        shared: Shared,
        plans: mpsc::Sender<Plan>,
        active: watch::Sender<Arc<Active>>,
    ) -> Self {
        let seen = Some(Found(active.borrow().hash.clone()));
        Self { file: file.to_owned(), shard, shared, plans, active, seen, changed: None }
    }

    /// Reads the file and applies it.
    async fn reload(&mut self) -> Result<(), String> {
        let (found, loaded) = self.read().await;
        self.take_over(found, loaded).await
    }

    /// Applies the file if its content has changed since the last look, and stayed so for one more.
    async fn look(&mut self) {
        let (found, loaded) = self.read().await;
        if self.seen.as_ref() == Some(&found) {
            self.changed = None;
        } else if self.changed.as_ref() == Some(&found) {
            self.changed = None;
            // Logged and shown in the metrics there.
            let _ = self.take_over(found, loaded).await;
        } else {
            self.changed = Some(found);
        }
    }

    async fn read(&self) -> (Found, Result<Config, LoadError>) {
        let file = self.file.clone();
        let loaded = tokio::task::spawn_blocking(move || Config::load(&file)).await;
        let loaded = loaded.unwrap_or_else(|error| {
            Err(LoadError::Read { path: self.file.clone(), error: std::io::Error::other(error) })
        });
        let found = match &loaded {
            Ok(config) => config.hash.clone(),
            Err(error) => error.to_string(),
        };
        (Found(found), loaded)
    }

    async fn take_over(&mut self, found: Found, loaded: Result<Config, LoadError>) -> Result<(), String> {
        self.seen = Some(found);
        let config = match loaded {
            Ok(config) => config,
            Err(error) => {
                self.shared.telemetry.config_rejected();
                tracing::error!(error = %error, "the configuration could not be loaded; the old one stays in force");
                return Err(error.to_string());
            }
        };
        let plan = Plan::new(&config, self.shard);
        announce(&config, &plan);
        self.shared.iot.configure(config.poll.timeout, &config.accounts).await;
        self.shared.telemetry.config_loaded(&config.hash, clock::now());
        self.active.send_replace(Active::new(&config));
        tracing::info!(hash = %config.hash, executions = plan.executions.len(), "configuration loaded");
        self.plans.send(plan).await.map_err(|_| "the program is stopping".to_owned())
    }
}

/// Reloads whenever something asks for it, until `stop`. Without a configuration file only the web configuration is
/// read again.
pub(super) async fn follow(
    mut reloader: Option<Reloader>,
    security: Option<Arc<WebSecurity>>,
    mut requests: mpsc::Receiver<Request>,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let mut hangups = signal(SignalKind::hangup())?;
    let mut look = looks();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = look.tick() => {
                if let Some(reloader) = &mut reloader {
                    reloader.look().await;
                }
            }
            Some(()) = hangups.recv() => {
                // Logged and shown in the metrics where it fails.
                let _ = reload(reloader.as_mut(), security.as_ref()).await;
            }
            Some(answer) = requests.recv() => {
                // Whoever asked may be gone.
                let _ = answer.send(reload(reloader.as_mut(), security.as_ref()).await);
            }
        }
    }
}

async fn reload(reloader: Option<&mut Reloader>, security: Option<&Arc<WebSecurity>>) -> Result<(), String> {
    if let Some(security) = security {
        security.reload().await.map_err(|error| error.to_string())?;
    }
    match reloader {
        Some(reloader) => reloader.reload().await,
        None => Ok(()),
    }
}

fn looks() -> Interval {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look
}
