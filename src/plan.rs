//! What is to be polled, and how fast: a configuration, reduced to what the poller needs.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashSet;

use crate::config::{Config, ConfiguredExecution, DiscoverBy, Discovery, Limits, Poll};
use crate::execution::{ExecutionKey, Scope};
use crate::shard::Shard;

/// What the poller is to do from now on. A new plan replaces the old one whole.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `poll`.
    pub poll: Poll,
    /// `limits`, this exporter's share of them.
    pub limits: Limits,
    /// The declared label names.
    pub label_names: Vec<String>,
    /// The executions, each once, as many as the cap allows.
    pub executions: Vec<Wanted>,
    /// `discovery`.
    pub discoveries: Vec<Discovery>,
    /// Which of the discovered executions are this exporter's.
    pub shard: Shard,
    /// How many are left out by the cap.
    pub dropped: usize,
}

/// The account and Region that a discovery asks.
pub fn scope_of(by: &DiscoverBy) -> Scope {
    match by {
        DiscoverBy::Command(arn) => arn.scope(),
        DiscoverBy::Target(arn) => arn.scope(),
        DiscoverBy::Scope(scope) => scope.clone(),
    }
}

/// One execution to be polled.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which one.
    pub key: ExecutionKey,
    /// How often, while it is open.
    pub interval: Duration,
    /// Values for the declared label names, in their order.
    pub labels: Box<[Box<str>]>,
}

/// What a plan asks of one account and Region.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The account and Region.
    pub scope: Scope,
    /// How many executions.
    pub executions: usize,
    /// Calls a second if all of them stay open.
    pub calls_per_second: f64,
}

impl Plan {
    /// The plan of a configuration and its execution files, for one shard of it. An execution that is named more than
    /// once is polled as it is named first.
    pub fn new<'a>(
        config: &'a Config,
        from_files: impl Iterator<Item = &'a ConfiguredExecution>,
        shard: Shard,
    ) -> Self {
        let share = f64::from(shard.count());
        let limits = Limits {
            get_requests_per_second: config.limits.get_requests_per_second / share,
            list_requests_per_second: config.limits.list_requests_per_second / share,
            ..config.limits.clone()
        };
        let mut named = HashSet::new();
        let all = config.executions.iter().chain(from_files);
        let mine = all.filter(|execution| shard.holds(&execution.key) && named.insert(&execution.key));
        let mut executions: Vec<Wanted> = mine
            .map(|execution| Wanted {
                key: execution.key.clone(),
                interval: execution.interval.unwrap_or(config.poll.interval),
                labels: execution.labels.clone(),
            })
            .collect();
        let dropped = executions.len().saturating_sub(limits.executions);
        executions.truncate(limits.executions);
        Self {
            poll: config.poll.clone(),
            limits,
            label_names: config.metrics.labels.clone(),
            executions,
            discoveries: config.discovery.clone(),
            shard,
            dropped,
        }
    }

    /// A Region of it, for calls that are about none in particular.
    pub fn region(&self) -> Option<String> {
        let configured = self.executions.first().map(|execution| execution.key.target.region().to_owned());
        configured.or_else(|| Some(scope_of(&self.discoveries.first()?.by).region.to_string()))
    }

    /// What it asks of each account and Region.
    pub fn demands(&self) -> Vec<Demand> {
        let mut scopes: BTreeMap<Scope, (usize, f64)> = BTreeMap::new();
        for execution in &self.executions {
            let demand = scopes.entry(execution.key.target.scope()).or_default();
            demand.0 += 1;
            demand.1 += 1.0 / execution.interval.as_secs_f64();
        }
        let demands = scopes.into_iter();
        demands.map(|(scope, (executions, calls_per_second))| Demand { scope, executions, calls_per_second }).collect()
    }
}
