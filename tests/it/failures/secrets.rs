//! The whole path at `--log.level=trace`: every failure once, and a good answer full of secrets.

use std::io;
use std::sync::{Arc, Mutex};

use aws_iot_command_exporter::clock;
use aws_iot_command_exporter::config::Config;
use aws_iot_command_exporter::execution::{ExecutionId, ExecutionKey, FailureReason, TargetArn};
use aws_iot_command_exporter::logging::{self, LogFormat, LogLevel};
use aws_iot_command_exporter::plan::Plan;
use aws_iot_command_exporter::poller::Poller;
use aws_iot_command_exporter::shard::Shard;
use aws_iot_command_exporter::simulator::{CANARY, Fault};
use aws_iot_command_exporter::source::Source as _;
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};

use super::answers::{failures, good};
use super::{ID, LONG, Site, client};

/// The access key ID and the secret key of the simulator's client, and what signatures are made of.
const CREDENTIALS: [&str; 4] = ["SIMULATED", "simulated", "AWS4-HMAC-SHA256", "Signature="];

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn target(number: usize) -> String {
    format!("arn:aws:iot:eu-central-1:123456789012:thing/t{number}")
}

/// Polls one execution for each failure, and one that succeeds, and answers with what was logged meanwhile.
async fn logged(layer: impl FnOnce(Log) -> Box<dyn Layer<Registry> + Send + Sync>) -> String {
    let log = Log::default();
    let site = Site::start(LONG).await;
    // Whatever a call logs has been met before the subscriber comes: the interest in a line that is met for the first
    // time at that very moment, by another test, would be that of the other's subscriber for ever.
    let warm = ExecutionKey {
        target: TargetArn::parse(&target(0)).expect("an ARN"),
        id: ExecutionId::parse(ID).expect("an ID"),
    };
    let absent = client(&site.url, LONG).await.get_execution(&warm).await;
    assert_eq!(absent.map_err(|failure| failure.reason), Err(FailureReason::NotFound));
    let subscriber = Registry::default().with(layer(log.clone()));
    let guard = tracing::subscriber::set_default(subscriber);
    let mut text = String::from(
        "limits: { get_requests_per_second: 1000, concurrency: 64 }\npoll: { timeout: 5s }\nexecutions:\n",
    );
    for (number, effect) in std::iter::once(None).chain(failures().into_iter().map(Some)).enumerate() {
        let target = target(number);
        text.push_str(&format!("  - {{ target_arn: \"{target}\", execution_id: {ID} }}\n"));
        site.control.put(&target, ID, good());
        if let Some((effect, _)) = effect {
            site.control.fault(Fault::new(effect).on(&target, ID));
        }
    }
    let plan =
        Plan::new(&Config::parse("test.yaml", &text).expect("a good configuration"), std::iter::empty(), Shard::WHOLE);
    let (executions, iot) = (plan.executions.len(), Arc::new(client(&site.url, LONG).await));
    let store = Arc::new(Store::new(clock::now()));
    let telemetry = Arc::new(Telemetry::new(Build::THIS));
    let (poller, progress) = Poller::new(iot, Arc::clone(&store), telemetry, true);
    let (plans, planned) = mpsc::channel(1);
    plans.send(plan).await.expect("it is empty");
    tokio::select! {
        ended = poller.run(planned, CancellationToken::new()) => panic!("it has ended: {ended:?}"),
        () = progress.first_pass() => {}
        () = tokio::time::sleep(LONG) => panic!("still polling"),
    }
    drop(guard);
    let failed = store.view().all().filter(|execution| execution.failure().is_some()).count();
    assert_eq!(failed, executions - 1, "all but the good one");
    String::from_utf8(log.0.lock().expect("written").clone()).expect("UTF-8")
}

#[tokio::test]
async fn nothing_secret_is_logged_at_any_level() {
    for format in [LogFormat::Logfmt, LogFormat::Json] {
        let log = logged(|log| logging::layer(LogLevel::Trace, format, move || log.clone()).boxed()).await;
        for line in ["polls begin to fail", "the execution cannot be polled", "polled", "credentials loaded"] {
            assert!(log.contains(line), "{line} is not in\n{log}");
        }
        for secret in CREDENTIALS.iter().chain(&[CANARY]) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is logged");
        }
    }
}

#[tokio::test]
async fn without_the_rule_there_would_be_secrets_in_the_log() {
    let log = logged(|log| tracing_subscriber::fmt::layer().with_writer(move || log.clone()).boxed()).await;
    assert!(log.contains(CANARY) && log.contains(CREDENTIALS[0]), "the test above could not fail");
}
