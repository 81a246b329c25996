//! `run`: poll and serve until asked to stop.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bind::Listeners;
use super::load::{Found, Loader, announce, loaded_into};
use super::reload::{self, Reloader};
use super::routes::{self, Paths};
use super::{Active, AppError, Shared};
use crate::cli::{Run, WebFlags};
use crate::clock;
use crate::config::Config;
use crate::iot::{self, Iot};
use crate::plan::Plan;
use crate::poller::Poller;
use crate::store::Store;
use crate::telemetry::{Build, Telemetry};

/// Polls and serves until `shutdown`.
///
/// # Errors
/// A bad configuration, an address that is in use, or a task that ends by itself.
pub async fn run(flags: &Run, shutdown: CancellationToken) -> Result<(), AppError> {
    let mut loader = Loader::new(&flags.source.config_file, flags.source.shard);
    let (found, loaded) = loader.look();
    let config = loaded?;
    let iot = iot::Settings {
        allow_insecure_endpoint: flags.source.allow_insecure_endpoint,
        timeout: config.poll.timeout,
        ..iot::Settings::default()
    };
    let listeners = Listeners::bind(&flags.web).await?;
    let plan = loader.plan(&config);
    let start = Start { config, plan, loader: Some((loader, found)), iot };
    serve(start, listeners, &flags.web, shutdown).await
}

/// What is polled, and how it is asked for.
pub(super) struct Start {
    pub(super) config: Config,
    pub(super) plan: Plan,
    /// Reads the configuration again; `None` if there is no file.
    pub(super) loader: Option<(Loader, Found)>,
    pub(super) iot: iot::Settings,
}

/// Runs the poller, the reloader and the servers; the first to end stops the rest.
pub(super) async fn serve(
    start: Start,
    listeners: Listeners,
    web: &WebFlags,
    shutdown: CancellationToken,
) -> Result<(), AppError> {
    let Start { config, plan, loader, iot } = start;
    announce(&config, &plan);
    let iot = Arc::new(Iot::connect(&iot, plan.region().as_deref()).await?);
    iot.configure(config.poll.timeout, &config.accounts).await;

    let store = Arc::new(Store::new(clock::now()));
    let telemetry = Arc::new(Telemetry::new(Build::THIS));
    loaded_into(&telemetry, &config, loader.as_ref().map(|(loader, _)| loader.file_counts()).unwrap_or_default());
    let (active, receiver) = watch::channel(Active::new(&config));
    drop(config);
    let (mut poller, progress) = Poller::new(Arc::clone(&iot), Arc::clone(&store), Arc::clone(&telemetry), false);
    let shared = Shared { store, telemetry, progress, iot, config: receiver };

    // Before anything is served: every execution has its series from the start.
    poller.apply(plan);
    let (plans, planned) = mpsc::channel(1);
    let (requests, requested) = mpsc::channel(1);
    let mut tasks: JoinSet<Result<(), AppError>> = JoinSet::new();
    let stop = shutdown.child_token();
    let polling = poller.run(planned, stop.clone());
    tasks.spawn(async move { Ok(polling.await?) });
    let reloader = loader.map(|(loader, found)| Reloader::new(loader, found, shared.clone(), plans.clone(), active));
    tasks.spawn(reload::follow(reloader, listeners.security.clone(), requested, stop.clone()));
    let paths = Paths {
        telemetry: web.telemetry_path.clone(),
        lifecycle: web.enable_lifecycle,
        compress: !web.disable_compression,
    };
    tasks.spawn(routes::serve(listeners, paths, shared, requests, stop.clone()));
    // As long as this end lives, the poller waits for plans.
    let _plans = plans;
    supervise(tasks, stop).await
}

/// Waits for all tasks; the first to end stops the others, and the first error is the outcome.
async fn supervise(mut tasks: JoinSet<Result<(), AppError>>, stop: CancellationToken) -> Result<(), AppError> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(AppError::from).flatten();
        if outcome.is_ok() {
            outcome = ended;
        }
        stop.cancel();
    }
    outcome
}
