//! `demo`: simulator and exporter in one process.

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::AppError;
use super::bind::Listeners;
use super::run::{Start, serve};
use super::simulate;
use crate::cli::Demo;
use crate::config::{Config, ConfiguredExecution};
use crate::execution::{ExecutionId, ExecutionKey, TargetArn};
use crate::iot;
use crate::plan::Plan;
use crate::shard::Shard;
use crate::simulator::Births;

/// The simulated quota, and all of it: nobody else calls the simulator.
const CALLS_PER_SECOND: f64 = 20.0;

/// Runs a simulated fleet and the exporter that polls it, until `shutdown`. Standard output names the addresses to
/// open.
///
/// # Errors
/// An address that is in use, or a task that ends by itself.
pub async fn demo(flags: &Demo, shutdown: CancellationToken) -> Result<(), AppError> {
    let simulator = simulate::start("127.0.0.1:0", &flags.fleet, Births::Before).await?;
    let url = simulator.url();
    let config = config(simulator.fleet().pairs());
    let listeners = Listeners::bind(&flags.web).await?;
    print_addresses(&listeners.urls(), &flags.web.telemetry_path, &url, config.executions.len())?;
    let iot = iot::Settings {
        endpoint_url: Some(url),
        anonymous: true,
        allow_insecure_endpoint: false,
        timeout: config.poll.timeout,
    };
    let plan = Plan::new(&config, std::iter::empty(), Shard::WHOLE);
    let start = Start { config, plan, loader: None, iot };
    let stop = shutdown.child_token();
    let simulating = tokio::spawn(simulator.run(stop.clone()));
    let outcome = serve(start, listeners, &flags.web, shutdown).await;
    stop.cancel();
    simulating.await?;
    outcome
}

/// Every execution of the fleet, polled as often as the quota allows.
fn config<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Config {
    let executions = pairs.filter_map(|(target, id)| {
        let key = ExecutionKey { target: TargetArn::parse(target).ok()?, id: ExecutionId::parse(id).ok()? };
        Some(ConfiguredExecution { key, interval: None, labels: Box::default() })
    });
    let mut config = Config { executions: executions.collect(), hash: "demo".into(), ..Config::default() };
    config.limits.get_requests_per_second = CALLS_PER_SECOND;
    config.poll.interval = Duration::from_secs(15);
    config
}

fn print_addresses(urls: &[String], telemetry_path: &str, simulator: &str, executions: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "A simulated fleet of {executions} executions, polled through the AWS SDK. Open:")?;
    for url in urls {
        writeln!(out, "  {url}{telemetry_path}   the metrics")?;
        writeln!(out, "  {url}/   the page for people")?;
    }
    writeln!(out, "  {simulator}/_simulator/executions   the simulator's own record")?;
    out.flush()
}
