//! The configuration, read again: on SIGHUP, on `POST /-/reload`, and when the file's content changes.
//!
//! The content is compared and not the time of change, because Kubernetes updates a ConfigMap by swapping a symbolic
//! link, to which file watchers are blind. A faulty file leaves the old configuration in force.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::load::{Found, Loader, announce, loaded_into};
use super::{Active, AppError, Shared};
use crate::config::{Config, LoadError};
use crate::plan::Plan;
use crate::server::WebSecurity;

/// How often the file's content is compared.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Asks for a reload; the answer says why it failed.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// Reads a configuration again and again.
pub(super) struct Reloader {
    loader: Arc<Mutex<Loader>>,
    shared: Shared,
    plans: mpsc::Sender<Plan>,
    active: watch::Sender<Arc<Active>>,
    /// What is in force, good or bad.
    seen: Found,
    /// A change has to look the same twice before it is applied: a file may be half written.
    changed: Option<Found>,
}

impl Reloader {
    pub(super) fn new(
        loader: Loader,
        seen: Found,
        shared: Shared,
        plans: mpsc::Sender<Plan>,
        active: watch::Sender<Arc<Active>>,
    ) -> Self {
        Self { loader: Arc::new(Mutex::new(loader)), shared, plans, active, seen, changed: None }
    }

    /// Reads the files and applies them.
    async fn reload(&mut self) -> Result<(), String> {
        let (found, loaded) = self.with_loader(|loader| loader.look()).await?;
        self.take_over(found, loaded).await
    }

    /// Applies the files if their content has changed since the last look, and stayed so for one more.
    async fn look(&mut self) {
        let Ok((found, loaded)) = self.with_loader(|loader| loader.look()).await else { return };
        if self.seen == found {
            self.changed = None;
        } else if self.changed.as_ref() == Some(&found) {
            self.changed = None;
            // Logged and shown in the metrics there.
            let _ = self.take_over(found, loaded).await;
        } else {
            self.changed = Some(found);
        }
    }

    async fn take_over(&mut self, found: Found, loaded: Result<Config, LoadError>) -> Result<(), String> {
        self.seen = found;
        let config = match loaded {
            Ok(config) => config,
            Err(error) => {
                self.shared.telemetry.config_rejected();
                tracing::error!(error = %error, "the configuration could not be loaded; the old one stays in force");
                return Err(error.to_string());
            }
        };
        let (config, plan, files) = self
            .with_loader(move |loader| {
                let plan = loader.plan(&config);
                (config, plan, loader.file_counts())
            })
            .await?;
        announce(&config, &plan);
        self.shared.iot.configure(config.poll.timeout, &config.accounts).await;
        loaded_into(&self.shared.telemetry, &config, files);
        self.active.send_replace(Active::new(&config));
        tracing::info!(hash = %config.hash, executions = plan.executions.len(), "configuration loaded");
        self.plans.send(plan).await.map_err(|_| "the program is stopping".to_owned())?;
        match files {
            (_, 0) => Ok(()),
            (files, bad) => Err(format!("{bad} of {files} execution files are bad: the log has the faults")),
        }
    }

    /// Lets the loader read files where that holds up nobody.
    async fn with_loader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Loader) -> T + Send + 'static,
    ) -> Result<T, String> {
        let loader = Arc::clone(&self.loader);
        let work = move || work(&mut loader.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
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
