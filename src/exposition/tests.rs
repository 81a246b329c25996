//! The text as a whole: against the `prometheus` crate, against a strict parser, under writes, and against the
//! golden files, which are the operators' reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{Encoder, GaugeVec, Opts, TextEncoder};
use proptest::prelude::*;

use super::parser::{self, Sample};
use super::*;
use crate::config;
use crate::execution::{
    CommandArn, ExecutionId, ExecutionKey, Failure, FailureReason, Origin, Scope, Snapshot, TargetArn,
};
use crate::store::Store;
use crate::telemetry::{self, Build, DropCause, Operation, RateKind, ScrapeCode, Telemetry, Tracked};

const NOW: Timestamp = Timestamp::from_millis(1_763_902_800_000);
const STALENESS: Duration = Duration::from_secs(600);

fn ago(seconds: i64) -> Timestamp {
    NOW.checked_add_seconds(-seconds).unwrap()
}

fn config() -> Config {
    Config {
        poll: config::Poll {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            max_staleness: STALENESS,
        },
        limits: config::Limits {
            get_requests_per_second: 10.0,
            list_requests_per_second: 5.0,
            concurrency: 16,
            executions: 100_000,
        },
        accounts: BTreeMap::new(),
        executions: Vec::new(),
        execution_files: Vec::new(),
        discovery: Vec::new(),
        metrics: config::Metrics {
            labels: vec!["site".into()],
            reason_codes: vec!["DEVICE_TOO_BUSY".into(), "a\"b".into()],
            per_execution: true,
            disabled: Vec::new(),
        },
        hash: String::new(),
    }
}

fn key(target: &str, id: &str) -> ExecutionKey {
    let target = TargetArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:{target}")).unwrap();
    ExecutionKey { target, id: ExecutionId::parse(id).unwrap() }
}

fn command(id: &str) -> Option<CommandArn> {
    CommandArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:command/{id}")).ok()
}

fn page(view: View, config: &Config, format: Format) -> String {
    let chunks = render(view, Arc::new(Settings::new(config)), NOW, format, Bytes::new());
    String::from_utf8(chunks.flatten().collect()).unwrap()
}

fn samples(page: &str) -> Vec<Sample> {
    let families = parser::parse(page).unwrap_or_else(|error| panic!("{error}"));
    families.into_iter().flat_map(|family| family.samples).collect()
}

/// One tracked execution of an arbitrary fleet: its labels, the answer to its first poll, the failure of the next.
#[derive(Clone, Debug)]
struct Tracking {
    target: String,
    site: String,
    answer: Option<Snapshot>,
    failure: Option<FailureReason>,
}

fn any_tracking() -> impl Strategy<Value = Tracking> {
    let target = "(thing|client)/(\\PC|[\\\\\" ]){1,20}";
    let failure = proptest::option::of(proptest::sample::select(&FailureReason::ALL[..]));
    (target, "(\\PC|[\\\\\"\n]){0,10}", proptest::option::of(any_snapshot()), failure)
        .prop_map(|(target, site, answer, failure)| Tracking { target, site, answer, failure })
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let time = || proptest::option::of((-(1_i64 << 50)..(1 << 50)).prop_map(Timestamp::from_millis));
    let reason = prop_oneof![
        Just(String::new()),
        Just("DEVICE_TOO_BUSY".to_owned()),
        Just("a\"b".to_owned()),
        Just(Reason::NO_RESPONSE.to_owned()),
        "[$]?(\\PC|\n){1,10}",
    ];
    let seconds = proptest::option::of(0..(1_i64 << 40));
    let command = proptest::option::of("[a-c]".prop_map(|id| command(&id).unwrap()));
    let head = (proptest::sample::select(&Status::ALL[..]), command, reason, seconds);
    (head, [time(), time(), time(), time(), time()]).prop_map(
        |((status, command, reason, timeout_seconds), [created, started, last_updated, completed, expiration])| {
            Snapshot {
                status,
                command,
                reason: Reason::new(&reason),
                timeout_seconds,
                created,
                started,
                last_updated,
                completed,
                expiration,
            }
        },
    )
}

/// What the `prometheus` crate writes about the fleet, family by family, straight from the outcomes.
fn oracle(fleet: &[Tracking]) -> String {
    let mut gauges: BTreeMap<(&str, usize), GaugeVec> = BTreeMap::new();
    let mut set = |family: &'static str, labels: &[(&'static str, &str)], value: f64| {
        let gauge = gauges.entry((family, labels.len())).or_insert_with(|| {
            let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
            GaugeVec::new(Opts::new(format!("aws_iot_command_{family}"), "x"), &names).unwrap()
        });
        let values: Vec<&str> = labels.iter().map(|(_, value)| *value).collect();
        gauge.with_label_values(&values).set(value);
    };
    let mut counts: BTreeMap<String, BTreeMap<Status, u32>> = BTreeMap::new();
    for (index, tracking) in fleet.iter().enumerate() {
        let id = format!("e{index}");
        let identity = [
            ("account_id", "123456789012"),
            ("region", "eu-central-1"),
            ("target", tracking.target.as_str()),
            ("execution_id", id.as_str()),
            ("site", tracking.site.as_str()),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&identity[..], more].concat();
        let succeeded = tracking.answer.is_some() && tracking.failure.is_none();
        set("execution_poll_success", &with(&[]), f64::from(u8::from(succeeded)));
        if let Some(reason) = tracking.failure {
            set("execution_poll_failure", &with(&[("reason", reason.label())]), 1.0);
        }
        let Some(known) = &tracking.answer else { continue };
        set("execution_last_success_timestamp_seconds", &with(&[]), NOW.millis() as f64 / 1000.0);
        let command_id = known.command.as_ref().map_or("", |arn| arn.id());
        let data = [&identity[..], &[("command", command_id)]].concat();
        if known.command.is_some() {
            *counts.entry(command_id.to_owned()).or_default().entry(known.status).or_default() += 1;
        }
        let target_arn = format!("arn:aws:iot:eu-central-1:123456789012:{}", tracking.target);
        let command_arn = known.command.as_ref().map_or("", |arn| arn.as_str());
        let arns = [("target_arn", target_arn.as_str()), ("command_arn", command_arn)];
        set("execution_info", &[&data[..], &arns].concat(), 1.0);
        for status in Status::ALL {
            let labels = [&data[..], &[("status", status.label())]].concat();
            set("execution_status", &labels, f64::from(u8::from(known.status == status)));
        }
        if let Some(reason) = &known.reason {
            let listed = ["DEVICE_TOO_BUSY", "a\"b", "$NO_RESPONSE_FROM_DEVICE"].contains(&reason.code());
            let code = if listed { reason.code() } else { "other" };
            let origin = if reason.origin() == Origin::Service { "service" } else { "device" };
            set("execution_status_reason", &[&data[..], &[("origin", origin), ("code", code)]].concat(), 1.0);
        }
        set("execution_terminal", &data, f64::from(u8::from(known.is_terminal())));
        let seconds = |at: Option<Timestamp>| at.map(|at| at.millis() as f64 / 1000.0);
        for (family, value) in [
            ("execution_created_timestamp_seconds", seconds(known.created)),
            ("execution_started_timestamp_seconds", seconds(known.started)),
            ("execution_last_updated_timestamp_seconds", seconds(known.last_updated)),
            ("execution_completed_timestamp_seconds", seconds(known.completed)),
            ("execution_deadline_timestamp_seconds", seconds(known.deadline())),
            ("execution_expiration_timestamp_seconds", seconds(known.expiration)),
            ("execution_timeout_seconds", known.timeout_seconds.map(|seconds| seconds as f64)),
            ("execution_duration_seconds", known.duration_millis(NOW).map(|millis| millis as f64 / 1000.0)),
            ("execution_timeout_margin_seconds", known.timeout_margin_millis(NOW).map(|ms| ms as f64 / 1000.0)),
        ] {
            if let Some(value) = value {
                set(family, &data, value);
            }
        }
    }
    for (command, counts) in &counts {
        for status in Status::ALL {
            let labels = [
                ("account_id", "123456789012"),
                ("region", "eu-central-1"),
                ("command", command),
                ("status", status.label()),
            ];
            set("executions", &labels, f64::from(counts.get(&status).copied().unwrap_or_default()));
        }
    }
    let families: Vec<_> =
        gauges.into_values().flat_map(|gauge| prometheus::core::Collector::collect(&gauge)).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn comparable(page: &str) -> BTreeMap<String, u64> {
    let gauges = samples(page)
        .into_iter()
        .filter(|sample| !sample.name.contains("_completion") && !sample.name.contains("_revised"));
    gauges.map(|sample| (format!("{} {:?}", sample.name, sample.labels), sample.value.to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn says_what_the_prometheus_crate_says(fleet in proptest::collection::vec(any_tracking(), 0..12)) {
        let store = Store::new(NOW);
        for (index, tracking) in fleet.iter().enumerate() {
            let slot = store.track(&key(&tracking.target, &format!("e{index}")), &[("site", &tracking.site)]);
            let failure = tracking.failure.map(|reason| Err(Failure::new(reason, "")));
            for outcome in tracking.answer.clone().map(Ok).into_iter().chain(failure) {
                store.record(slot, &outcome, NOW);
            }
        }
        let ours = page(store.view(), &config(), Format::Text004);
        prop_assert_eq!(comparable(&ours), comparable(&oracle(&fleet)));

        let open = page(store.view(), &config(), Format::OpenMetrics100);
        let lines = |page: &str| -> Vec<String> {
            page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        prop_assert_eq!(lines(&open), lines(&ours), "names, labels and values are the same in both formats");
        prop_assert!(open.ends_with("# EOF\n") && !ours.contains("# EOF"));
    }
}

/// An execution all of whose values say the same number.
fn generation(number: i64) -> (Result<Snapshot, Failure>, Timestamp) {
    let at = Timestamp::from_millis(number * 1000);
    let snapshot = Snapshot {
        command: command("reboot"),
        timeout_seconds: Some(number),
        created: Some(at),
        started: Some(at),
        last_updated: Some(at),
        expiration: Some(at),
        ..Snapshot::with_status(Status::InProgress)
    };
    (Ok(snapshot), at)
}

/// The generation of every execution on a page; fails if the series of one come from different observations.
fn generations(page: &str) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let whole = [
        "last_success_timestamp_seconds",
        "created_timestamp_seconds",
        "started_timestamp_seconds",
        "last_updated_timestamp_seconds",
        "expiration_timestamp_seconds",
        "timeout_seconds",
    ]
    .map(|name| format!("aws_iot_command_execution_{name}"));
    let mut series = 0;
    for sample in samples(page).into_iter().filter(|sample| whole.contains(&sample.name)) {
        let first = *seen.entry(sample.labels["execution_id"].clone()).or_insert(sample.value.to_bits());
        assert_eq!(sample.value.to_bits(), first, "torn: {sample:?}");
        series += 1;
    }
    assert_eq!(series, seen.len() * whole.len());
    seen
}

fn endless() -> Config {
    let mut config = config();
    config.poll.max_staleness = Duration::from_secs(u64::from(u32::MAX));
    config
}

#[test]
fn a_scrape_shows_one_moment_however_slowly_it_is_read() {
    let store = Store::new(NOW);
    let slots: Vec<_> = (0..1_500).map(|i| store.track(&key("thing/a", &format!("e{i}")), &[])).collect();
    let write = |number: i64| {
        let (outcome, at) = generation(number);
        for slot in &slots {
            store.record(*slot, &outcome, at).unwrap();
        }
    };
    write(1);
    let mut text = Vec::new();
    let mut number = 1;
    for chunk in render(store.view(), Arc::new(Settings::new(&endless())), NOW, Format::Text004, Bytes::new()) {
        number += 1;
        write(number);
        store.track(&key("thing/late", &format!("e{number}")), &[]);
        text.extend_from_slice(&chunk);
    }
    assert!(number > 10, "the page has many chunks, and every poll between two of them went through");
    let seen = generations(std::str::from_utf8(&text).unwrap());
    assert_eq!((seen.len(), seen.values().collect::<BTreeSet<_>>().len()), (1_500, 1));
}

#[test]
fn no_execution_is_torn_by_a_writer_that_never_rests() {
    let store = Store::new(NOW);
    let slots: Vec<_> = (0..300).map(|i| store.track(&key("thing/a", &format!("e{i}")), &[])).collect();
    let (stop, config) = (AtomicBool::new(false), endless());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, slot) in (1..).zip(slots.iter().cycle()) {
                let (outcome, at) = generation(number);
                store.record(*slot, &outcome, at).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let mut different = BTreeSet::new();
        while different.len() < 1000 {
            different.extend(generations(&page(store.view(), &config, Format::Text004)).into_values());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn chunks_are_bounded_and_the_page_is_the_same_compressed() {
    let store = Store::new(NOW);
    for i in 0..2_000 {
        let slot = store.track(&key("thing/a", &format!("e{i}")), &[]);
        store.record(slot, &generation(1).0, NOW);
    }
    let scrape = || render(store.view(), Arc::new(Settings::new(&endless())), NOW, Format::Text004, "# own\n");
    let sizes: Vec<usize> = scrape().map(|chunk| chunk.len()).collect();
    assert!(sizes.len() > 20 && sizes.iter().all(|size| *size < CHUNK + 4096), "{sizes:?}");
    let compressed: Vec<u8> = Gzip::new(scrape()).flatten().collect();
    let mut decoded = String::new();
    std::io::Read::read_to_string(&mut flate2::bufread::GzDecoder::new(&*compressed), &mut decoded).unwrap();
    assert_eq!(decoded.as_bytes(), scrape().flatten().collect::<Vec<u8>>());
    assert!(decoded.starts_with("# own\n") && compressed.len() * 5 < decoded.len());
}

/// Where the head of a family fills the chunk by itself, a step that wrote nothing would be tried for ever.
#[test]
fn a_chunk_may_end_anywhere_about_the_head_of_a_family() {
    let store = Store::new(NOW);
    let mut near = 0;
    // A line is shorter than a head, so that one of these pages ends its first family within a head of the chunk's end.
    for count in 1..=2_080 {
        store.track(&key("thing/a", &format!("e{count}")), &[]);
        if count < 1_950 {
            continue;
        }
        let text = page(store.view(), &config(), Format::Text004);
        near += usize::from((CHUNK - 200..CHUNK).contains(&text.len()));
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), count);
    }
    assert!(near > 0, "no page came near the end of a chunk: the test shows nothing");
}

#[test]
fn families_switched_off_are_left_out() {
    let names = |config: &Config| -> Vec<String> {
        let page = page(fleet().view(), config, Format::Text004);
        parser::parse(&page).unwrap().into_iter().map(|family| family.name).collect()
    };
    let all: Vec<String> = Family::ALL.iter().map(|family| format!("{}{}", family::PREFIX, family.name())).collect();
    assert_eq!(names(&config()), all, "the fleet has every family, in the order of the table");
    for off in Family::ALL {
        let mut config = config();
        config.metrics.disabled = vec![off];
        let left: Vec<&String> = all.iter().filter(|name| name[family::PREFIX.len()..] != *off.name()).collect();
        assert_eq!(names(&config).iter().collect::<Vec<_>>(), left);
    }
    let mut config = config();
    config.metrics.per_execution = false;
    assert_eq!(names(&config), all[all.len() - 4..]);
}

#[test]
fn an_empty_store_is_an_empty_page() {
    let empty = || Store::new(NOW).view();
    assert_eq!(page(empty(), &config(), Format::Text004), "");
    assert_eq!(page(empty(), &config(), Format::OpenMetrics100), "# EOF\n");
}

/// A fleet with an execution in every state that an operator may meet.
fn fleet() -> Store {
    let store = Store::new(ago(3_600));
    let track = |target: &str, site: &str, polls: &[(Result<Snapshot, FailureReason>, i64)]| {
        let slot = store.track(&key(target, "07e4b780-7eca-4ffd-b772-b76358da5542"), &[("site", site)]);
        for (outcome, seconds_ago) in polls {
            let outcome = outcome.clone().map_err(|reason| Failure::new(reason, ""));
            store.record(slot, &outcome, ago(*seconds_ago)).unwrap();
        }
    };
    let at = |status: Status, created_ago: i64| Snapshot {
        command: command("reboot"),
        timeout_seconds: Some(300),
        created: Some(ago(created_ago)),
        last_updated: Some(ago(created_ago)),
        expiration: Some(ago(created_ago - 15_552_000)),
        ..Snapshot::with_status(status)
    };
    let ended = |status: Status, created_ago: i64, took: i64, code: &str| Snapshot {
        reason: Reason::new(code),
        started: Some(ago(created_ago - 2)),
        last_updated: Some(ago(created_ago - took)),
        completed: Timestamp::from_parts(ago(created_ago - took).millis() / 1000, 250_000_000),
        ..at(status, created_ago)
    };
    let timed_out = |created_ago: i64| Snapshot {
        reason: Reason::new(Reason::NO_RESPONSE),
        last_updated: Some(ago(created_ago - 301)),
        ..at(Status::TimedOut, created_ago)
    };
    let started =
        |created_ago: i64| Snapshot { started: Some(ago(created_ago - 2)), ..at(Status::InProgress, created_ago) };

    track("thing/01-not-polled-yet", "berlin", &[]);
    track("thing/02-created", "berlin", &[(Ok(at(Status::Created, 60)), 5)]);
    track("thing/03-in-progress", "berlin", &[(Ok(started(120)), 5)]);
    track("thing/04-overdue", "berlin", &[(Ok(started(310)), 5)]);
    let succeeded = ended(Status::Succeeded, 900, 90, "");
    track("thing/05-succeeded", "berlin", &[(Ok(started(900)), 880), (Ok(succeeded), 800)]);
    let failed = ended(Status::Failed, 900, 42, "DEVICE_TOO_BUSY");
    track("thing/06-failed", "berlin", &[(Ok(started(900)), 880), (Ok(failed), 800)]);
    let rejected = ended(Status::Rejected, 600, 3, "0x80070005");
    track("thing/07-rejected", "berlin", &[(Ok(rejected), 500)]);
    track("thing/08-timed-out-by-service", "berlin", &[(Ok(started(500)), 400), (Ok(timed_out(500)), 100)]);
    let gave_up = ended(Status::TimedOut, 500, 280, "GAVE_UP");
    track("thing/09-timed-out-by-device", "berlin", &[(Ok(gave_up), 100)]);
    let late = ended(Status::Succeeded, 900, 400, "");
    track("thing/10-late-report", "berlin", &[(Ok(started(900)), 880), (Ok(timed_out(900)), 590), (Ok(late), 480)]);
    let throttled = Err(FailureReason::Throttled);
    track("thing/11-throttled", "berlin", &[(Ok(at(Status::Created, 60)), 35), (throttled, 5)]);
    track("thing/12-stale", "berlin", &[(Ok(started(1_200)), 1_100), (Err(FailureReason::Timeout), 5)]);
    let not_found = || Err(FailureReason::NotFound);
    track("thing/13-vanished", "berlin", &[(Ok(started(900)), 800), (not_found(), 35), (not_found(), 5)]);
    track("thing/14-access-denied", "berlin", &[(Err(FailureReason::AccessDenied), 5)]);
    let unknown = Snapshot { command: command("update"), ..Snapshot::with_status(Status::Unknown) };
    track("thing/15-unknown-status", "berlin", &[(Ok(unknown), 5)]);
    let bare = Snapshot::with_status(Status::Created);
    track("client/16 says \"hi\" \\ größe:日本", "a \"site\"\nof two lines", &[(Ok(bare), 5)]);
    store
}

/// The exporter's own families with values that do not depend on when and where the test runs.
fn own(format: Format) -> String {
    let telemetry = Telemetry::new(Build { version: "1.2.3", revision: "0123456789ab", rustc: "1.95.0" });
    let scope = Scope::new("123456789012", "eu-central-1").unwrap();
    telemetry.config_loaded("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", ago(3_600));
    telemetry.api_request(&scope, Operation::GetCommandExecution, Ok(()), Duration::from_millis(40));
    let throttled = Err(FailureReason::Throttled);
    telemetry.api_request(&scope, Operation::GetCommandExecution, throttled, Duration::from_millis(15));
    for (kind, rate) in [(RateKind::Configured, 10.0), (RateKind::Current, 7.5)] {
        telemetry.set_rate_limit(&scope, Operation::GetCommandExecution, kind, rate);
    }
    let tallies = fleet().view().tallies();
    telemetry.set_tracked(Tracked {
        unpolled: tallies.unpolled,
        open: tallies.open,
        terminal: tallies.terminal,
        not_found: tallies.not_found,
    });
    tallies.oldest_open.iter().for_each(|(scope, at)| telemetry.set_oldest_open_observation(scope, *at));
    telemetry.poll_started(Duration::from_millis(250));
    telemetry.heartbeat(ago(1));
    telemetry.executions_dropped(DropCause::Limit, 1);
    telemetry.scraped(ScrapeCode::Ok, Duration::from_millis(2));
    telemetry.set_credentials_valid("123456789012", true);
    telemetry.set_credentials_expiration("123456789012", Some(Timestamp::from_millis(1_700_003_600_000)));
    let text = String::from_utf8(telemetry.text(format)).unwrap();
    let ours = |line: &&str| line.trim_start_matches(|c| "# HELPTYUNI".contains(c)).starts_with(telemetry::PREFIX);
    text.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

/// The text of both formats for the whole fleet is kept in files that say to operators what to expect. To write them
/// anew: `UPDATE_GOLDEN=1 cargo test golden`, and read the difference.
#[test]
fn golden() {
    for (format, file) in [(Format::Text004, "metrics.txt"), (Format::OpenMetrics100, "metrics.openmetrics.txt")] {
        let scrape = render(fleet().view(), Arc::new(Settings::new(&config())), NOW, format, own(format));
        let text = String::from_utf8(scrape.flatten().collect()).unwrap();
        if format == Format::Text004 {
            parser::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        let difference = difference(&golden, &text);
        assert!(difference.is_empty(), "{file} differs (UPDATE_GOLDEN=1 writes it anew):\n{}", difference.join("\n"));
    }
}

/// The lines that only one of the two has, and the first that are in another order.
fn difference(golden: &str, text: &str) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (golden.lines().collect(), text.lines().collect());
    let gone = old.difference(&new).map(|line| format!("-{line}"));
    let come = new.difference(&old).map(|line| format!("+{line}"));
    let mut lines: Vec<String> = gone.chain(come).collect();
    if lines.is_empty() && golden != text {
        let moved = golden.lines().zip(text.lines()).find(|(old, new)| old != new);
        lines.push(format!("in another order, or repeated: {moved:?}"));
    }
    lines
}
