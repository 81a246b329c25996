//! The executions of one command that a listing is to show, and whether it is worth its calls.

use std::collections::BTreeSet;
use std::time::Duration;

use super::PAGE;
use crate::execution::Timestamp;
use crate::store::Slot;

/// A listing must save this share of the calls before it replaces single ones, so that small changes do not toggle
/// it: 5 calls for 4.
const WORTH: f64 = 1.25;

/// So few are asked one by one all the same: a Get costs little then, and tells more, lastUpdatedAt and the reason.
const FEW: usize = 5;

/// Executions of one kind.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// By creation.
    members: BTreeSet<(Timestamp, Slot)>,
    /// By deadline, where that is known; with the creation.
    deadlines: BTreeSet<(Timestamp, Timestamp, Slot)>,
    /// The shortest that one of them has.
    interval: Duration,
    worthwhile: bool,
}

impl Group {
    pub(super) fn add(&mut self, slot: Slot, created: Timestamp, deadline: Option<Timestamp>, interval: Duration) {
        self.interval = if self.members.is_empty() { interval } else { self.interval.min(interval) };
        self.members.insert((created, slot));
        self.deadlines.extend(deadline.map(|deadline| (deadline, created, slot)));
    }

    pub(super) fn remove(&mut self, slot: Slot, created: Timestamp, deadline: Option<Timestamp>) {
        self.members.remove(&(created, slot));
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, created, slot));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// The creation of the oldest.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.members.first().map(|(created, _)| *created)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.members.iter().map(|(_, slot)| *slot)
    }

    /// The creations of those whose deadline lies before `end` and which were created after `cursor`.
    pub(super) fn overdue(&self, end: Timestamp, cursor: Option<Timestamp>) -> impl Iterator<Item = Timestamp> {
        let past = self.deadlines.iter().take_while(move |(deadline, ..)| *deadline <= end);
        past.map(|(_, created, _)| *created).filter(move |created| cursor.is_none_or(|cursor| *created > cursor))
    }

    /// Whether the last decision was to list them.
    pub(super) fn is_worthwhile(&self) -> bool {
        self.worthwhile
    }

    /// Whether to list them instead of asking for each, where a pass has so many pages and `calls` says how many
    /// calls listings take in the time in which each would be asked for once. `behind`: the budget for single calls
    /// does not suffice, so few are listed, too.
    pub(super) fn decide(&mut self, pages: Option<usize>, behind: bool, calls: impl Fn(usize) -> f64) {
        let pages = pages.unwrap_or_else(|| self.len().div_ceil(PAGE)).max(1);
        let (few, worth) = match (self.worthwhile, behind) {
            (true, _) => (1, 1.0),
            (false, true) => (1, WORTH),
            (false, false) => (FEW, WORTH),
        };
        self.worthwhile = self.len() > few && self.len() as f64 > worth * calls(pages);
    }
}
