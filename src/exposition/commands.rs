//! The samples of one command in one family.

use super::Shown;
use crate::execution::Status;
use crate::family::Family;
use crate::store::{BOUNDS, Command, Ends};
use crate::text::{self, push_all};

/// Writes what a command has in a family. `counts` is how many of its executions are in each status.
pub(super) fn push(out: &mut Vec<u8>, shown: &Shown, command: &Command, counts: &[u64; Status::ALL.len()]) {
    let line = |out: &mut Vec<u8>, label: &str, status: Status, count: u64| {
        push_all(out, [&shown.sample, command.labels(), label, status.label(), "\"} "]);
        push_count(out, count);
    };
    match shown.family {
        Family::Executions => {
            for (status, count) in Status::ALL.into_iter().zip(counts) {
                line(out, ",status=\"", status, *count);
            }
        }
        Family::ExecutionCompletionsTotal => {
            command.ends().for_each(|(status, ends)| line(out, ",status=\"", status, ends.count));
        }
        Family::ExecutionTimeoutsRevisedTotal => {
            command.ends().for_each(|(status, ends)| line(out, ",to=\"", status, ends.revised));
        }
        _ => command.ends().for_each(|(status, ends)| push_histogram(out, &shown.name, command, status, ends)),
    }
}

fn push_histogram(out: &mut Vec<u8>, name: &str, command: &Command, status: Status, ends: &Ends) {
    let start = |out: &mut Vec<u8>, suffix: &str| {
        push_all(out, [name, suffix, "{", command.labels(), ",status=\"", status.label(), "\""]);
    };
    let bounds = BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
    let mut cumulative = 0;
    for (bound, count) in bounds.zip(ends.buckets) {
        cumulative += count;
        start(out, "_bucket");
        push_all(out, [",le=\"", bound, "\"} "]);
        push_count(out, cumulative);
    }
    start(out, "_sum");
    text::push_millis_value(out, ends.sum_millis);
    start(out, "_count");
    out.extend_from_slice(b"} ");
    push_count(out, cumulative);
}

fn push_count(out: &mut Vec<u8>, count: u64) {
    text::push_integer(out, count);
    out.push(b'\n');
}
