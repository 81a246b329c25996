//! The samples of one execution in one family.

use super::{Settings, Shown};
use crate::execution::{Origin, Status, Timestamp};
use crate::family::{Family, Labels};
use crate::store::Execution;
use crate::text::{self, push_all};

/// Writes what an execution has in a family, if anything.
pub(super) fn push(out: &mut Vec<u8>, settings: &Settings, shown: &Shown, execution: &Execution<'_>, now: Timestamp) {
    let sample = Sample { name: &shown.sample, execution };
    if shown.family.labels() == Labels::Identity {
        push_health(out, shown.family, &sample);
    } else if execution.is_shown(now, settings.max_staleness_millis) {
        push_data(out, settings, shown.family, &sample, now);
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
                push_all(out, [",reason=\"", reason.label(), "\"} 1\n"]);
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

/// The samples that are there after the first success. Each arm looks at no more of the last answer than it shows.
fn push_data(out: &mut Vec<u8>, settings: &Settings, family: Family, sample: &Sample<'_>, now: Timestamp) {
    let answer = || sample.execution.snapshot();
    let moment = match family {
        Family::ExecutionInfo => return push_info(out, sample),
        Family::ExecutionStatus => return push_status(out, sample),
        Family::ExecutionStatusReason => return push_reason(out, settings, sample),
        Family::ExecutionTerminal => {
            sample.push_start_with_command(out);
            return push_flag(out, sample.execution.is_terminal());
        }
        Family::ExecutionTimeoutSeconds => {
            if let Some(seconds) = answer().and_then(|answer| answer.timeout_seconds) {
                sample.push_start_with_command(out);
                out.extend_from_slice(b"} ");
                text::push_integer(out, seconds);
                out.push(b'\n');
            }
            return;
        }
        Family::ExecutionDurationSeconds => {
            return push_span(out, sample, answer().and_then(|answer| answer.duration_millis(now)));
        }
        Family::ExecutionTimeoutMarginSeconds => {
            return push_span(out, sample, answer().and_then(|answer| answer.timeout_margin_millis(now)));
        }
        Family::ExecutionCreatedTimestampSeconds => answer().and_then(|answer| answer.created),
        Family::ExecutionStartedTimestampSeconds => answer().and_then(|answer| answer.started),
        Family::ExecutionLastUpdatedTimestampSeconds => answer().and_then(|answer| answer.last_updated),
        Family::ExecutionCompletedTimestampSeconds => answer().and_then(|answer| answer.completed),
        Family::ExecutionDeadlineTimestampSeconds => answer().and_then(|answer| answer.deadline()),
        Family::ExecutionExpirationTimestampSeconds => answer().and_then(|answer| answer.expiration),
        // Families of other label sets, which the callers have sorted out.
        _ => None,
    };
    push_span(out, sample, moment.map(Timestamp::millis));
}

fn push_span(out: &mut Vec<u8>, sample: &Sample<'_>, millis: Option<i64>) {
    if let Some(millis) = millis {
        sample.push_start_with_command(out);
        push_millis(out, millis);
    }
}

/// ARNs of commands consist of characters that need no escaping.
fn push_info(out: &mut Vec<u8>, sample: &Sample<'_>) {
    let (target_arn, target) = sample.execution.target_arn();
    let command_arn = sample.execution.command().map_or("", |command| command.arn().as_str());
    sample.push_start_with_command(out);
    push_all(out, [",target_arn=\"", target_arn, target, "\",command_arn=\"", command_arn, "\"} 1\n"]);
}

fn push_status(out: &mut Vec<u8>, sample: &Sample<'_>) {
    /// How each status' line ends, where it is another's and where it is the execution's own.
    const ENDS: [[&str; 2]; Status::ALL.len()] = [
        ["CREATED\"} 0\n", "CREATED\"} 1\n"],
        ["IN_PROGRESS\"} 0\n", "IN_PROGRESS\"} 1\n"],
        ["SUCCEEDED\"} 0\n", "SUCCEEDED\"} 1\n"],
        ["FAILED\"} 0\n", "FAILED\"} 1\n"],
        ["REJECTED\"} 0\n", "REJECTED\"} 1\n"],
        ["TIMED_OUT\"} 0\n", "TIMED_OUT\"} 1\n"],
        ["UNKNOWN\"} 0\n", "UNKNOWN\"} 1\n"],
    ];
    let own = sample.execution.status();
    let start = out.len();
    sample.push_start_with_command(out);
    out.extend_from_slice(b",status=\"");
    let end = out.len();
    out.reserve(Status::ALL.len() * (end - start + 16));
    for (status, ends) in Status::ALL.into_iter().zip(ENDS) {
        if out.len() > end {
            out.extend_from_within(start..end);
        }
        out.extend_from_slice(ends[usize::from(Some(status) == own)].as_bytes());
    }
}

fn push_reason(out: &mut Vec<u8>, settings: &Settings, sample: &Sample<'_>) {
    if let Some(code) = sample.execution.reason() {
        let label = settings.reason_codes.get(&**code).map_or("other", |escaped| escaped);
        sample.push_start_with_command(out);
        push_all(out, [",origin=\"", Origin::of(code).label(), "\",code=\"", label, "\"} 1\n"]);
    }
}

struct Sample<'a> {
    name: &'a str,
    execution: &'a Execution<'a>,
}

impl Sample<'_> {
    /// The name and the label set I, without the closing brace.
    fn push_start(&self, out: &mut Vec<u8>) {
        push_all(out, [self.name, self.execution.labels()]);
    }

    /// The name and the label set D, without the closing brace.
    fn push_start_with_command(&self, out: &mut Vec<u8>) {
        let command = self.execution.command().map_or(",command=\"\"", |command| command.label());
        push_all(out, [self.name, self.execution.labels(), command]);
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
