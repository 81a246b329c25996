//! A configuration file with its execution files, loaded for the first time and again.

use std::path::{Path, PathBuf};

use crate::clock;
use crate::config::{Config, LoadError};
use crate::iam;
use crate::plan::{Plan, scope_of};
use crate::shard::Shard;
use crate::telemetry::Telemetry;
use crate::watch::{self, ExecutionFiles};

/// Loads one configuration file and whatever execution files it names.
#[derive(Debug)]
pub(super) struct Loader {
    file: PathBuf,
    shard: Shard,
    files: ExecutionFiles,
}

/// All content by its hash, or the message of what prevented reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found(String);

impl Loader {
    pub(super) fn new(file: &Path, shard: Shard) -> Self {
        Self { file: file.to_owned(), shard, files: ExecutionFiles::default() }
    }

    /// What is there now. Reads files: for the blocking pool.
    pub(super) fn look(&self) -> (Found, Result<Config, LoadError>) {
        let loaded = Config::load(&self.file);
        let found = match &loaded {
            Ok(config) => {
                let files: String = watch::digest(config, self.base()).iter().map(|b| format!("{b:02x}")).collect();
                format!("{} {files}", config.hash)
            }
            Err(error) => error.to_string(),
        };
        (Found(found), loaded)
    }

    /// The plan of a configuration, with its execution files as they are now. Reads files: for the blocking pool.
    pub(super) fn plan(&mut self, config: &Config) -> Plan {
        self.files.read(config, self.file.parent().unwrap_or(Path::new("")));
        Plan::new(config, self.files.executions(), self.shard)
    }

    /// How many execution files there are, and how many of them are bad.
    pub(super) fn file_counts(&self) -> (usize, usize) {
        self.files.counts()
    }

    fn base(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// Shows in the metrics what has come into force.
pub(super) fn loaded_into(telemetry: &Telemetry, config: &Config, (files, bad): (usize, usize)) {
    telemetry.config_loaded(&config.hash, clock::now());
    telemetry.set_execution_files(files - bad, bad);
    if bad > 0 {
        telemetry.config_rejected();
    }
}

/// Says what will be polled, where, and whether the quota allows it.
pub(super) fn announce(config: &Config, plan: &Plan) {
    if config.has_nothing_to_poll() {
        tracing::warn!("the configuration names no executions: there is nothing to poll");
    }
    for discovery in &plan.discoveries {
        let (scope, what) = (scope_of(&discovery.by), discovery.by.name());
        tracing::info!(account_id = %scope.account_id, region = %scope.region, what, interval = ?discovery.interval, limit_calls_per_second = plan.limits.list_requests_per_second, "will discover");
    }
    let longest = plan.executions.iter().map(|execution| execution.interval).max().unwrap_or(plan.poll.interval);
    if longest >= plan.poll.max_staleness {
        tracing::warn!(interval = ?longest, max_staleness = ?plan.poll.max_staleness, "an interval above poll.max_staleness: the data of open executions vanish before every poll");
    }
    let limit = plan.limits.get_requests_per_second;
    for demand in plan.demands() {
        let (account_id, region) = (&*demand.scope.account_id, &*demand.scope.region);
        let (executions, predicted) = (demand.executions, format!("{:.3}", demand.calls_per_second));
        tracing::info!(account_id, region, executions, predicted_calls_per_second = %predicted, limit_calls_per_second = limit, "will poll");
        if demand.calls_per_second > limit {
            let every = format!("{:.0}s", demand.executions as f64 / limit);
            tracing::warn!(account_id, region, predicted_calls_per_second = %predicted, limit_calls_per_second = limit, reachable_interval = %every,
                "the interval cannot be met while all executions are open: raise poll.interval or limits.get_requests_per_second");
        }
    }
}

/// Every fault of a configuration file and of its execution files, a line each; none if all is well. Answers how many
/// executions it names, too.
///
/// # Errors
/// What is wrong.
pub fn check(file: &Path) -> Result<usize, String> {
    let config = Config::load(file).map_err(|error| error.to_string())?;
    let mut files = ExecutionFiles::default();
    files.read(&config, file.parent().unwrap_or(Path::new("")));
    let faults: Vec<&str> = files.faults().collect();
    if faults.is_empty() { Ok(config.executions.len() + files.executions().count()) } else { Err(faults.join("\n")) }
}

/// The least that IAM has to allow for a configuration file with its execution files.
///
/// # Errors
/// The configuration cannot be loaded.
pub fn iam_policy(file: &Path) -> Result<serde_json::Value, LoadError> {
    let config = Config::load(file)?;
    let plan = Loader::new(file, Shard::WHOLE).plan(&config);
    Ok(iam::policies(&config, &plan))
}
