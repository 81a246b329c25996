//! The state at one moment, as a scrape takes it along.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{self, Command, CommandList};
use super::page::{Page, Row, State};
use super::scope::KnownScope;
use crate::execution::{ExecutionKey, FailureReason, Scope, Snapshot, Status, Timestamp};

/// The whole state at one moment. It shares its memory with the [`super::Store`], which copies what polls change
/// meanwhile: taking a view holds the store for as long as it takes to count up one reference per 128 executions,
/// and nothing that is done with it afterwards makes a poll wait.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) pages: Vec<Page>,
    pub(super) commands: CommandList,
    pub(super) scopes: Arc<Vec<KnownScope>>,
}

impl View {
    /// How many pages the executions lie in.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The tracked executions of a page from a place in it on, each with its place, in an order that stays the same
    /// for as long as they are tracked.
    #[inline]
    pub fn executions(&self, page: usize, from: usize) -> impl Iterator<Item = (usize, Execution<'_>)> {
        let page = &self.pages[page];
        let rows = page.rows.iter().enumerate().skip(from).filter(|(_, row)| row.occupied);
        rows.map(move |(place, row)| (place, Execution { view: self, page, place, row }))
    }

    /// All tracked executions, in the same order.
    pub fn all(&self) -> impl Iterator<Item = Execution<'_>> {
        (0..self.pages()).flat_map(|page| self.executions(page, 0)).map(|(_, execution)| execution)
    }

    /// How many places there are for commands.
    pub fn command_places(&self) -> usize {
        self.commands.len()
    }

    /// The command in a place, if there is one.
    pub fn command(&self, place: usize) -> Option<&Command> {
        self.commands.get(place)?.as_deref()
    }

    /// How many executions with data to show each command has, in the order of places and of [`Status::ALL`].
    pub fn count_by_status(&self, now: Timestamp, max_staleness_millis: i64) -> Vec<[u64; Status::ALL.len()]> {
        let mut counts = vec![[0; Status::ALL.len()]; self.commands.len()];
        for row in self.rows() {
            if let Some(status) = row.status().filter(|_| row.is_shown(now, max_staleness_millis))
                && let Some(count) = counts.get_mut(row.command.place())
            {
                count[status as usize] += 1;
            }
        }
        counts
    }

    /// How many executions are in which state, and how old the oldest observation is.
    pub fn tallies(&self) -> Tallies {
        let mut tallies = Tallies::default();
        let mut oldest = vec![None; self.scopes.len()];
        for page in &self.pages {
            for (place, row) in page.rows.iter().enumerate().filter(|(_, row)| row.occupied) {
                match row.state() {
                    State::Unpolled => tallies.unpolled += 1,
                    State::Terminal => tallies.terminal += 1,
                    State::NotFound => tallies.not_found += 1,
                    State::Open => {
                        tallies.open += 1;
                        // A time-out set by the service can still change, but is asked for seldom on purpose.
                        if row.status() != Some(Status::TimedOut) {
                            let oldest = &mut oldest[page.labels.get(place).scope as usize];
                            *oldest = earliest(*oldest, row.last_success());
                        }
                    }
                }
            }
        }
        for (known, oldest) in self.scopes.iter().zip(oldest) {
            // One account and Region can be there for two partitions.
            let kept = tallies.oldest_open.entry(known.scope.clone()).or_default();
            *kept = earliest(*kept, oldest);
        }
        tallies
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.pages.iter().flat_map(|page| page.rows.iter()).filter(|row| row.occupied)
    }
}

/// How many executions are in which [`State`], and how fresh the open ones are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Executions of which no poll has succeeded yet.
    pub unpolled: u64,
    /// Executions that can still change.
    pub open: u64,
    /// Executions that nothing can change any more.
    pub terminal: u64,
    /// Executions that the service does not know.
    pub not_found: u64,
    /// For every account and Region: the last success of the execution without an end that has waited longest.
    pub oldest_open: BTreeMap<Scope, Option<Timestamp>>,
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

/// One execution in a view.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'a> {
    view: &'a View,
    page: &'a Page,
    place: usize,
    row: &'a Row,
}

impl<'a> Execution<'a> {
    /// `account_id="…",region="…",target="…",execution_id="…"` and the declared labels, escaped.
    #[inline]
    pub fn labels(&self) -> &'a str {
        self.page.labels.get(self.place).text
    }

    /// The target's ARN in its two parts: all but the resource, which needs no escaping, and the resource, escaped.
    pub fn target_arn(&self) -> (&'a str, &'a str) {
        let block = self.page.labels.get(self.place);
        let scope = &self.view.scopes[block.scope as usize];
        (&scope.arn_prefix, scope.target(block))
    }

    /// Which execution it is, read back from its labels.
    pub fn key(&self) -> ExecutionKey {
        let block = self.page.labels.get(self.place);
        self.view.scopes[block.scope as usize].key(block)
    }

    /// Its command, where that is known.
    #[inline]
    pub fn command(&self) -> Option<&'a Command> {
        command::get(&self.view.commands, self.row.command)
    }

    /// Whether its data are to be shown at `now`.
    #[inline]
    pub fn is_shown(&self, now: Timestamp, max_staleness_millis: i64) -> bool {
        self.row.is_shown(now, max_staleness_millis)
    }

    /// Why the last poll failed; `None` if it did not, or was never made.
    #[inline]
    pub fn failure(&self) -> Option<FailureReason> {
        self.row.failure()
    }

    /// When a poll last succeeded.
    #[inline]
    pub fn last_success(&self) -> Option<Timestamp> {
        self.row.last_success()
    }

    /// The code of the reason of its status.
    pub fn reason(&self) -> Option<&'a Arc<str>> {
        self.row.reason()
    }

    /// The status of the last answer.
    #[inline]
    pub fn status(&self) -> Option<Status> {
        self.row.status()
    }

    /// Whether nothing can change it any more.
    #[inline]
    pub fn is_terminal(&self) -> bool {
        self.row.is_terminal()
    }

    /// The last answer, but for the command and the reason: they have methods of their own, which copy nothing.
    #[inline]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.row.snapshot()
    }
}
