//! What a lane makes of a page of `ListCommandExecutions`: news of the executions it knows, and new ones.

use super::found::leaves;
use super::lane::{Lane, observed, phase};
use crate::execution::{Failure, FailureReason, Snapshot, Status};
use crate::listing::{Answer, Call, Seen, Task};
use crate::source::{Page, Source, Summary};
use crate::store::{Slot, is_older};
use crate::telemetry::DropCause;

/// What a summary says beside what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    /// An older answer: listings lag behind.
    Outdated,
    /// All there is to know.
    Whole(Snapshot),
    /// This much, and more that only `GetCommandExecution` tells.
    Partial(Snapshot),
    /// Another execution under the same pair.
    Another,
}

/// A summary has no reason, no timeout and no time of the last update. What has not changed is still as it was; a
/// success needs no explanation; every other end is shown at once, and its reason is asked for.
fn news(known: &Snapshot, summary: &Summary) -> News {
    let changed = summary.status != known.status || summary.completed != known.completed;
    let seen = Snapshot {
        status: summary.status,
        completed: summary.completed,
        // Known as of the last Get, and no longer true once the status has moved on.
        last_updated: known.last_updated.filter(|_| !changed),
        reason: known.reason.clone().filter(|_| !changed),
        ..known.clone()
    };
    let other = summary.created.is_some() && summary.created != known.created;
    match summary.status {
        _ if is_older(known, &seen) => News::Outdated,
        _ if other => News::Another,
        _ if !changed => News::Whole(seen),
        Status::Created | Status::InProgress => News::Whole(seen),
        Status::Succeeded if summary.completed.is_some() => News::Whole(seen),
        _ => News::Partial(seen),
    }
}

impl<S: Source + 'static> Lane<S> {
    /// Takes in one page of a listing.
    pub(super) fn listed(&mut self, call: &Call, outcome: Result<Page<Summary>, Failure>) {
        let answer = match outcome {
            Ok(page) => {
                let moved = page.items.iter().filter(|summary| self.sighted(call, summary)).count();
                let created = page.items.iter().filter_map(|summary| summary.created).max();
                let ended = page.items.iter().filter_map(|summary| summary.completed).max();
                Answer::Page(page.next_token, Seen { moved, created, ended })
            }
            Err(failure) => {
                let refused = failure.reason == FailureReason::AccessDenied;
                let (account_id, region) = (&*self.scope.account_id, &*self.scope.region);
                let (reason, error) = (failure.reason.label(), &failure.detail);
                if refused && self.listings.refuse() {
                    tracing::warn!(
                        account_id,
                        region,
                        reason,
                        error,
                        "iot:ListCommandExecutions is not allowed: executions are asked for one by one, and none are discovered"
                    );
                } else if failure.reason == FailureReason::InvalidRequest && call.task == Task::Ends {
                    tracing::warn!(
                        account_id,
                        region,
                        error,
                        "the service does not list by completion: ends are seen later"
                    );
                } else {
                    tracing::debug!(account_id, region, reason, error, "a listing failed");
                }
                match failure.reason {
                    FailureReason::AccessDenied => Answer::Refused,
                    FailureReason::Throttled => Answer::Throttled,
                    FailureReason::InvalidRequest => Answer::Invalid,
                    _ => Answer::Failed,
                }
            }
        };
        let now = self.now();
        for slot in self.listings.answered(call, answer, now) {
            self.schedule.uncovered(slot, phase(slot), now);
        }
    }

    /// Takes in one summary; answers whether a known execution has moved on without an end.
    fn sighted(&mut self, call: &Call, summary: &Summary) -> bool {
        match self.shared.store.find(&summary.key) {
            Some(slot) => self.refresh(slot, summary),
            None => self.discover(call, summary).is_some_and(|slot| self.refresh(slot, summary)),
        }
    }

    fn refresh(&mut self, slot: Slot, summary: &Summary) -> bool {
        // Never answered yet: the status is welcome, and a Get, which alone tells the timeout, is due already.
        let known = self.shared.store.snapshot(slot).unwrap_or_else(|| Snapshot {
            command: summary.command.clone(),
            created: summary.created,
            ..Snapshot::with_status(Status::Created)
        });
        if known.is_terminal() || !self.schedule.holds(slot) {
            return false;
        }
        let (now, wall) = (self.now(), self.wall());
        let (snapshot, explained) = match news(&known, summary) {
            News::Outdated => return false,
            News::Another => {
                self.schedule.urge(slot, now);
                return false;
            }
            News::Partial(snapshot) => (snapshot, false),
            News::Whole(snapshot) => (snapshot, true),
        };
        let moved = snapshot.status != known.status && !snapshot.is_ended();
        let outcome = Ok(snapshot);
        self.shared.store.record(slot, &outcome, wall);
        if let Ok(snapshot) = &outcome {
            self.note(slot, snapshot, wall);
        }
        if explained {
            let within = self.listings.covers(slot, now).or(self.schedule.interval(slot)).unwrap_or_default();
            self.schedule.sighted(slot, observed(&outcome, wall), within, now);
        } else {
            self.schedule.urge(slot, now);
        }
        moved
    }

    /// Begins to track an execution that nobody has configured, unless it is not wanted.
    fn discover(&mut self, call: &Call, summary: &Summary) -> Option<Slot> {
        let retain = self.discovery.retain(&call.by)?;
        let (now, wall) = (self.now(), self.wall());
        let known_before = call.finds.is_none_or(|finds| summary.created.is_none_or(|created| created < finds));
        let over = summary.completed.is_some_and(|ended| leaves(ended, retain) <= wall);
        if known_before || over || !self.settings.shard.holds(&summary.key) {
            return None;
        }
        if self.shared.store.len() >= self.settings.limits.executions {
            self.shared.telemetry.executions_dropped(DropCause::Limit, 1);
            return None;
        }
        let slot = self.shared.store.track(&summary.key, &[]);
        self.found.add(slot, retain);
        self.schedule.track(slot, self.settings.poll.interval, now);
        Some(slot)
    }
}
