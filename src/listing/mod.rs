//! What is worth listing, and when, within one account and Region. Pure, like [`crate::schedule`].
//!
//! One page of `ListCommandExecutions` says of up to 100 executions whether anything has changed, where
//! `GetCommandExecution` says it of one. A command is listed while that takes fewer calls than asking for each of its
//! open executions; whatever a configuration wants discovered is listed anyway.
//!
//! A filter by status is refused for commands, so a pass over all executions since the oldest open one shows ended
//! ones, too. What devices have ended lately is therefore listed by itself, once an interval and in few pages; whole
//! passes become rarer as the ended executions become more. Where many deadlines pass within seconds, a sweep follows
//! them in the order of creation.

mod group;
mod job;
mod pass;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hashbrown::HashMap;

use crate::execution::{CommandArn, Timestamp};
use crate::schedule::Pressure;
use crate::source::{ListBy, Since};
use crate::store::Slot;
use job::{Job, Moment};
pub use pass::Task;

/// What a page holds at the most.
const PAGE: usize = 100;

/// How long a listing that failed, or is refused, is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
const AFTER_REFUSAL: Duration = Duration::from_secs(600);

/// What a configuration wants discovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookout {
    /// How often.
    pub interval: Duration,
    /// How far back the first pass reaches.
    pub lookback: Duration,
}

/// One call to make: a page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is listed.
    pub by: ListBy,
    /// Which pass the page belongs to.
    pub task: Task,
    /// From when on.
    pub since: Since,
    /// Executions created since then may be new; those before it have been found by an earlier pass, or are too old.
    /// `None`: this pass discovers nothing.
    pub finds: Option<Timestamp>,
    /// Which page; `None` is the first.
    pub next_token: Option<String>,
}

/// An execution that listings may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// `commandArn`.
    pub command: CommandArn,
    /// `createdAt`.
    pub created: Timestamp,
    /// The deadline, where it is known.
    pub deadline: Option<Timestamp>,
    /// How it is to be seen.
    pub kind: Kind,
}

/// Which executions are to be seen by listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open ones, once an interval.
    Open,
    /// Those that the service has timed out, seldom.
    TimedOut,
}

/// What a page has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Executions that have moved on without an end.
    pub moved: usize,
    /// The latest `createdAt`.
    pub created: Option<Timestamp>,
    /// The latest `completedAt`.
    pub ended: Option<Timestamp>,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A page, where the next begins, and what it has shown.
    Page(Option<String>, Seen),
    /// Too many calls: the same page is asked for again, as soon as the lowered rate allows.
    Throttled,
    /// The service does not allow it.
    Refused,
    /// The service does not understand it.
    Invalid,
    /// Anything else.
    Failed,
}

/// The listings of one account and Region.
#[derive(Debug, Default)]
pub struct Listings {
    jobs: HashMap<ListBy, Job>,
    members: HashMap<Slot, Watched>,
    max_staleness: Duration,
    behind: bool,
    /// Whether the log has been told that listing is refused.
    refusal_told: bool,
    /// Whether a page has ever come.
    allowed: bool,
    /// While nothing has ever been allowed, one refusal speaks for all commands.
    refused_until: Duration,
}

impl Listings {
    /// No listings. Executions are seen often enough that they are not older than `max_staleness`.
    pub fn new(max_staleness: Duration) -> Self {
        Self { max_staleness, ..Self::default() }
    }

    /// `poll.max_staleness`, from a changed configuration.
    pub fn set_max_staleness(&mut self, max_staleness: Duration) {
        self.max_staleness = max_staleness;
    }

    /// What is to be discovered from now on, in place of what was.
    pub fn set_lookouts(&mut self, lookouts: impl IntoIterator<Item = (ListBy, Lookout)>) {
        for job in self.jobs.values_mut() {
            job.lookout = None;
        }
        for (by, lookout) in lookouts {
            self.jobs.entry(by).or_default().lookout = Some(lookout);
        }
        self.jobs.retain(|_, job| !job.is_unused());
    }

    /// This execution can still change, and is to be seen once an `interval`.
    pub fn watch(&mut self, slot: Slot, watched: Watched, interval: Duration) {
        if self.members.get(&slot) == Some(&watched) {
            return;
        }
        let same = self.members.get(&slot).is_some_and(|known| {
            (&known.command, known.created, known.kind) == (&watched.command, watched.created, watched.kind)
        });
        self.remove(slot, !same);
        let job = self.jobs.entry(ListBy::Command(watched.command.clone())).or_default();
        job.group_mut(watched.kind).add(slot, watched.created, watched.deadline, interval);
        if !job.group(watched.kind).is_worthwhile() {
            job.decide(self.behind, self.max_staleness);
        }
        self.members.insert(slot, watched);
    }

    /// An execution is final, or no longer tracked.
    pub fn closed(&mut self, slot: Slot) {
        self.remove(slot, true);
    }

    /// Takes an execution out of its group, and, where it has `gone`, decides what that means.
    fn remove(&mut self, slot: Slot, gone: bool) {
        let Some(Watched { command, created, deadline, kind }) = self.members.remove(&slot) else { return };
        let by = ListBy::Command(command);
        if let Some(job) = self.jobs.get_mut(&by) {
            job.group_mut(kind).remove(slot, created, deadline);
            if gone {
                job.decide(self.behind, self.max_staleness);
                if job.is_unused() {
                    self.jobs.remove(&by);
                }
            }
        }
    }

    /// How many discoveries have not ended a first pass, well or not.
    pub fn unfinished(&self) -> usize {
        self.jobs.values().filter(|job| job.lookout.is_some() && !job.tried).count()
    }

    /// Listing is not allowed; answers whether that is news.
    pub fn refuse(&mut self) -> bool {
        !std::mem::replace(&mut self.refusal_told, true)
    }

    /// Within which time listings show this execution again, so that asking for it alone is only a safety net;
    /// `None` if they do not.
    pub fn covers(&self, slot: Slot, now: Duration) -> Option<Duration> {
        let watched = self.members.get(&slot).filter(|_| self.refused_until <= now)?;
        self.jobs.get(&ListBy::Command(watched.command.clone()))?.covers(watched.kind, self.max_staleness)
    }

    /// The next call to make, or when there will be one. A job that is returned waits for [`Listings::answered`].
    pub fn next(&mut self, now: Duration, now_at: Timestamp, pressure: Pressure) -> Result<Call, Option<Duration>> {
        if self.refused_until > now {
            return Err(Some(self.refused_until));
        }
        if std::mem::replace(&mut self.behind, pressure.behind) != pressure.behind {
            self.jobs.values_mut().for_each(|job| job.decide(pressure.behind, self.max_staleness));
        }
        let Pressure { behind, crowded } = pressure;
        let at = Moment { now, now_at, behind, crowded, max_staleness: self.max_staleness };
        let (mut first, mut wake) = (None::<(Duration, ListBy, Task)>, None::<Duration>);
        for (by, job) in self.jobs.iter_mut().filter(|(_, job)| !job.calling) {
            job.tidy(now);
            for task in Task::ALL {
                let Some((due, end)) = job.turn(task, &at) else { continue };
                if due > now {
                    wake = Some(wake.map_or(due, |wake| wake.min(due)));
                } else if first.as_ref().is_none_or(|(earliest, other, _)| (end, by) < (*earliest, other)) {
                    first = Some((end, by.clone(), task));
                }
            }
        }
        let Some((_, by, task)) = first else { return Err(wake) };
        let pass = self.jobs.get_mut(&by).expect("it was chosen from these").begin(task, &at);
        Ok(Call { by, task, since: pass.since, finds: pass.finds, next_token: pass.next_token })
    }

    /// A call has ended. Answers which executions listings have covered until now, and cover no more.
    pub fn answered(&mut self, call: &Call, answer: Answer, now: Duration) -> Vec<Slot> {
        self.allowed |= matches!(answer, Answer::Page(..));
        let all_refused = answer == Answer::Refused && !self.allowed;
        if all_refused {
            self.refused_until = now + AFTER_REFUSAL;
        }
        let Some(job) = self.jobs.get_mut(&call.by) else { return Vec::new() };
        job.calling = false;
        let lost = match answer {
            Answer::Page(next_token, seen) => {
                job.page(call.task, next_token, &seen, now);
                job.decide(self.behind, self.max_staleness);
                false
            }
            Answer::Throttled => false,
            Answer::Invalid if call.task == Task::Ends => {
                job.ends_are_refused(now);
                false
            }
            Answer::Refused => job.failed(call.task, true, now),
            Answer::Invalid | Answer::Failed => job.failed(call.task, false, now),
        };
        match (lost, all_refused) {
            (_, true) => self.members.keys().copied().collect(),
            (true, false) => job.slots().collect(),
            (false, false) => Vec::new(),
        }
    }
}
