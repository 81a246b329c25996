//! Executions in pages of fixed size: what polling changes in one part, the labels in another, so that a write
//! during a scrape copies the small part of one page.

use std::sync::Arc;

use super::command::CommandIndex;
use crate::execution::{FailureReason, Snapshot, Status, Timestamp};

/// Executions in a page: few enough to copy in microseconds, enough to make the pages of 100,000 a short list.
pub(super) const PAGE: usize = 256;

/// 404 answers in a row after which an execution's data are no longer exposed.
const NOT_FOUND_LIMIT: u8 = 2;

/// What is known about a tracked execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No poll has succeeded yet.
    Unpolled,
    /// It can still change.
    Open,
    /// Nothing can change it any more.
    Terminal,
    /// The service has answered 404 twice in a row.
    NotFound,
}

/// A moment that may be absent, in eight bytes. The sentinel lies 292 million years ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Millis(i64);

impl Millis {
    const ABSENT: Self = Self(i64::MIN);

    fn new(at: Option<Timestamp>) -> Self {
        at.map_or(Self::ABSENT, |at| Self(at.millis()))
    }

    fn get(self) -> Option<Timestamp> {
        (self != Self::ABSENT).then_some(Timestamp::from_millis(self.0))
    }
}

/// The latest observation of one execution.
#[derive(Clone, Debug)]
pub(super) struct Row {
    created: Millis,
    started: Millis,
    last_updated: Millis,
    completed: Millis,
    expiration: Millis,
    last_success: Millis,
    /// `i64::MIN` where absent.
    timeout_seconds: i64,
    reason: Option<Arc<str>>,
    pub(super) command: CommandIndex,
    /// Raised whenever the row changes hands, so that a slot of its former execution is recognised.
    pub(super) generation: u32,
    pub(super) occupied: bool,
    status: Option<Status>,
    terminal: bool,
    failure: Option<FailureReason>,
    not_found: u8,
}

impl Row {
    /// A row without an observation.
    pub(super) const fn new(generation: u32, occupied: bool) -> Self {
        Self {
            created: Millis::ABSENT,
            started: Millis::ABSENT,
            last_updated: Millis::ABSENT,
            completed: Millis::ABSENT,
            expiration: Millis::ABSENT,
            last_success: Millis::ABSENT,
            timeout_seconds: i64::MIN,
            reason: None,
            command: CommandIndex::NONE,
            generation,
            occupied,
            status: None,
            terminal: false,
            failure: None,
            not_found: 0,
        }
    }

    /// Keeps an answer, whose command is interned by the caller.
    pub(super) fn set(&mut self, snapshot: &Snapshot) {
        self.created = Millis::new(snapshot.created);
        self.started = Millis::new(snapshot.started);
        self.last_updated = Millis::new(snapshot.last_updated);
        self.completed = Millis::new(snapshot.completed);
        self.expiration = Millis::new(snapshot.expiration);
        self.timeout_seconds = snapshot.timeout_seconds.unwrap_or(i64::MIN);
        let code = snapshot.reason.as_ref().map(|reason| reason.code());
        if self.reason.as_deref() != code {
            self.reason = code.map(Into::into);
        }
        self.status = Some(snapshot.status);
        self.terminal = snapshot.is_terminal();
    }

    /// Notes that a poll succeeded.
    pub(super) fn succeed(&mut self, now: Timestamp) {
        self.last_success = Millis::new(Some(now));
        self.failure = None;
        self.not_found = 0;
    }

    /// Notes that a poll failed. Only a success ends a run of 404: between two of them, a time-out says nothing.
    pub(super) fn fail(&mut self, reason: FailureReason) {
        self.failure = Some(reason);
        if reason == FailureReason::NotFound {
            self.not_found = self.not_found.saturating_add(1);
        }
    }

    /// The status of the last answer; `None` before the first.
    #[inline]
    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether the last answer is one that nothing can change any more.
    #[inline]
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Why the last poll failed; `None` if it did not, or was never made.
    #[inline]
    pub(super) fn failure(&self) -> Option<FailureReason> {
        self.failure
    }

    /// When a poll last succeeded.
    #[inline]
    pub(super) fn last_success(&self) -> Option<Timestamp> {
        self.last_success.get()
    }

    /// The code of the reason.
    pub(super) fn reason(&self) -> Option<&Arc<str>> {
        self.reason.as_ref()
    }

    /// The last answer, but for the command and the reason, which would have to be copied.
    #[inline]
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot {
            status: self.status?,
            command: None,
            reason: None,
            timeout_seconds: (self.timeout_seconds != i64::MIN).then_some(self.timeout_seconds),
            created: self.created.get(),
            started: self.started.get(),
            last_updated: self.last_updated.get(),
            completed: self.completed.get(),
            expiration: self.expiration.get(),
        })
    }

    pub(super) fn state(&self) -> State {
        match self.status {
            _ if self.not_found >= NOT_FOUND_LIMIT => State::NotFound,
            None => State::Unpolled,
            Some(_) if self.terminal => State::Terminal,
            Some(_) => State::Open,
        }
    }

    /// Whether the data are to be shown at `now`: always those that nothing can change, those of an open execution
    /// only while they are not older than `max_staleness_millis`.
    #[inline]
    pub(super) fn is_shown(&self, now: Timestamp, max_staleness_millis: i64) -> bool {
        let fresh = now.millis().saturating_sub(self.last_success.0) <= max_staleness_millis;
        // `|` and not `||`: whether an execution is terminal is what no processor predicts.
        self.not_found < NOT_FOUND_LIMIT && self.status.is_some() && (self.terminal | fresh)
    }
}

/// Where the labels of one execution lie in the text of its page, and what else belongs to them.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    len: u32,
    /// The length of the four labels that identify it, which come first.
    identity_len: u16,
    target_len: u16,
    scope: u32,
}

/// The escaped labels of the executions of a page, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    text: String,
    spans: Box<[Span]>,
    /// Bytes of `text` that no span covers any more.
    dead: usize,
}

/// The prepared labels of one execution: text, and where its parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// `account_id="…",region="…",target="…",execution_id="…"` and the declared labels.
    pub(super) text: &'a str,
    /// The length of the first four.
    pub(super) identity_len: u16,
    /// The length of the target's escaped value.
    pub(super) target_len: u16,
    /// The place of its account and Region in the store's list.
    pub(super) scope: u32,
}

impl<'a> Block<'a> {
    pub(super) fn identity(&self) -> &'a str {
        &self.text[..usize::from(self.identity_len)]
    }
}

impl Labels {
    fn new() -> Self {
        Self { text: String::new(), spans: vec![Span::default(); PAGE].into(), dead: 0 }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Block<'_> {
        let Span { start, len, identity_len, target_len, scope } = self.spans[row];
        let text = &self.text[start as usize..start as usize + len as usize];
        Block { text, identity_len, target_len, scope }
    }

    /// Sets the labels of a row, in place of those that it had.
    pub(super) fn set(&mut self, row: usize, block: Block<'_>) {
        self.clear(row);
        if self.text.capacity() - self.text.len() < block.text.len() {
            // Small steps: doubling would leave half of the text's memory unused.
            self.text.reserve_exact(block.text.len().max(4096));
        }
        let start = offset(self.text.len());
        self.text.push_str(block.text);
        let Block { text, identity_len, target_len, scope } = block;
        self.spans[row] = Span { start, len: offset(text.len()), identity_len, target_len, scope };
    }

    /// Empties the labels of a row, and gives back what emptied rows held once that is the greater part.
    pub(super) fn clear(&mut self, row: usize) {
        self.dead += std::mem::take(&mut self.spans[row]).len as usize;
        if self.dead * 2 > self.text.len() {
            let mut text = String::with_capacity(self.text.len() - self.dead);
            for span in &mut self.spans {
                let start = offset(text.len());
                text.push_str(&self.text[span.start as usize..][..span.len as usize]);
                span.start = start;
            }
            (self.text, self.dead) = (text, 0);
        }
    }
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the labels of 256 executions come from files of bounded size, far below 4 GiB")
}

/// A page. A clone shares both parts until one of them is written to.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) rows: Arc<Vec<Row>>,
    pub(super) labels: Arc<Labels>,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { rows: Arc::new(vec![Row::new(0, false); PAGE]), labels: Arc::new(Labels::new()) }
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut Row {
        &mut Arc::make_mut(&mut self.rows)[row]
    }

    pub(super) fn labels_mut(&mut self) -> &mut Labels {
        Arc::make_mut(&mut self.labels)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_stays_small() {
        assert_eq!((size_of::<Row>(), size_of::<Span>()), (88, 16), "bytes per execution, before its labels");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn labels_survive_every_order_of_setting_and_clearing(
            steps in proptest::collection::vec((0..PAGE, proptest::option::of("[a-zü]{0,40}")), 0..600),
        ) {
            let mut labels = Labels::new();
            let mut expected = vec![String::new(); PAGE];
            for (row, text) in steps {
                match &text {
                    Some(text) => labels.set(row, Block { text, identity_len: 0, target_len: 0, scope: 0 }),
                    None => labels.clear(row),
                }
                expected[row] = text.unwrap_or_default();
            }
            for (row, text) in expected.iter().enumerate() {
                prop_assert_eq!(labels.get(row).text, text);
            }
            let live: usize = expected.iter().map(String::len).sum();
            prop_assert!(labels.text.len() <= 2 * live, "{} B for {live} B", labels.text.len());
        }
    }
}
