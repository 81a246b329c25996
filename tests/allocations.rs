//! A scrape allocates per chunk, never per series: counted exactly, in a test binary of its own, since the counting
//! allocator is that of the whole program.

use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::config::{Config, Limits, Metrics, Poll};
use aws_iot_command_exporter::execution::{
    CommandArn, ExecutionId, ExecutionKey, Failure, FailureReason, Reason, Snapshot, Status, TargetArn, Timestamp,
};
use aws_iot_command_exporter::exposition::{Settings, render};
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::text::Format;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Timestamp = Timestamp::from_millis(1_763_902_800_123);

fn store(executions: usize) -> Store {
    let store = Store::new(NOW);
    for index in 0..executions {
        let target = format!("arn:aws:iot:eu-central-1:123456789012:thing/pump \"{index}\"");
        let key = ExecutionKey {
            target: TargetArn::parse(&target).expect("well-formed"),
            id: ExecutionId::parse("e1").expect("well-formed"),
        };
        let slot = store.track(&key, &[("site", "berlin")]);
        let answer = Snapshot {
            command: CommandArn::parse("arn:aws:iot:eu-central-1:123456789012:command/reboot").ok(),
            reason: Reason::new("DEVICE_TOO_BUSY"),
            timeout_seconds: Some(60),
            created: Some(NOW),
            started: Some(NOW),
            last_updated: Some(NOW),
            completed: Some(NOW),
            expiration: Some(NOW),
            ..Snapshot::with_status(Status::Failed)
        };
        store.record(slot, &Ok(answer), NOW);
        store.record(slot, &Err(Failure::new(FailureReason::Throttled, "")), NOW);
    }
    store
}

fn settings() -> Arc<Settings> {
    let seconds = Duration::from_secs;
    Arc::new(Settings::new(&Config {
        poll: Poll { interval: seconds(30), timeout: seconds(10), max_staleness: seconds(600) },
        limits: Limits {
            get_requests_per_second: 10.0,
            list_requests_per_second: 5.0,
            concurrency: 16,
            executions: 100_000,
        },
        accounts: BTreeMap::new(),
        executions: Vec::new(),
        execution_files: Vec::new(),
        discovery: Vec::new(),
        metrics: Metrics {
            labels: vec!["site".into()],
            reason_codes: vec!["DEVICE_TOO_BUSY".into()],
            per_execution: true,
            disabled: Vec::new(),
        },
        hash: String::new(),
    }))
}

#[test]
fn a_scrape_allocates_per_chunk_and_never_per_series() {
    let settings = settings();
    for executions in [1_000, 10_000] {
        let store = store(executions);
        for format in Format::ALL {
            let region = Region::new(ALLOCATOR);
            let (mut chunks, mut series) = (0, 0);
            for chunk in render(store.view(), Arc::clone(&settings), NOW, format, "") {
                chunks += 1;
                series += chunk.iter().filter(|byte| **byte == b'\n').count();
            }
            let change = region.change();
            assert!(series > 20 * executions, "{series} lines show every family");
            // The chunk and its reference count; the view's two lists, and the counts by status.
            let expected = 2 * chunks + 3;
            assert!(change.allocations <= expected, "{} for {chunks} chunks, {series} series", change.allocations);
            assert_eq!(change.reallocations, 0);
        }
    }
}
