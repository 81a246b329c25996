//! The fleet that every contender shows: 16 series an execution, tracked in an order that is not that of the labels.

use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::config::{Config, Limits, Metrics, Poll};
use aws_iot_command_exporter::execution::{
    CommandArn, ExecutionId, ExecutionKey, Reason, Snapshot, Status, TargetArn, Timestamp,
};
use aws_iot_command_exporter::exposition::{Scrape, Settings, render};
use aws_iot_command_exporter::family::{Family, Labels};
use aws_iot_command_exporter::store::{Slot, Store};
use aws_iot_command_exporter::text::Format;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_763_902_800_123);

const SITES: [&str; 4] = ["berlin", "wien", "hamburg", "zug"];

/// The series of an execution: those of the families that are on, seven of them for the status.
pub(crate) const SERIES: usize = 16;

pub(crate) fn store(executions: usize) -> (Store, Vec<Slot>) {
    let store = Store::new(NOW);
    let mut slots = Vec::with_capacity(executions);
    for at in 0..executions {
        let index = at * 7919 % executions;
        let slot = store.track(&key(index), &[("site", SITES[index % SITES.len()])]);
        store.record(slot, &Ok(snapshot(index)), NOW);
        slots.push(slot);
    }
    (store, slots)
}

pub(crate) fn key(index: usize) -> ExecutionKey {
    let target = format!("arn:aws:iot:eu-central-1:123456789012:thing/pump-{index:06}");
    let id = format!("07e4b780-7eca-4ffd-b772-{index:012x}");
    ExecutionKey {
        target: TargetArn::parse(&target).expect("well-formed"),
        id: ExecutionId::parse(&id).expect("well-formed"),
    }
}

pub(crate) fn snapshot(index: usize) -> Snapshot {
    let command = format!("arn:aws:iot:eu-central-1:123456789012:command/update-{}", index % 20);
    let before = |millis: usize| Some(Timestamp::from_millis(NOW.millis() - millis as i64));
    let status = match index % 10 {
        0..6 => Status::InProgress,
        6..9 => Status::Succeeded,
        _ => Status::Failed,
    };
    let ended = status != Status::InProgress;
    Snapshot {
        status,
        command: CommandArn::parse(&command).ok(),
        reason: Reason::new(if status == Status::Failed { "DEVICE_TOO_BUSY" } else { "" }),
        timeout_seconds: Some(3_600),
        created: before(2_000_000 + index % 1_000_003),
        started: before(1_900_000 + index % 1_000_003),
        last_updated: before(1_000_000 + index % 500_009),
        completed: before(900_000 + index % 500_009).filter(|_| ended),
        expiration: before(0).and_then(|now| now.checked_add_seconds(15_552_000)),
    }
}

pub(crate) fn settings() -> Arc<Settings> {
    const LEFT_OUT: [Family; 5] = [
        Family::ExecutionStatusReason,
        Family::ExecutionStartedTimestampSeconds,
        Family::ExecutionLastUpdatedTimestampSeconds,
        Family::ExecutionCompletedTimestampSeconds,
        Family::ExecutionExpirationTimestampSeconds,
    ];
    let per_command = Family::ALL.into_iter().filter(|family| family.labels() == Labels::Command);
    Arc::new(Settings::new(&Config {
        poll: Poll {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            max_staleness: Duration::from_secs(600),
        },
        limits: Limits {
            get_requests_per_second: 10.0,
            list_requests_per_second: 5.0,
            concurrency: 16,
            executions: 1_000_000,
        },
        accounts: Default::default(),
        executions: Vec::new(),
        execution_files: Vec::new(),
        discovery: Vec::new(),
        metrics: Metrics {
            labels: vec!["site".into()],
            reason_codes: Vec::new(),
            per_execution: true,
            disabled: LEFT_OUT.into_iter().chain([Family::ExecutionPollFailure]).chain(per_command).collect(),
        },
        hash: String::new(),
    }))
}

pub(crate) fn scrape(store: &Store, settings: &Arc<Settings>) -> Scrape {
    render(store.view(), Arc::clone(settings), NOW, Format::Text004, "")
}
