//! What is to be polled, and how fast: a configuration, reduced to what the poller needs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Config, Limits, Poll};
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
    /// How many are left out by the cap.
    pub dropped: usize,
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
    /// The plan of a configuration, for one shard of it.
    pub fn new(config: &Config, shard: Shard) -> Self {
        let share = f64::from(shard.count());
        let limits = Limits {
            get_requests_per_second: config.limits.get_requests_per_second / share,
            list_requests_per_second: config.limits.list_requests_per_second / share,
            ..config.limits.clone()
        };
        let mine = config.executions.iter().filter(|execution| shard.holds(&execution.key));
        let mut executions: Vec<Wanted> = mine
            .map(|execution| Wanted {
                key: execution.key.clone(),
                interval: execution.interval.unwrap_or(config.poll.interval),
                labels: execution.labels.clone(),
            })
            .collect();
        let dropped = executions.len().saturating_sub(limits.executions);
        executions.truncate(limits.executions);
        Self { poll: config.poll.clone(), limits, label_names: config.metrics.labels.clone(), executions, dropped }
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
