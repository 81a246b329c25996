//! A Prometheus exporter for AWS IoT Device Management command executions.
//!
//! One line of data:
//! `exporter.yaml → Config → schedule → poller → iot → Snapshot | Failure → store → exposition → server`.

// Floor 1: nouns that need nobody.
pub mod clock;
pub mod execution;
pub mod family;

pub mod rate;
pub mod server;
pub mod simulator;
// Floor 2: decisions and state.
pub mod cli;
pub mod config;
pub mod schedule;
pub mod source;
pub mod store;
// Floor 3: the edge.
pub mod credentials;
pub mod exposition;
pub mod iot;
pub mod plan;
pub mod poller;
pub mod shard;
pub mod telemetry;
