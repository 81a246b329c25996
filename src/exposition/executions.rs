//! The samples of one execution in one family.

use super::{Settings, Shown};
use crate::execution::{Origin, Snapshot, Status, Timestamp};
use crate::family::{Family, Labels};
use crate::store::Execution;
use crate::text::{self, push_all};

/// Writes what an execution has in a family, if anything.
pub(super) fn push(out: &mut Vec<u8>, settings: &Settings, shown: &Shown, execution: &Execution<'_>, now: Timestamp) {
    let sample = Sample { name: &shown.sample, execution };
    if shown.family.labels() == Labels::Identity {
        push_health(out, shown.family, &sample);
    } else if execution.is_shown(now, settings.max_staleness_millis)
        && let Some(snapshot) = execution.snapshot()
    {
        push_data(out, settings, shown.family, &sample, &snapshot, now);
    }
}

/// The samples that are there from the start.
fn push_health(out: &mut Vec<u8>, family: Family, sample: &Sample<'_>) {
    let (failure, last_success) = (sample.execution.failure(), sample.execution.last_success());
    match family {
        Family::ExecutionPollSuccess => {
            sample.push_start(out);
            push_flag(out, failure.is_none() && last_success.is_some());
        }
        Family::ExecutionPollFailure => {
            if let Some(reason) = failure {
                sample.push_start(out);
                push_all(out, &[",reason=\"", reason.label(), "\"} 1\n"]);
            }
        }
        _ => {
            if let Some(at) = last_success {
                sample.push_start(out);
                push_millis(out, at.millis());
            }
        }
    }
}

/// The samples that are there after the first success.
fn push_data(
    out: &mut Vec<u8>,
    settings: &Settings,
    family: Family,
    sample: &Sample<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) {
    let millis = match family {
        Family::ExecutionInfo => return push_info(out, sample),
        Family::ExecutionStatus => return push_status(out, sample, snapshot.status),
        Family::ExecutionStatusReason => return push_reason(out, settings, sample),
        Family::ExecutionTerminal => {
            sample.push_start_with_command(out);
            return push_flag(out, snapshot.is_terminal());
        }
        Family::ExecutionTimeoutSeconds => {
            if let Some(seconds) = snapshot.timeout_seconds {
                sample.push_start_with_command(out);
                out.extend_from_slice(b"} ");
                text::push_integer(out, seconds);
                out.push(b'\n');
            }
            return;
        }
        Family::ExecutionDurationSeconds => snapshot.duration_millis(now),
        Family::ExecutionTimeoutMarginSeconds => snapshot.timeout_margin_millis(now),
        family => moment(family, snapshot).map(Timestamp::millis),
    };
    if let Some(millis) = millis {
        sample.push_start_with_command(out);
        push_millis(out, millis);
    }
}

fn moment(family: Family, snapshot: &Snapshot) -> Option<Timestamp> {
    match family {
        Family::ExecutionCreatedTimestampSeconds => snapshot.created,
        Family::ExecutionStartedTimestampSeconds => snapshot.started,
        Family::ExecutionLastUpdatedTimestampSeconds => snapshot.last_updated,
        Family::ExecutionCompletedTimestampSeconds => snapshot.completed,
        Family::ExecutionDeadlineTimestampSeconds => snapshot.deadline(),
        Family::ExecutionExpirationTimestampSeconds => snapshot.expiration,
        _ => None,
    }
}

/// ARNs of commands consist of characters that need no escaping.
fn push_info(out: &mut Vec<u8>, sample: &Sample<'_>) {
    let (target_arn, target) = sample.execution.target_arn();
    let command_arn = sample.execution.command().map_or("", |command| command.arn().as_str());
    sample.push_start_with_command(out);
    push_all(out, &[",target_arn=\"", target_arn, target, "\",command_arn=\"", command_arn, "\"} 1\n"]);
}

fn push_status(out: &mut Vec<u8>, sample: &Sample<'_>, status: Status) {
    let start = out.len();
    sample.push_start_with_command(out);
    out.extend_from_slice(b",status=\"");
    let end = out.len();
    for (index, other) in Status::ALL.into_iter().enumerate() {
        if index > 0 {
            out.extend_from_within(start..end);
        }
        push_all(out, &[other.label(), if other == status { "\"} 1\n" } else { "\"} 0\n" }]);
    }
}

fn push_reason(out: &mut Vec<u8>, settings: &Settings, sample: &Sample<'_>) {
    if let Some(code) = sample.execution.reason() {
        let label = settings.reason_codes.get(&**code).map_or("other", |escaped| escaped);
        sample.push_start_with_command(out);
        push_all(out, &[",origin=\"", Origin::of(code).label(), "\",code=\"", label, "\"} 1\n"]);
    }
}

struct Sample<'a> {
    name: &'a str,
    execution: &'a Execution<'a>,
}

impl Sample<'_> {
    /// The name and the label set I, without the closing brace.
    fn push_start(&self, out: &mut Vec<u8>) {
        push_all(out, &[self.name, self.execution.labels()]);
    }

    /// The name and the label set D, without the closing brace.
    fn push_start_with_command(&self, out: &mut Vec<u8>) {
        let command = self.execution.command().map_or(",command=\"\"", |command| command.label());
        push_all(out, &[self.name, self.execution.labels(), command]);
    }
}

fn push_flag(out: &mut Vec<u8>, flag: bool) {
    out.extend_from_slice(if flag { b"} 1\n" } else { b"} 0\n" });
}

fn push_millis(out: &mut Vec<u8>, millis: i64) {
    out.extend_from_slice(b"} ");
    text::push_millis(out, millis);
    out.push(b'\n');
}
