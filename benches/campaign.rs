//! What the schedule costs in API calls, and how late changes are seen: campaigns of command executions on a paused
//! clock, the real poller in front of a service in memory.
//!
//! `cargo bench --bench campaign` prints the table of `docs/polling.md`: two virtual hours of each campaign. `-- --short`
//! runs a tenth of them and fails where an invariant does not hold; `-- --only=NAME` runs the campaigns whose name
//! begins so. The same code gives the same numbers on every machine. `-- --wire` is another matter: a smaller campaign
//! through the SDK and the simulator, in a minute and a half of real time (`-- --wire --short`: in half a minute).

mod campaign {
    pub(crate) mod fleet;
    pub(crate) mod judge;
    pub(crate) mod policy;
    pub(crate) mod service;
    pub(crate) mod wire;
}

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_iot_command_exporter::config::{Limits, Poll};
use aws_iot_command_exporter::execution::Scope;
use aws_iot_command_exporter::store::Store;
use tokio_util::sync::CancellationToken;

use campaign::fleet::{self, Life, fleet};
use campaign::judge::{Delays, Verdict, watch};
use campaign::policy;
use campaign::service::{Calls, Kind, Manners, Service};
use campaign::wire;

const HERE: &str = "111111111111";
const THERE: &str = "222222222222";

/// The exporter begins once all executions have started: delays of what happened before count from there.
const BEGIN: Duration = Duration::from_secs(60);

/// A listing shows up to so many executions.
const PAGE: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Ours,
    RoundRobin,
}

#[derive(Clone, Debug)]
struct Campaign {
    name: &'static str,
    policy: Policy,
    /// Commands, and executions of each.
    size: (usize, usize),
    /// As many in a second account.
    second_account: bool,
    /// The exporter is told of the commands only.
    discovers: bool,
    manners: Manners,
    limits: Limits,
}

struct Report {
    campaign: Campaign,
    get: Calls,
    list: Calls,
    needless: u64,
    /// The least number of calls, by `docs/polling.md`.
    bound: f64,
    verdict: Verdict,
}

fn campaigns(short: bool) -> Vec<Campaign> {
    let tenth = if short { 10 } else { 1 };
    let (one, many) = ((1, 10_000 / tenth), (1_000 / tenth, 10));
    let plain = Campaign {
        name: "one command",
        policy: Policy::Ours,
        size: one,
        second_account: false,
        discovers: false,
        manners: Manners::default(),
        limits: Limits::default(),
    };
    let denied = Manners { list_denied: true, ..Manners::default() };
    let whole = Limits { get_requests_per_second: 20.0, list_requests_per_second: 10.0, ..Limits::default() };
    let all = [
        plain.clone(),
        Campaign { name: "one command, discovered", discovers: true, ..plain.clone() },
        Campaign {
            name: "one command, listings lag by 10 s",
            manners: Manners { lag: 10_000, ..Manners::default() },
            ..plain.clone()
        },
        Campaign { name: "one command, List denied", manners: denied.clone(), ..plain.clone() },
        Campaign { name: "one command, round robin", policy: Policy::RoundRobin, ..plain.clone() },
        Campaign { name: "many commands", size: many, ..plain.clone() },
        Campaign { name: "many commands, List denied", size: many, manners: denied, ..plain.clone() },
        Campaign { name: "many commands, round robin", size: many, policy: Policy::RoundRobin, ..plain.clone() },
        Campaign {
            name: "two accounts, the other hangs",
            size: (1, 5_000 / tenth),
            second_account: true,
            manners: Manners { hangs: Some(THERE), ..Manners::default() },
            ..plain.clone()
        },
        Campaign {
            name: "noisy neighbour, whole quota",
            manners: Manners { neighbour: true, ..Manners::default() },
            limits: whole,
            ..plain
        },
    ];
    all.into()
}

fn main() -> ExitCode {
    let (mut short, mut wire, mut only) = (false, false, String::new());
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--bench" => {}
            "--short" => short = true,
            "--wire" => wire = true,
            other => match other.strip_prefix("--only=") {
                Some(name) => only = name.to_owned(),
                None => panic!("--short, --wire, --only=NAME or nothing, not {other}"),
            },
        }
    }
    if wire {
        return over_the_wire(short);
    }
    let chosen: Vec<Campaign> = campaigns(short).into_iter().filter(|one| one.name.starts_with(&only)).collect();
    let reports: Vec<Report> = thread::scope(|scope| {
        let running: Vec<_> = chosen.into_iter().map(|one| scope.spawn(move || run(one))).collect();
        running.into_iter().map(|one| one.join().expect("a campaign does not panic")).collect()
    });
    println!("{HEAD}");
    reports.iter().for_each(print);
    conclude(&reports.iter().flat_map(|report| faults(report, short)).collect::<Vec<_>>())
}

fn over_the_wire(short: bool) -> ExitCode {
    let (report, faults) = wire::run(short);
    println!("{HEAD}");
    print(&report);
    conclude(&faults)
}

fn conclude(faults: &[String]) -> ExitCode {
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[tokio::main(flavor = "current_thread")]
async fn run(campaign: Campaign) -> Report {
    tokio::time::pause();
    let until: i64 = 2 * 3_600_000;
    let (commands, each) = campaign.size;
    let mut lives = fleet(HERE, commands, each, 1);
    let begin = i64::try_from(BEGIN.as_millis()).expect("a minute");
    let bound = lower_bound(&lives, begin, until, Poll::default().interval);
    if campaign.second_account {
        lives.extend(fleet(THERE, commands, each, 2));
    }
    let service = Arc::new(Service::new(lives, campaign.manners.clone(), 3));
    let store = Arc::new(Store::new(fleet::wall(0)));
    let shutdown = CancellationToken::new();
    tokio::time::sleep(BEGIN).await;
    match campaign.policy {
        Policy::Ours => policy::exporter(&service, &store, &campaign.limits, campaign.discovers, &shutdown),
        Policy::RoundRobin => {
            policy::round_robin(&service, &store, campaign.limits.get_requests_per_second, &shutdown);
        }
    }
    let verdict = watch(&service, &store, HERE, until).await;
    shutdown.cancel();
    let scope = Scope { account_id: HERE.into(), region: "eu-central-1".into() };
    let (get, list) = (service.calls(&scope, Kind::Get), service.calls(&scope, Kind::List));
    Report { campaign, get, list, needless: service.needless(), bound, verdict }
}

/// The least number of calls, by `docs/polling.md`.
fn lower_bound(lives: &[Life], begin: i64, until: i64, interval: Duration) -> f64 {
    let open: i64 = lives.iter().map(|life| life.open_millis(begin, until)).sum();
    let failures: u64 = lives.iter().map(|life| life.failures(until)).sum();
    open as f64 / 1000.0 / (PAGE * interval.as_secs_f64()) + lives.len() as f64 + failures as f64
}

const HEAD: &str = "\
| Campaign | Get | List | lower bound | ratio | ends p50 / p99 | time-outs p50 / p99 | picked up p50 / p99 | late reports p50 / p99 | most in a second, Get / List | throttled |
|---|---|---|---|---|---|---|---|---|---|---|";

fn print(report: &Report) {
    let Report { campaign, get, list, bound, verdict, .. } = report;
    let calls = (get.starts.len() + list.starts.len()) as f64;
    let delays = |delays: &Delays| format!("{:.1} s / {:.1} s", delays.percentile(0.5), delays.percentile(0.99));
    println!(
        "| {} | {} | {} | {bound:.0} | {:.2} | {} | {} | {} | {} | {} / {} | {:.2} % |",
        campaign.name,
        get.starts.len(),
        list.starts.len(),
        calls / bound,
        delays(&verdict.ends),
        delays(&verdict.timed_out),
        delays(&verdict.picked_up),
        delays(&verdict.late),
        get.most_in_a_second(),
        list.most_in_a_second(),
        100.0 * (get.throttled + list.throttled) as f64 / calls,
    );
}

/// What must hold in every campaign, and, at a tenth of the size, where the budget suffices, how fresh it must be.
fn faults(report: &Report, short: bool) -> Vec<String> {
    let Report { campaign, get, list, needless, bound, verdict } = report;
    let ours = campaign.policy == Policy::Ours;
    let calls = (get.starts.len() + list.starts.len()) as f64;
    let limits = &campaign.limits;
    let fresh = ours && short && !campaign.manners.list_denied;
    let one = campaign.size.0 == 1;
    // What the exporter is to reach, where the budget suffices.
    let goal = ours && !short && one && !campaign.manners.list_denied;
    let (lag, ratio) = (campaign.manners.lag as f64 / 1000.0, calls / bound);
    let checks = [
        (get.most_in_a_second() as f64 <= limits.get_requests_per_second, "more Gets in a second than configured"),
        (list.most_in_a_second() as f64 <= limits.list_requests_per_second, "more Lists in a second than configured"),
        (*needless == 0 || !ours, "calls for executions that were seen to be terminal"),
        (verdict.ends.missed + verdict.timed_out.missed == 0 || !ours, "ends that were never seen"),
        ((get.throttled + list.throttled) as f64 <= 0.01 * calls, "more than 1 % of the calls throttled"),
        (!(fresh || goal) || !one || verdict.ends.percentile(0.99) <= 30.0 + lag, "ends are seen too late"),
        (
            // A sweep that lags behind the deadlines shows none of them.
            !(fresh || goal) || lag > 0.0 || verdict.timed_out.percentile(0.99) <= 5.0,
            "time-outs of the service are seen too late",
        ),
        (!goal || ratio <= 1.2, "more than 1.2 times the least number of calls"),
    ];
    let failed = checks.into_iter().filter(|(holds, _)| !holds);
    failed.map(|(_, what)| format!("{}: {what}", campaign.name)).collect()
}
