//! The configuration: as written in YAML, and, once checked, as meant.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::execution::{CommandArn, ExecutionKey, Scope, TargetArn};
use crate::family::Family;

/// A whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `poll`.
    pub poll: Poll,
    /// `limits`.
    pub limits: Limits,
    /// `accounts`, by account ID.
    pub accounts: BTreeMap<String, Account>,
    /// `executions`, in the order of the file.
    pub executions: Vec<ConfiguredExecution>,
    /// `execution_files`: globs.
    pub execution_files: Vec<String>,
    /// `discovery`.
    pub discovery: Vec<Discovery>,
    /// `metrics`.
    pub metrics: Metrics,
    /// SHA-256 of the file's content, in hexadecimal.
    pub hash: String,
}

/// `poll`.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// How often an open execution is asked for, quota permitting.
    pub interval: Duration,
    /// One API call, all included.
    pub timeout: Duration,
    /// An open execution unseen for longer stops exposing its data.
    pub max_staleness: Duration,
}

/// `limits`: per account and Region, ceilings for every single second.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Of `GetCommandExecution`.
    pub get_requests_per_second: f64,
    /// Of the List operations, each.
    pub list_requests_per_second: f64,
    /// Calls at the same time.
    pub concurrency: usize,
    /// How many executions are tracked at the most.
    pub executions: usize,
}

/// `accounts.*`: how to get credentials for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The role to assume.
    pub role_arn: String,
    /// The external ID that its trust policy asks for.
    pub external_id: Option<String>,
    /// The session's name in CloudTrail.
    pub session_name: String,
}

/// One configured pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredExecution {
    /// The pair.
    pub key: ExecutionKey,
    /// Its own interval, in place of `poll.interval`.
    pub interval: Option<Duration>,
    /// Values for the names in `metrics.labels`, in their order; empty where it has none.
    pub labels: Box<[Box<str>]>,
}

/// What a discovery lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiscoverBy {
    /// Executions of one command.
    Command(CommandArn),
    /// Executions on one target.
    Target(TargetArn),
    /// Executions of every command in an account and Region.
    Scope(Scope),
}

/// One item of `discovery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// What is listed.
    pub by: DiscoverBy,
    /// How often.
    pub interval: Duration,
    /// How far back `startedTimeFilter` reaches.
    pub lookback: Duration,
    /// How long a finished execution stays exposed.
    pub retain: Duration,
}

/// `metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The declared label names, in the order of the file.
    pub labels: Vec<String>,
    /// Reason codes that may become label values.
    pub reason_codes: Vec<String>,
    /// Whether there are series per execution.
    pub per_execution: bool,
    /// Families left out.
    pub disabled: Vec<Family>,
}
