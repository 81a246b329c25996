//! `once` against `simulate`: every series of every execution, and no other, with the values of the simulator's own
//! record.

use std::collections::BTreeMap;
use std::fs;

use aws_iot_command_exporter::clock;

use crate::fleet::{Fleet, Series};
use crate::page::Page;
use crate::program::{Program, command};

/// Families that are no series of one execution.
const OTHERS: [&str; 5] = [
    "aws_iot_command_execution_completions_total",
    "aws_iot_command_execution_timeouts_revised_total",
    "aws_iot_command_execution_completion_duration_seconds_bucket",
    "aws_iot_command_execution_completion_duration_seconds_sum",
    "aws_iot_command_execution_completion_duration_seconds_count",
];

/// Milliseconds are what the service and the exporter count in.
const TOLERANCE: f64 = 0.001_5;

#[test]
fn every_value_of_a_thousand_executions() {
    let fleet = Fleet::standing_still(1_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("exporter.yaml");
    fs::write(&file, fleet.configuration()).expect("a writable folder");

    let before = seconds();
    let mut once = command(["once".to_owned(), format!("--config.file={}", file.display())]);
    fleet.serve(&mut once);
    let output = Program::start(once).output();
    let after = seconds();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let page = Page::parse(std::str::from_utf8(&output.stdout).expect("UTF-8"));
    let of_executions = page.samples.into_iter().filter(|sample| {
        sample.name.starts_with("aws_iot_command_execution_") && !OTHERS.contains(&sample.name.as_str())
    });
    let found: BTreeMap<Series, f64> =
        of_executions.map(|sample| ((sample.name, sample.labels), sample.value)).collect();
    let expected = fleet.expected(before, after);
    assert!(expected.len() > 16_000, "{} series are too few to mean anything", expected.len());

    let missing = expected.keys().filter(|series| !found.contains_key(series));
    let surplus = found.keys().filter(|series| !expected.contains_key(series));
    let wrong = found.iter().filter(|(series, value)| {
        let in_range = |range: &(f64, f64)| (range.0 - TOLERANCE..=range.1 + TOLERANCE).contains(*value);
        expected.get(*series).is_some_and(|range| !in_range(range))
    });
    let faults: Vec<String> = missing
        .map(|series| format!("missing: {series:?}"))
        .chain(surplus.map(|series| format!("surplus: {series:?}")))
        .chain(wrong.map(|(series, value)| format!("{value}, not in {:?}: {series:?}", expected[series])))
        .collect();
    assert!(faults.is_empty(), "{} faults, the first:\n{}", faults.len(), faults[..faults.len().min(5)].join("\n"));
}

fn seconds() -> f64 {
    clock::now().millis() as f64 / 1000.0
}
