//! The samples of executions, a page of them in a family at a time.
//!
//! What differs between families is decided once a page, not once a sample, and what ends a line is copied with a
//! length that the compiler knows.

use super::{CHUNK, Settings, Shown};
use crate::execution::{Origin, Snapshot, Status, Timestamp};
use crate::family::Family;
use crate::store::{Execution, View};
use crate::text::{self, Padded, push_all};

/// A page of executions in a family, from one of them on.
pub(super) struct Part<'a> {
    pub(super) settings: &'a Settings,
    pub(super) shown: &'a Shown,
    pub(super) view: &'a View,
    pub(super) page: usize,
    pub(super) from: usize,
    pub(super) now: Timestamp,
}

/// Writes what the executions have in the family, if anything; `Some` of the one to go on with where the chunk ends.
pub(super) fn push(out: &mut Vec<u8>, part: &Part<'_>) -> Option<usize> {
    match part.shown.family {
        Family::ExecutionPollSuccess => part.each(out, |out, name, execution| {
            push_identity(out, name, execution);
            push_flag(out, execution.failure().is_none() && execution.last_success().is_some());
        }),
        Family::ExecutionPollFailure => part.each(out, |out, name, execution| {
            if let Some(reason) = execution.failure() {
                push_identity(out, name, execution);
                push_all(out, [",reason=\"", reason.label(), "\"} 1\n"]);
            }
        }),
        Family::ExecutionLastSuccessTimestampSeconds => part.each(out, |out, name, execution| {
            if let Some(at) = execution.last_success() {
                push_identity(out, name, execution);
                text::push_millis_value(out, at.millis());
            }
        }),
        Family::ExecutionInfo => part.each_answered(out, push_info),
        Family::ExecutionStatus => part.each_answered(out, push_status),
        Family::ExecutionTerminal => part.each_answered(out, |out, name, execution| {
            push_start(out, name, execution);
            push_flag(out, execution.is_terminal());
        }),
        Family::ExecutionStatusReason => part.each_answered(out, |out, name, execution| {
            if let Some(code) = execution.reason() {
                let label = part.settings.reason_codes.get(&**code).map_or("other", |escaped| escaped);
                push_start(out, name, execution);
                push_all(out, [",origin=\"", Origin::of(code).label(), "\",code=\"", label, "\"} 1\n"]);
            }
        }),
        Family::ExecutionCreatedTimestampSeconds => part.each_moment(out, |answer| answer.created),
        Family::ExecutionStartedTimestampSeconds => part.each_moment(out, |answer| answer.started),
        Family::ExecutionLastUpdatedTimestampSeconds => part.each_moment(out, |answer| answer.last_updated),
        Family::ExecutionCompletedTimestampSeconds => part.each_moment(out, |answer| answer.completed),
        Family::ExecutionDeadlineTimestampSeconds => part.each_moment(out, |answer| answer.deadline()),
        Family::ExecutionExpirationTimestampSeconds => part.each_moment(out, |answer| answer.expiration),
        Family::ExecutionTimeoutSeconds => part.each_answered(out, |out, name, execution| {
            if let Some(seconds) = execution.snapshot().and_then(|answer| answer.timeout_seconds) {
                push_start(out, name, execution);
                out.extend_from_slice(b"} ");
                text::push_integer(out, seconds);
                out.push(b'\n');
            }
        }),
        Family::ExecutionDurationSeconds => part.each_span(out, |answer| answer.duration_millis(part.now)),
        Family::ExecutionTimeoutMarginSeconds => part.each_span(out, |answer| answer.timeout_margin_millis(part.now)),
        // Families of commands, which the caller has sorted out.
        Family::Executions
        | Family::ExecutionCompletionsTotal
        | Family::ExecutionTimeoutsRevisedTotal
        | Family::ExecutionCompletionDurationSeconds => None,
    }
}

impl Part<'_> {
    #[inline(always)]
    fn each(&self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &str, &Execution<'_>)) -> Option<usize> {
        // At least one line, even where the head alone has filled the chunk: else the part is tried for ever.
        let room = CHUNK.max(out.len() + 1);
        for (place, execution) in self.view.executions(self.page, self.from) {
            if out.len() >= room {
                return Some(place);
            }
            write(out, &self.shown.sample, &execution);
        }
        None
    }

    /// Those whose last answer is to be shown.
    #[inline(always)]
    fn each_answered(&self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &str, &Execution<'_>)) -> Option<usize> {
        let (now, max_staleness) = (self.now, self.settings.max_staleness_millis);
        self.each(out, |out, name, execution| {
            if execution.is_shown(now, max_staleness) {
                write(out, name, execution);
            }
        })
    }

    #[inline(always)]
    fn each_span(&self, out: &mut Vec<u8>, millis: impl Fn(&Snapshot) -> Option<i64>) -> Option<usize> {
        self.each_answered(out, |out, name, execution| {
            if let Some(millis) = execution.snapshot().and_then(|answer| millis(&answer)) {
                push_start(out, name, execution);
                text::push_millis_value(out, millis);
            }
        })
    }

    #[inline(always)]
    fn each_moment(&self, out: &mut Vec<u8>, moment: impl Fn(&Snapshot) -> Option<Timestamp>) -> Option<usize> {
        self.each_span(out, |answer| moment(answer).map(Timestamp::millis))
    }
}

/// The name and the label set D, without the closing brace.
#[inline(always)]
fn push_start(out: &mut Vec<u8>, name: &str, execution: &Execution<'_>) {
    let command = execution.command().map_or(",command=\"\"", |command| command.label());
    push_all(out, [name, execution.labels(), command]);
}

/// The name and the label set I, without the closing brace.
#[inline(always)]
fn push_identity(out: &mut Vec<u8>, name: &str, execution: &Execution<'_>) {
    push_all(out, [name, execution.labels()]);
}

/// ARNs of commands consist of characters that need no escaping.
fn push_info(out: &mut Vec<u8>, name: &str, execution: &Execution<'_>) {
    let (target_arn, target) = execution.target_arn();
    let command_arn = execution.command().map_or("", |command| command.arn().as_str());
    push_start(out, name, execution);
    push_all(out, [",target_arn=\"", target_arn, target, "\",command_arn=\"", command_arn, "\"} 1\n"]);
}

/// How each status' line ends, where it is another's and where it is the execution's own.
const ENDS: [[Padded<32>; 2]; Status::ALL.len()] = {
    let mut ends = [[Padded::new("", ""); 2]; Status::ALL.len()];
    let mut at = 0;
    while at < ends.len() {
        let label = Status::ALL[at].label();
        ends[at] = [Padded::new(label, "\"} 0\n"), Padded::new(label, "\"} 1\n")];
        at += 1;
    }
    ends
};

#[inline(always)]
fn push_status(out: &mut Vec<u8>, name: &str, execution: &Execution<'_>) {
    let own = execution.status();
    let start = out.len();
    push_start(out, name, execution);
    out.extend_from_slice(b",status=\"");
    let end = out.len();
    out.reserve(Status::ALL.len() * (end - start + 32));
    for (status, ends) in Status::ALL.into_iter().zip(&ENDS) {
        if out.len() > end {
            out.extend_from_within(start..end);
        }
        ends[usize::from(Some(status) == own)].push(out);
    }
}

#[inline(always)]
fn push_flag(out: &mut Vec<u8>, flag: bool) {
    out.extend_from_slice(if flag { b"} 1\n" } else { b"} 0\n" });
}
