//! The life of one execution: what the device will report and when, and how the service sees it at any moment.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::execution::{Status, Timestamp};

/// A word in every text of a device or an operator (reason descriptions, parameters, results), so that tests can
/// prove that none of them leaks.
pub const CANARY: &str = "canary-3f9d";

/// The code that the service gives to a time-out of its own.
const NO_RESPONSE: &str = "$NO_RESPONSE_FROM_DEVICE";

/// How long the service remembers an execution.
const RETENTION_SECONDS: i64 = 180 * 24 * 3600;

/// One report of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Milliseconds after the creation at which it arrives.
    pub after_millis: i64,
    /// The status that it claims.
    pub status: Status,
    /// `statusReason.reasonCode`, where it gives a reason.
    pub reason_code: Option<Cow<'static, str>>,
}

impl Report {
    /// A report without a reason.
    pub const fn new(after_millis: i64, status: Status) -> Self {
        Self { after_millis, status, reason_code: None }
    }
}

/// An execution and all that its device will ever report.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// ARN of the thing or client.
    pub target: Arc<str>,
    /// `executionId`.
    pub id: Arc<str>,
    /// ARN of the command.
    pub command: Arc<str>,
    /// `createdAt`: before it the service answers 404.
    pub created: Timestamp,
    /// `executionTimeoutSeconds`.
    pub timeout_seconds: i64,
    /// How long after the deadline the service's timer looks at it.
    pub timer_lag_millis: i64,
    /// Whether `GetCommandExecution` shows `startedAt`: the real service does not always.
    pub shows_started: bool,
    /// The device's reports, earliest first. Those that the service would refuse have no effect.
    pub reports: Vec<Report>,
}

/// How an execution stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing<'a> {
    pub(super) status: Status,
    pub(super) reason_code: Option<&'a str>,
    pub(super) picked_up: Option<Timestamp>,
    pub(super) last_updated: Timestamp,
    pub(super) completed: Option<Timestamp>,
}

impl Execution {
    /// An execution that no device has heard of.
    pub fn new(target: &str, id: &str, command: &str, created: Timestamp, timeout_seconds: i64) -> Self {
        Self {
            target: target.into(),
            id: id.into(),
            command: command.into(),
            created,
            timeout_seconds,
            timer_lag_millis: 500,
            shows_started: true,
            reports: Vec::new(),
        }
    }

    /// The moment at which the service's timer runs out: it starts at creation.
    pub fn deadline(&self) -> Timestamp {
        plus(self.created, self.timeout_seconds.saturating_mul(1000))
    }

    /// The moment at which the service forgets it.
    pub fn expiration(&self) -> Timestamp {
        plus(self.created, RETENTION_SECONDS * 1000)
    }

    /// The service's whole record at this moment; `None` before it exists and after it is forgotten.
    pub fn at(&self, now: Timestamp) -> Option<Record> {
        let standing = self.standing(now)?;
        let description = |code: &str| format!("{CANARY} description of {code}");
        let ended_by_device = standing.completed.is_some();
        Some(Record {
            execution_id: Arc::clone(&self.id),
            command_arn: Arc::clone(&self.command),
            target_arn: Arc::clone(&self.target),
            status: standing.status,
            status_reason: standing
                .reason_code
                .map(|code| StatusReason { reason_code: code.to_owned(), reason_description: description(code) }),
            result: ended_by_device.then(|| self.result()),
            parameters: Some(json!({ "token": { "S": format!("{CANARY} parameter of {}", self.id) } })),
            execution_timeout_seconds: self.timeout_seconds,
            created_at: self.created,
            last_updated_at: standing.last_updated,
            started_at: standing.picked_up.filter(|_| self.shows_started),
            completed_at: standing.completed,
            time_to_live: self.expiration(),
        })
    }

    fn result(&self) -> Value {
        // "Y2FuYXJ5LTNmOWQ=" is the canary again, as a blob.
        json!({
            "output": { "S": format!("{CANARY} result of {}", self.id) },
            "complete": { "B": true },
            "trace": { "BIN": "Y2FuYXJ5LTNmOWQ=" },
        })
    }

    /// Plays the reports and the timer up to `now`.
    pub(super) fn standing(&self, now: Timestamp) -> Option<Standing<'_>> {
        if now < self.created || now >= self.expiration() {
            return None;
        }
        let mut standing = Standing {
            status: Status::Created,
            reason_code: None,
            picked_up: None,
            last_updated: self.created,
            completed: None,
        };
        let timer = plus(self.deadline(), self.timer_lag_millis);
        for report in &self.reports {
            let at = plus(self.created, report.after_millis);
            if at > now {
                break;
            }
            if at >= timer {
                standing.time_out(timer);
            }
            standing.apply(report, at);
        }
        if now >= timer {
            standing.time_out(timer);
        }
        Some(standing)
    }
}

impl<'a> Standing<'a> {
    /// The service's own time-out: it leaves no `completedAt`, and comes over open executions only.
    fn time_out(&mut self, at: Timestamp) {
        if matches!(self.status, Status::Created | Status::InProgress) {
            self.status = Status::TimedOut;
            self.reason_code = Some(NO_RESPONSE);
            self.last_updated = at;
        }
    }

    /// The device's report, where the service accepts it: never after a terminal one, and progress only while open.
    fn apply(&mut self, report: &'a Report, at: Timestamp) {
        let open = matches!(self.status, Status::Created | Status::InProgress);
        let accepted = match report.status {
            Status::InProgress => open,
            Status::Succeeded | Status::Failed | Status::Rejected | Status::TimedOut => self.completed.is_none(),
            Status::Created | Status::Unknown => false,
        };
        if !accepted {
            return;
        }
        if report.status == Status::InProgress {
            self.picked_up.get_or_insert(at);
        } else {
            self.completed = Some(at);
        }
        self.status = report.status;
        self.reason_code = report.reason_code.as_deref();
        self.last_updated = at;
    }
}

/// `statusReason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReason {
    /// `reasonCode`.
    pub reason_code: String,
    /// `reasonDescription`, which holds the [`CANARY`].
    pub reason_description: String,
}

/// The service's whole record of an execution, which serialises as the body of a `GetCommandExecution` with
/// `includeResult`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the members of GetCommandExecutionResponse, in its order")]
pub struct Record {
    #[serde(serialize_with = "as_text")]
    pub execution_id: Arc<str>,
    #[serde(serialize_with = "as_text")]
    pub command_arn: Arc<str>,
    #[serde(serialize_with = "as_text")]
    pub target_arn: Arc<str>,
    #[serde(serialize_with = "as_name")]
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    pub execution_timeout_seconds: i64,
    #[serde(serialize_with = "as_epoch_seconds")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "as_epoch_seconds")]
    pub last_updated_at: Timestamp,
    #[serde(serialize_with = "as_epoch_seconds_if_any", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(serialize_with = "as_epoch_seconds_if_any", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(serialize_with = "as_epoch_seconds")]
    pub time_to_live: Timestamp,
}

impl Record {
    /// The record as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// Seconds since the epoch with a fraction, as the service writes its times.
pub(super) fn epoch_seconds(moment: Timestamp) -> f64 {
    moment.millis() as f64 / 1000.0
}

fn as_epoch_seconds<S: Serializer>(moment: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(epoch_seconds(*moment))
}

fn as_epoch_seconds_if_any<S: Serializer>(moment: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    moment.map(epoch_seconds).serialize(to)
}

fn as_text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

fn as_name<S: Serializer>(status: &Status, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(status.label())
}

/// This moment and so many milliseconds more, at most the end of time.
fn plus(moment: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(moment.millis().saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(reports: Vec<Report>) -> Execution {
        let created = Timestamp::from_millis(1_000_000);
        Execution { reports, ..Execution::new("target", "id", "command", created, 10) }
    }

    fn at(execution: &Execution, after: i64) -> Record {
        execution.at(plus(execution.created, after)).expect("it exists")
    }

    #[test]
    fn exists_from_its_creation_to_the_end_of_its_retention() {
        let silent = execution(Vec::new());
        assert_eq!(silent.at(Timestamp::from_millis(999_999)), None);
        assert_eq!(at(&silent, 0).status, Status::Created);
        let last = silent.expiration().millis() - 1;
        assert!(silent.at(Timestamp::from_millis(last)).is_some());
        assert_eq!(silent.at(Timestamp::from_millis(last + 1)), None);
    }

    #[test]
    fn the_services_time_out_comes_after_the_deadline_and_has_no_end() {
        let silent = execution(Vec::new());
        assert_eq!(at(&silent, 10_499).status, Status::Created, "overdue, and not yet noticed");
        let out = at(&silent, 10_500);
        assert_eq!((out.status, out.completed_at), (Status::TimedOut, None));
        assert_eq!(out.last_updated_at, plus(silent.created, 10_500));
        assert_eq!(out.status_reason.map(|reason| reason.reason_code).as_deref(), Some(NO_RESPONSE));
    }

    #[test]
    fn a_late_report_revises_a_time_out_of_the_service_only() {
        let late = execution(vec![Report::new(20_000, Status::InProgress), Report::new(30_000, Status::Failed)]);
        assert_eq!(at(&late, 25_000).status, Status::TimedOut, "progress is refused after the time-out");
        let failed = at(&late, 30_000);
        assert_eq!((failed.status, failed.completed_at), (Status::Failed, Some(plus(late.created, 30_000))));
        let gave_up = execution(vec![Report::new(5_000, Status::TimedOut), Report::new(6_000, Status::Succeeded)]);
        let end = at(&gave_up, 60_000);
        assert_eq!((end.status, end.completed_at), (Status::TimedOut, Some(plus(gave_up.created, 5_000))));
    }

    #[test]
    fn a_report_between_deadline_and_timer_still_counts() {
        let close = execution(vec![Report::new(10_200, Status::Succeeded)]);
        assert_eq!(at(&close, 11_000).status, Status::Succeeded);
    }

    #[test]
    fn the_record_is_the_wire_format() {
        let mut report = Report::new(1_234, Status::InProgress);
        report.reason_code = Some("50_PERCENT".into());
        let json = at(&execution(vec![report]), 2_000).to_json();
        assert_eq!(json["createdAt"], json!(1000.0));
        assert_eq!(json["startedAt"], json!(1001.234));
        assert_eq!(json["status"], json!("IN_PROGRESS"));
        assert_eq!(json["statusReason"]["reasonCode"], json!("50_PERCENT"));
        assert_eq!(json.get("completedAt"), None, "absent, not null");
        assert_eq!(json.get("result"), None);
    }
}
