//! A Prometheus exporter for AWS IoT Device Management command executions.
//!
//! One line of data:
//! `exporter.yaml → Config → schedule, listing → poller → iot → Snapshot | Failure → store → exposition → server`.
//!
//! Deliberately absent: calls of AWS within a scrape, retries other than the next poll, a default registry or any other
//! static, error texts as labels, a database, and leader election.

// Floor 1: nouns that need nobody.
pub mod clock;
pub mod execution;
pub mod family;
pub mod logging;
pub mod rate;
pub mod server;
pub mod simulator;
pub mod telemetry;
pub mod text;
// Floor 2: decisions and state.
pub mod cli;
pub mod config;
pub mod listing;
pub mod plan;
pub mod schedule;
pub mod shard;
pub mod source;
pub mod store;
// Floor 3: the edge.
pub mod credentials;
pub mod exposition;
pub mod iam;
pub mod iot;
pub mod page;
pub mod poller;
pub mod watch;
// Floor 4: which tasks live together.
pub mod app;
