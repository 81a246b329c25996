//! A smaller campaign over the real wire and in real time: the poller in front of the SDK, HTTP, and the simulator
//! with AWS's own quotas. What was asked is judged by the simulator's journal, what was seen by the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::clock;
use aws_iot_command_exporter::config::{Config, ConfiguredExecution, Limits, Poll};
use aws_iot_command_exporter::execution::{Status, Timestamp};
use aws_iot_command_exporter::iot::{Iot, Settings};
use aws_iot_command_exporter::plan::Plan;
use aws_iot_command_exporter::poller::Poller;
use aws_iot_command_exporter::shard::Shard;
use aws_iot_command_exporter::simulator::{Entry, Execution, Fleet, Operation, Options, Report as Answer, Simulator};
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::fleet::{Life, Tempo, fleet_at};
use super::judge::{Care, Verdict, watch_lives};
use super::service::{Calls, Manners};
use crate::{Campaign, Policy, Report, lower_bound};

/// The account of the executions.
const ACCOUNT: &str = "123456789012";

/// The clocks of journal and fleet agree to this many milliseconds.
const AGREE: i64 = 5;

/// The size of a campaign. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
struct Size {
    executions: usize,
    until: i64,
    interval: Duration,
    tempo: Tempo,
}

impl Size {
    const WHOLE: Self = Self {
        executions: 400,
        until: 90_000,
        interval: Duration::from_secs(3),
        tempo: Tempo { start: 3_000.0, median: 10_000.0, timeout: 45_000, late: (1_000, 8_000.0) },
    };

    /// As large as a first pass of 10 s allows.
    const SHORT: Self = Self {
        executions: 100,
        until: 28_000,
        interval: Duration::from_secs(2),
        tempo: Tempo { start: 2_000.0, median: 3_000.0, timeout: 14_000, late: (1_000, 4_000.0) },
    };

    /// What is not seen two intervals after it has happened is missed, with room for a burst of deadlines; a late
    /// report is looked for once in ten intervals.
    fn care(&self) -> Care {
        let interval = i64::try_from(self.interval.as_millis()).expect("some seconds");
        let look = Duration::from_millis(100);
        Care { look, patience: 2 * interval + 4_000, patience_late: 11 * interval + 4_000 }
    }
}

/// Plays the campaign. Answers what was asked and seen, and which invariants do not hold.
#[tokio::main]
pub(crate) async fn run(short: bool) -> (Report, Vec<String>) {
    let size = if short { Size::SHORT } else { Size::WHOLE };
    let lives = fleet_at(&size.tempo, ACCOUNT, 1, size.executions, 1);
    let (origin, start) = (clock::now(), Instant::now());
    let played = lives.iter().map(|life| execution(life, &size.tempo, origin)).collect();
    let fleet = Fleet::from_executions(played, origin);
    let simulator = Simulator::bind_fleet("127.0.0.1:0", fleet, &Options::default()).await.expect("a free port");
    let (url, control) = (simulator.url(), simulator.control());
    let since_start = start.elapsed().saturating_sub(control.uptime());
    let shutdown = CancellationToken::new();
    tokio::spawn(simulator.run(shutdown.clone()));

    let settings =
        Settings { endpoint_url: Some(url), anonymous: true, timeout: Poll::default().timeout, ..Settings::default() };
    let iot = Arc::new(Iot::connect(&settings, Some("eu-central-1")).await.expect("loopback"));
    let now = || millis(start.elapsed());
    let begin = size.tempo.start as i64;
    sleep(Duration::from_millis(begin.unsigned_abs())).await;
    let store = Arc::new(Store::new(origin));
    let limits = start_exporter(iot, &lives, &size, &store, &shutdown);
    let verdict = watch_lives(&lives, now, &store, ACCOUNT, size.care(), size.until).await;
    let entries = control.requests();
    shutdown.cancel();

    let at = |entry: &Entry| since_start + entry.at;
    let calls = |operation| {
        let calls = || entries.iter().filter(move |entry| entry.operation == operation);
        let throttled = calls().filter(|entry| entry.error.as_deref() == Some("ThrottlingException")).count();
        Calls { starts: calls().map(at).collect(), throttled: throttled as u64 }
    };
    let report = Report {
        campaign: Campaign {
            name: "over the wire",
            policy: Policy::Ours,
            size: (1, size.executions),
            second_account: false,
            discovers: false,
            manners: Manners::default(),
            limits,
        },
        get: calls(Operation::GetCommandExecution),
        list: calls(Operation::ListCommandExecutions),
        needless: needless(&lives, entries.iter().map(|entry| (entry, millis(at(entry))))),
        bound: lower_bound(&lives, begin, size.until, size.interval),
        verdict,
    };
    // What is under way at the end has no answer yet.
    let refused = entries.iter().filter(|entry| entry.status.is_some_and(|status| status != 200));
    let faults = faults(&report, &refused.map(name).collect::<Vec<_>>());
    (report, faults)
}

/// The exporter as the program wires it, without the server.
fn start_exporter(
    iot: Arc<Iot>,
    lives: &[Life],
    size: &Size,
    store: &Arc<Store>,
    shutdown: &CancellationToken,
) -> Limits {
    let mut config = Config::default();
    config.poll.interval = size.interval;
    let configured =
        |life: &Life| ConfiguredExecution { key: life.key.clone(), interval: None, labels: Box::default() };
    config.executions = lives.iter().map(configured).collect();
    let telemetry = Arc::new(Telemetry::new(Build::THIS));
    let (mut poller, _) = Poller::new(iot, Arc::clone(store), telemetry, false);
    poller.apply(Plan::new(&config, std::iter::empty(), Shard::WHOLE));
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        // As long as this end lives, the poller waits for plans.
        let (_plans, planned) = mpsc::channel(1);
        poller.run(planned, shutdown).await.expect("no lane ends by itself");
    });
    config.limits
}

/// A life as the simulator plays it.
fn execution(life: &Life, tempo: &Tempo, origin: Timestamp) -> Execution {
    let deadline = life.created + tempo.timeout;
    let mut reports = Vec::new();
    reports.extend(life.picked_up.map(|at| Answer::new(at - life.created, Status::InProgress)));
    reports.extend(life.ended.map(|(at, status)| Answer {
        reason_code: (status != Status::Succeeded).then(|| "DEVICE_TOO_BUSY".into()),
        ..Answer::new(at - life.created, status)
    }));
    Execution {
        // Whoever is not timed out has reported before the timer looked, a second after the deadline at the latest.
        timer_lag_millis: life.timed_out.map_or(1_001, |at| at - deadline),
        reports,
        ..Execution::new(
            life.key.target.as_str(),
            life.key.id.as_str(),
            life.command.as_str(),
            Timestamp::from_millis(origin.millis() + life.created),
            tempo.timeout / 1000,
        )
    }
}

/// How many Gets were made about executions that a Get had shown to be terminal: all but the first that came after the
/// device's end.
fn needless<'a>(lives: &[Life], entries: impl Iterator<Item = (&'a Entry, i64)>) -> u64 {
    let ends: HashMap<(&str, &str), i64> = lives
        .iter()
        .filter_map(|life| Some(((life.key.target.as_str(), life.key.id.as_str()), life.ended?.0)))
        .collect();
    let mut shown: HashMap<(&str, &str), u64> = HashMap::new();
    for (entry, at) in entries.filter(|(entry, _)| entry.operation == Operation::GetCommandExecution) {
        let (Some(target), Some(id)) = (&entry.target, &entry.execution) else { continue };
        let pair = (target.as_str(), id.as_str());
        if ends.get(&pair).is_some_and(|end| at > end + AGREE) {
            *shown.entry(pair).or_default() += u64::from(entry.status == Some(200));
        }
    }
    shown.values().map(|times| times.saturating_sub(1)).sum()
}

fn name(entry: &Entry) -> String {
    let status = entry.status.map_or_else(String::new, |status| status.to_string());
    format!("{:?}: {}", entry.operation, entry.error.clone().unwrap_or(status))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("some minutes")
}

/// What must hold.
fn faults(report: &Report, refused: &[String]) -> Vec<String> {
    let Report { campaign, get, list, needless, verdict, .. } = report;
    let (most_get, most_list) = (get.most_in_a_second(), list.most_in_a_second());
    let Verdict { ends, timed_out, late, .. } = verdict;
    let (missed, seen) = (ends.missed + timed_out.missed + late.missed, ends.seen.len().min(timed_out.seen.len()));
    let checks = [
        (most_get as f64 <= campaign.limits.get_requests_per_second, format!("{most_get} Gets in a second")),
        (most_list as f64 <= campaign.limits.list_requests_per_second, format!("{most_list} Lists in a second")),
        (refused.is_empty(), format!("answers other than success: {refused:?}")),
        (*needless == 0, format!("{needless} Gets for executions that a Get had shown to be terminal")),
        (get.starts.len() >= campaign.size.1, format!("only {} Gets", get.starts.len())),
        (missed == 0, format!("{missed} ends were never seen")),
        (seen > 0, "no ends, or no time-outs, to be seen".to_owned()),
    ];
    let failed = checks.into_iter().filter(|(holds, _)| !holds);
    failed.map(|(_, what)| format!("{}: {what}", campaign.name)).collect()
}
