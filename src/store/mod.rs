//! The latest observation of every tracked execution, compact: about 260 bytes each with labels of usual length.
//!
//! Pollers write one execution at a time; a scrape takes a [`View`] and reads it for as long as it likes. Executions
//! lie in pages that a view shares with the store; who writes to a shared page copies it first. So a scrape never
//! makes a poll wait, sees every execution as one observation left it, and costs only the pages that change
//! meanwhile.
//!
//! An execution is told from others by the labels of its series, so no two can ever have the same.

mod change;
mod command;
mod page;
mod scope;
mod view;

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::execution::{ExecutionKey, Failure, FailureReason, Reason, Snapshot, Status, Timestamp};
use change::End;
pub use change::is_older;
pub use command::{BOUNDS, Command, Ends};
use command::{CommandIndex, CommandTable};
pub use page::State;
use page::{Block, PAGE, Page, Row};
use scope::{Prepared, ScopeTable};
pub use view::{Execution, Tallies, View};

/// The handle of a tracked execution, in eight bytes. One that was untracked stays void for ever, also when its place
/// has gone to another execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// A slot that no store has given out, for schedules without a store.
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// Its number: small, and dense among the executions that are tracked.
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// What an answer has changed: what the log wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Why the poll before had failed, if it had.
    pub previous_failure: Option<FailureReason>,
    /// The status known before; `None` if this is the first success.
    pub previous_status: Option<Status>,
    /// The answer was a success, but showed an earlier state than the one known, and is not kept.
    pub outdated: bool,
    /// With this 404 the execution's data are no longer exposed.
    pub data_dropped: bool,
    /// What is known about it now.
    pub state: State,
}

/// The state of the exporter: the tracked executions, and what has been counted of their commands.
#[derive(Debug)]
pub struct Store {
    started: Timestamp,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pages: Vec<Page>,
    /// Places by the identity that their labels begin with: the text itself lies in the pages.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    vacant: Vec<u32>,
    commands: CommandTable,
    scopes: ScopeTable,
}

impl Store {
    /// An empty store of a process that `started` then: ends before that are not counted again.
    pub fn new(started: Timestamp) -> Self {
        Self { started, inner: Mutex::default() }
    }

    /// Tracks an execution with the declared labels as names and values. One that is tracked already keeps its slot
    /// and its observation, and takes on the labels. (Two pairs that differ in nothing but the partition of the ARN
    /// would have the same series, and are one.)
    pub fn track(&self, key: &ExecutionKey, labels: &[(&str, &str)]) -> Slot {
        let prepared = Prepared::new(key, labels);
        let mut inner = self.lock();
        let scope = inner.scopes.place(&key.target);
        let block = prepared.block(scope);
        match inner.find(block.identity()) {
            Some(index) => inner.relabel(index, block),
            None => inner.insert(block),
        }
    }

    /// The slot of an execution, if it is tracked.
    pub fn find(&self, key: &ExecutionKey) -> Option<Slot> {
        let prepared = Prepared::new(key, &[]);
        let inner = self.lock();
        let index = inner.find(prepared.block(0).identity())?;
        Some(inner.slot(index))
    }

    /// The key of a tracked execution, read back from its labels: nobody else need keep it.
    pub fn key(&self, slot: Slot) -> Option<ExecutionKey> {
        let inner = self.lock();
        inner.row(slot)?;
        let block = inner.block(slot.index);
        Some(inner.scopes.list[block.scope as usize].key(block))
    }

    /// Stops tracking an execution: all its series vanish at once. What was counted of its command stays.
    pub fn untrack(&self, slot: Slot) {
        self.lock().remove(slot);
    }

    /// Keeps the outcome of a poll that ended at `now`; `None` if the execution is no longer tracked.
    ///
    /// A failure changes nothing but the health of polling, until a second 404 in a row hides the data. A success
    /// makes up for all of that; if it shows an earlier state than the one known, that is kept.
    pub fn record(&self, slot: Slot, outcome: &Result<Snapshot, Failure>, now: Timestamp) -> Option<Recorded> {
        let mut inner = self.lock();
        let row = inner.row(slot)?;
        let (previous_failure, previous_status, before) = (row.failure(), row.status(), row.state());
        let outdated = match outcome {
            Ok(snapshot) => inner.succeed(slot.index, snapshot, now, self.started),
            Err(failure) => {
                inner.row_mut(slot.index).fail(failure.reason);
                false
            }
        };
        let state = inner.row(slot)?.state();
        let data_dropped = state == State::NotFound && matches!(before, State::Open | State::Terminal);
        Some(Recorded { previous_failure, previous_status, outdated, data_dropped, state })
    }

    /// What is known about an execution; `None` if it is not tracked.
    pub fn state(&self, slot: Slot) -> Option<State> {
        self.lock().row(slot).map(Row::state)
    }

    /// The last answer about an execution, also where failures hide it.
    pub fn snapshot(&self, slot: Slot) -> Option<Snapshot> {
        let inner = self.lock();
        let row = inner.row(slot)?;
        Some(Snapshot {
            command: inner.commands.get(row.command).map(|command| command.arn().clone()),
            reason: row.reason().and_then(|code| Reason::new(code)),
            ..row.snapshot()?
        })
    }

    /// How many executions are tracked.
    pub fn len(&self) -> usize {
        self.lock().index.len()
    }

    /// Whether none is tracked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the commands of which no execution is tracked, with what was counted of them. For reloads: a command
    /// whose executions merely come and go keeps its counters.
    pub fn forget_unused_commands(&self) {
        self.lock().commands.forget_unused();
    }

    /// The whole state at this moment.
    pub fn view(&self) -> View {
        let inner = self.lock();
        View { pages: inner.pages.clone(), commands: inner.commands.list().clone(), scopes: inner.scopes.list.clone() }
    }

    /// A panic elsewhere must not end every poll and scrape: each change is whole before the lock is given back.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find(&self, identity: &str) -> Option<u32> {
        let found = |index: &u32| self.block(*index).identity() == identity;
        self.index.find(self.hasher.hash_one(identity), found).copied()
    }

    fn block(&self, index: u32) -> Block<'_> {
        let (page, place) = split(index);
        self.pages[page].labels.get(place)
    }

    fn slot(&self, index: u32) -> Slot {
        let (page, place) = split(index);
        Slot { index, generation: self.pages[page].rows[place].generation }
    }

    /// The row of a slot, unless that is void.
    fn row(&self, slot: Slot) -> Option<&Row> {
        let (page, place) = split(slot.index);
        let row = self.pages.get(page)?.rows.get(place)?;
        (row.occupied && row.generation == slot.generation).then_some(row)
    }

    fn row_mut(&mut self, index: u32) -> &mut Row {
        let (page, place) = split(index);
        self.pages[page].row_mut(place)
    }

    fn relabel(&mut self, index: u32, block: Block<'_>) -> Slot {
        if self.block(index).text != block.text {
            let (page, place) = split(index);
            // The partition stays that of the key which came first, as the key does.
            let scope = self.block(index).scope;
            self.pages[page].labels_mut().set(place, Block { scope, ..block });
        }
        self.slot(index)
    }

    fn insert(&mut self, block: Block<'_>) -> Slot {
        let index = self.vacant.pop().unwrap_or_else(|| self.add_page());
        let (page, place) = split(index);
        self.pages[page].labels_mut().set(place, block);
        let generation = self.pages[page].rows[place].generation.wrapping_add(1);
        *self.row_mut(index) = Row::new(generation, true);
        let Self { index: table, hasher, pages, .. } = self;
        table.insert_unique(hasher.hash_one(block.identity()), index, |other| {
            let (page, place) = split(*other);
            hasher.hash_one(pages[page].labels.get(place).identity())
        });
        Slot { index, generation }
    }

    /// Makes room, and returns the first place of it.
    fn add_page(&mut self) -> u32 {
        let first =
            u32::try_from(self.pages.len() * PAGE).expect("memory ends before four thousand million executions");
        self.pages.push(Page::new());
        self.vacant.extend((first + 1..first + PAGE as u32).rev());
        first
    }

    fn remove(&mut self, slot: Slot) {
        let Some(row) = self.row(slot) else { return };
        let (command, generation) = (row.command, row.generation);
        let hash = self.hasher.hash_one(self.block(slot.index).identity());
        if let Ok(entry) = self.index.find_entry(hash, |index| *index == slot.index) {
            entry.remove();
        }
        self.commands.release(command);
        let (page, place) = split(slot.index);
        *self.pages[page].row_mut(place) = Row::new(generation, false);
        self.pages[page].labels_mut().clear(place);
        self.vacant.push(slot.index);
    }

    /// Keeps a success; true if its data are older than those known.
    fn succeed(&mut self, index: u32, snapshot: &Snapshot, now: Timestamp, started: Timestamp) -> bool {
        let row = self.row_mut(index);
        row.succeed(now);
        let (known, command) = (row.snapshot(), row.command);
        if known.as_ref().is_some_and(|known| change::is_older(known, snapshot)) {
            return true;
        }
        row.set(snapshot);
        // An answer without the command leaves the one known: it does not change during an execution's life.
        let command = match &snapshot.command {
            Some(arn) => self.commands.reassign(command, arn),
            None => command,
        };
        self.row_mut(index).command = command;
        if let Some(end) = change::end_seen(known.as_ref(), snapshot, started) {
            self.count(command, end, snapshot);
        }
        false
    }

    fn count(&mut self, command: CommandIndex, end: End, snapshot: &Snapshot) {
        let duration = snapshot.ended_at().and_then(|at| snapshot.duration_millis(at));
        self.commands.count(command, end, duration);
    }
}

/// The page and the place in it.
fn split(index: u32) -> (usize, usize) {
    (index as usize / PAGE, index as usize % PAGE)
}

#[cfg(test)]
mod tests;
