//! A simulated fleet as a child process, its own record of every execution, and what the exporter must say about it,
//! worked out a second time from the rules of the domain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::http;
use crate::page::Labels;
use crate::program::{Program, command};

/// The codes that the configuration of these tests lets become label values.
const REASON_CODES: [&str; 3] = ["DEVICE_TOO_BUSY", "CHECKSUM_MISMATCH", "DEVICE_TIMEOUT"];

const STATUSES: [&str; 7] = ["CREATED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "UNKNOWN"];

/// A running simulator.
pub(crate) struct Fleet {
    /// Ends it with the test.
    _program: Program,
    address: SocketAddr,
    /// The simulator's record of every execution, as the body of a `GetCommandExecution`.
    pub(crate) records: Vec<Value>,
}

/// A name and its labels.
pub(crate) type Series = (String, Labels);

/// The least and the most that a value may be.
pub(crate) type Range = (f64, f64);

impl Fleet {
    /// A simulator with these executions, without quotas, its clock standing still so that its record stays true.
    pub(crate) fn standing_still(executions: usize) -> Self {
        let count = format!("--executions={executions}");
        let mut program = Program::start(command(["simulate", "--listen=127.0.0.1:0", &count]));
        let line = program.line();
        let address = line.strip_prefix("listening on http://").and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("the first line was {line}"));
        let records = records(address);
        assert_eq!(records.len(), executions);
        Self { _program: program, address, records }
    }

    /// Points the SDK of this command at the simulator.
    pub(crate) fn serve(&self, command: &mut Command) {
        command.env("AWS_ENDPOINT_URL_IOT", format!("http://{}", self.address));
    }

    /// A configuration that names every execution.
    pub(crate) fn configuration(&self) -> String {
        let mut text = format!(
            "poll: {{ interval: 1s }}\nlimits: {{ get_requests_per_second: 1000, concurrency: 32 }}\n\
             metrics: {{ reason_codes: {} }}\nexecutions:\n",
            json!(REASON_CODES)
        );
        for record in &self.records {
            let pair = json!({ "target_arn": record["targetArn"], "execution_id": record["executionId"] });
            writeln!(text, "  - {pair}").expect("a String");
        }
        text
    }

    /// Every series about every execution that a page made between these two moments must have, and no other.
    pub(crate) fn expected(&self, before: f64, after: f64) -> BTreeMap<Series, Range> {
        self.records.iter().flat_map(|record| expected(record, before, after)).collect()
    }
}

/// Switches quotas off, stands the clock still and reads the record.
fn records(address: SocketAddr) -> Vec<Value> {
    let off = json!({ "get_command_execution": null, "list_command_executions": null });
    http::post(address, "/_simulator/quotas", &off);
    http::post(address, "/_simulator/clock", &json!({ "freeze": true }));
    let answer = http::get(address, "/_simulator/executions").body;
    let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
    match answer["executions"].take() {
        Value::Array(records) => records,
        other => panic!("{other}"),
    }
}

/// The series of one execution, by `domain.md`.
fn expected(record: &Value, before: f64, after: f64) -> Vec<(Series, Range)> {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| record[name].as_f64();
    let target: Vec<String> = text("targetArn").splitn(6, ':').map(str::to_owned).collect();
    let identity = [("account_id", &target[4]), ("region", &target[3]), ("target", &target[5])];
    let mut identity: Labels = identity.map(|(name, value)| (name.to_owned(), value.clone())).into();
    identity.insert("execution_id".into(), text("executionId"));
    let command = text("commandArn").rsplit('/').next().unwrap_or_default().to_owned();

    let mut series = Vec::new();
    let mut add = |name: &str, more: &[(&str, &str)], range: Range| {
        let mut labels = identity.clone();
        if !name.starts_with("poll_") && !name.starts_with("last_success_") {
            labels.insert("command".into(), command.clone());
        }
        labels.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        series.push(((format!("aws_iot_command_execution_{name}"), labels), range));
    };
    let exactly = |value: f64| (value, value);

    add("poll_success", &[], (1.0, 1.0));
    add("last_success_timestamp_seconds", &[], (before, after));
    add("info", &[("target_arn", &text("targetArn")), ("command_arn", &text("commandArn"))], (1.0, 1.0));
    let status = text("status");
    for name in STATUSES {
        add("status", &[("status", name)], exactly(f64::from(u8::from(name == status))));
    }
    let completed = number("completedAt");
    let terminal =
        matches!(&*status, "SUCCEEDED" | "FAILED" | "REJECTED") || status == "TIMED_OUT" && completed.is_some();
    add("terminal", &[], exactly(f64::from(u8::from(terminal))));
    if let Some(code) = record["statusReason"]["reasonCode"].as_str() {
        let origin = if code.starts_with('$') { "service" } else { "device" };
        let known = REASON_CODES.contains(&code) || code == "$NO_RESPONSE_FROM_DEVICE";
        add("status_reason", &[("origin", origin), ("code", if known { code } else { "other" })], (1.0, 1.0));
    }

    let created = number("createdAt").expect("the simulator always says when");
    let timeout = number("executionTimeoutSeconds").expect("and how long");
    let deadline = created + timeout;
    for (name, value) in [
        ("created", Some(created)),
        ("started", number("startedAt")),
        ("last_updated", number("lastUpdatedAt")),
        ("completed", completed),
        ("deadline", Some(deadline)),
        ("expiration", number("timeToLive")),
    ] {
        if let Some(value) = value {
            add(&format!("{name}_timestamp_seconds"), &[], exactly(value));
        }
    }
    add("timeout_seconds", &[], exactly(timeout));
    let late = (status == "TIMED_OUT").then(|| number("lastUpdatedAt").unwrap_or(deadline));
    let (first, last) = completed.or(late).map_or((before, after), exactly);
    add("duration_seconds", &[], (first - created, last - created));
    add("timeout_margin_seconds", &[], (deadline - last, deadline - first));
    series
}
