//! The configuration: as written in YAML, and, once checked, as meant.
//!
//! One line of data: text → `yaml` → located tree → `shape` (against the JSON Schema) → `raw` types → `check` →
//! [`Config`]. Every step but the first reports all its faults and goes on with what is sound, so that a file shows
//! all its faults at once, each with its place.
//!
//! Rules between keys are only those that no sensible file breaks: `lookback` not below `interval` (else executions
//! would be missed), one partition an account. A timeout longer than an interval is sensible, and so are more executions
//! than the cap, which a metric shows, and an interval above `max_staleness`, of which the program warns.

mod account;
mod check;
mod discovery;
pub mod duration;
mod executions;
mod fault;
#[cfg(test)]
mod fixtures;
mod load;
mod raw;
mod shape;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::execution::{CommandArn, ExecutionKey, Scope, TargetArn};
use crate::family::Family;

pub use fault::{Fault, Faults, LoadError};
pub use load::{MAX_CONFIG_BYTES, MAX_EXECUTIONS_BYTES, read_text};
pub use raw::schema;

/// A whole configuration, checked. The default is that of an empty file, but for the hash.
#[derive(Clone, Debug, Default, PartialEq)]
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

impl Default for Poll {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            max_staleness: Duration::from_secs(10 * 60),
        }
    }
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

impl Default for Limits {
    fn default() -> Self {
        Self { get_requests_per_second: 10.0, list_requests_per_second: 5.0, concurrency: 16, executions: 100_000 }
    }
}

/// `accounts.*`: how to get credentials for an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The role to assume.
    pub role_arn: String,
    /// The external ID that its trust policy asks for.
    pub external_id: Option<String>,
    /// The session's name in CloudTrail.
    pub session_name: String,
}

/// Without the external ID, which serves as a secret.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let external_id = self.external_id.as_ref().map(|_| "(hidden)");
        f.debug_struct("Account")
            .field("role_arn", &self.role_arn)
            .field("external_id", &external_id)
            .field("session_name", &self.session_name)
            .finish()
    }
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

impl DiscoverBy {
    /// The command's or target's ARN, or `every command`.
    pub fn name(&self) -> &str {
        match self {
            Self::Command(arn) => arn.as_str(),
            Self::Target(arn) => arn.as_str(),
            Self::Scope(_) => "every command",
        }
    }
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

impl Default for Metrics {
    fn default() -> Self {
        Self { labels: Vec::new(), reason_codes: Vec::new(), per_execution: true, disabled: Vec::new() }
    }
}
