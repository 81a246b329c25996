//! Passes over the pages of a listing.

use std::time::Duration;

use super::Seen;
use crate::execution::Timestamp;
use crate::source::Since;

/// What a pass is for. A job can have one of each under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Every execution since some creation: news of those that are watched, and those to be discovered.
    Started,
    /// Those that a device has ended lately: few pages, however many executions there are.
    Ends,
    /// Executions in the order of their creation, page by page as their deadlines pass: where more deadlines pass
    /// than can be asked about one by one.
    Sweep,
}

impl Task {
    pub(super) const ALL: [Self; 3] = [Self::Sweep, Self::Ends, Self::Started];
}

/// A pass under way.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) since: Since,
    /// Executions created since then may be new.
    pub(super) finds: Option<Timestamp>,
    /// Whether it shows all that are watched.
    pub(super) whole: bool,
    pub(super) began: Duration,
    pub(super) began_at: Timestamp,
    pub(super) next_token: Option<String>,
    pub(super) pages: usize,
    /// Executions that have moved on without an end.
    pub(super) moved: usize,
    /// The creation of the last one seen.
    pub(super) cursor: Option<Timestamp>,
    /// When the last page came.
    pub(super) page_at: Duration,
    /// The latest end that was known when it began.
    pub(super) known_end: Option<Timestamp>,
}

impl Pass {
    pub(super) fn new(since: Since, now: Duration, now_at: Timestamp, known_end: Option<Timestamp>) -> Self {
        Self {
            since,
            finds: None,
            whole: false,
            began: now,
            began_at: now_at,
            next_token: None,
            pages: 0,
            moved: 0,
            cursor: None,
            page_at: now,
            known_end,
        }
    }

    /// Takes in a page; answers whether it was the last.
    pub(super) fn page(&mut self, next_token: Option<String>, seen: &Seen, now: Duration) -> bool {
        self.pages += 1;
        self.moved += seen.moved;
        self.cursor = self.cursor.max(seen.created);
        self.page_at = now;
        self.next_token = next_token;
        self.next_token.is_none()
    }
}
