//! `simulate`: the simulated control plane alone.

use std::io::Write as _;

use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::cli::{FleetFlags, Simulate};
use crate::simulator::{self, Births, FleetOptions, Simulator};

/// Serves a simulated control plane until `shutdown`. The first line on standard output says where.
///
/// # Errors
/// The address cannot be listened on.
pub async fn simulate(flags: &Simulate, shutdown: CancellationToken) -> Result<(), AppError> {
    let simulator = start(&flags.listen, &flags.fleet, Births::Before).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", simulator.url())?;
    out.flush()?;
    simulator.run(shutdown).await;
    Ok(())
}

/// A simulator with this fleet, bound.
pub(super) async fn start(address: &str, fleet: &FleetFlags, births: Births) -> Result<Simulator, AppError> {
    let fleet = FleetOptions {
        executions: fleet.executions as usize,
        seed: fleet.seed,
        speed: fleet.speed,
        births,
        ..FleetOptions::default()
    };
    Ok(Simulator::bind(address, &simulator::Options { fleet, ..simulator::Options::default() }).await?)
}
