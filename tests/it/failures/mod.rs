//! Every reason of `execution_poll_failure`, from whole answers over real sockets, through the real SDK.

/// Answers that are whole, good and bad.
mod answers;
/// Where HTTP itself is broken, or there is nobody to answer.
mod broken;
/// Nothing secret is logged, whatever happens.
mod secrets;

use std::time::Duration;

use aws_iot_command_exporter::execution::{ExecutionId, ExecutionKey, FailureReason, Snapshot, TargetArn};
use aws_iot_command_exporter::iot::{Iot, Settings};
use aws_iot_command_exporter::simulator::{Control, FleetOptions, Options, Quotas, Simulator};
use aws_iot_command_exporter::source::Source;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Long enough for every answer that comes at all.
const LONG: Duration = Duration::from_secs(30);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

const TARGET: &str = "arn:aws:iot:eu-central-1:123456789012:thing/pump-7";
const ID: &str = "07e4b780-7eca-4ffd-b772-b76358da5542";

/// A simulated service in this process, and the SDK's client of it.
struct Site {
    iot: Iot,
    control: Control,
    url: String,
    _stop: DropGuard,
}

impl Site {
    async fn start(timeout: Duration) -> Self {
        let fleet = FleetOptions { executions: 0, ..FleetOptions::default() };
        let options = Options { fleet, quotas: Quotas::OFF, ..Options::default() };
        let simulator = Simulator::bind("127.0.0.1:0", &options).await.expect("a free port");
        let (control, url, stop) = (simulator.control(), simulator.url(), CancellationToken::new());
        tokio::spawn(simulator.run(stop.clone()));
        Self { iot: client(&url, timeout).await, control, url, _stop: stop.drop_guard() }
    }
}

/// The SDK's client for this endpoint.
async fn client(url: &str, timeout: Duration) -> Iot {
    let settings = Settings { endpoint_url: Some(url.to_owned()), anonymous: true, timeout, ..Settings::default() };
    Iot::connect(&settings, Some("eu-central-1")).await.expect("a loopback address, or https")
}

fn key(target: &str) -> ExecutionKey {
    let target = TargetArn::parse(target).unwrap_or_else(|fault| panic!("{target}: {fault}"));
    ExecutionKey { target, id: ExecutionId::parse(ID).expect("an ID") }
}

/// What asking once has given, and what the log would say.
async fn ask(iot: &Iot) -> (Result<Snapshot, FailureReason>, String) {
    match iot.get_execution(&key(TARGET)).await {
        Ok(snapshot) => (Ok(snapshot), String::new()),
        Err(failure) => (Err(failure.reason), failure.to_string()),
    }
}
