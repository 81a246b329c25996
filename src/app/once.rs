//! `once`: poll every execution a single time and print what a scrape would show.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::load::{Loader, announce, loaded_into};
use super::{Active, AppError, Shared};
use crate::cli::Once;
use crate::clock;
use crate::config::Config;
use crate::iot::{self, Iot};
use crate::poller::Poller;
use crate::store::Store;
use crate::telemetry::{Build, Telemetry};
use crate::text::Format;

/// Polls every execution once and writes the exposition text to standard output.
///
/// # Errors
/// A bad configuration, or polls that failed; their text is written all the same.
pub async fn once(flags: &Once, shutdown: CancellationToken) -> Result<(), AppError> {
    let config = Config::load(&flags.source.config_file)?;
    let mut loader = Loader::new(&flags.source.config_file, flags.source.shard);
    let plan = loader.plan(&config);
    announce(&config, &plan);
    let settings = iot::Settings {
        allow_insecure_endpoint: flags.source.allow_insecure_endpoint,
        timeout: config.poll.timeout,
        ..iot::Settings::default()
    };
    let iot = Arc::new(Iot::connect(&settings, plan.region().as_deref()).await?);
    iot.configure(config.poll.timeout, &config.accounts).await;

    let store = Arc::new(Store::new(clock::now()));
    let telemetry = Arc::new(Telemetry::new(Build::THIS));
    loaded_into(&telemetry, &config, loader.file_counts());
    let (_active, receiver) = watch::channel(Active::new(&config));
    let (mut poller, progress) = Poller::new(Arc::clone(&iot), Arc::clone(&store), Arc::clone(&telemetry), true);
    let polled = plan.executions.len() as u64;
    poller.apply(plan);
    let (_plans, planned) = mpsc::channel(1);
    tokio::select! {
        ended = poller.run(planned, shutdown) => ended?,
        () = progress.first_pass() => {}
    }
    let shared = Shared { store, telemetry, progress, iot, config: receiver };
    let failed = shared.store.view().all().filter(|execution| execution.failure().is_some()).count() as u64;
    let mut out = std::io::stdout().lock();
    for chunk in shared.scrape(Format::Text004) {
        out.write_all(&chunk)?;
    }
    out.flush()?;
    if failed == 0 { Ok(()) } else { Err(AppError::Polls { failed, polled }) }
}
