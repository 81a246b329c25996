//! Who is asked next, within one account and Region. Pure: no clock, no I/O; the present comes in as a
//! [`Duration`] since some start of a monotonic clock, so that jumps of the wall clock do not matter.
//!
//! Every tracked execution has one next poll, waiting or due. Of the due ones, those aimed at a deadline go first
//! (each execution has only one, so they cannot starve the others for ever), then those of which nothing is known or
//! whose end is unexplained, then open ones of which a listing has told all but the timeout, then the refreshes, then
//! ended ones of which only the timeout is unknown; oldest first. Nobody is starved by an overload: a late refresh has
//! every other turn of a detail, one whose data are about to be too old to be exposed every fourth turn of all, and
//! the last in the row every sixteenth.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;

use crate::store::Slot;

/// After so many other calls, one refreshes an execution that is known already, once its data get stale.
const BEFORE_REFRESH: u32 = 3;

/// After so many other calls, one asks for the timeout of an execution that has ended.
const BEFORE_RECORD: u32 = 15;

/// How long after a deadline the call that is aimed at it starts: the service needs a moment to flip the status.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// The first pause before an execution past its deadline that still looks open is asked again; it doubles up to the
/// interval.
const OVERDUE_PAUSE: Duration = Duration::from_secs(2);

/// Executions that hardly ever change again, timed out by the service or not found, are asked this many times less
/// often.
const SLOW: u32 = 10;

/// More deadlines are due than single calls can follow once they would take so many seconds.
const CROWDED_SECONDS: f64 = 2.0;

/// Single calls are behind once what has never been asked for would take so many seconds.
const BEHIND_SECONDS: f64 = 10.0;

/// What a poll has shown, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It is open; `until_deadline` is negative once that has passed, `None` while unknown.
    Open {
        /// Milliseconds until the deadline.
        until_deadline: Option<i64>,
    },
    /// The service has timed it out; the device may still report.
    TimedOut,
    /// Nothing can change it any more, or the service has forgotten it.
    Final,
    /// 404.
    NotFound,
    /// The poll failed otherwise, and says nothing about the execution.
    Failed,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Poll this execution now; it was due `late` ago.
    Poll {
        /// Which one.
        slot: Slot,
        /// How late the poll starts.
        late: Duration,
    },
    /// Nothing is due before then.
    At(Duration),
    /// Nothing will ever be due, as things are.
    Idle,
}

/// How far single calls are from keeping up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// More is due than they can do.
    pub behind: bool,
    /// More deadlines pass than they can ask about.
    pub crowded: bool,
}

/// The schedule of one account and Region.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: HashMap<Slot, Entry>,
    /// What is to be polled when, by urgency. An execution can be in two of them: with its refresh and its deadline.
    queues: [BTreeSet<Place>; Urgency::ALL.len()],
    since_refresh: u32,
    since_record: u32,
    unasked: usize,
    max_staleness: Duration,
}

/// When an execution is due, and its rank among those that are due at the same time. Neighbours are ranked far apart
/// (by multiples of the golden ratio): they often belong to one command, and a listing of that, begun after the first
/// answer, shows the others.
type Place = (Duration, u32, Slot);

fn place(due: Duration, slot: Slot) -> Place {
    (due, slot.index().wrapping_mul(0x9e37_79b9), slot)
}

/// Why an execution is polled next: the order in which due ones are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Deadline,
    New,
    Detail,
    Refresh,
    Record,
}

impl Urgency {
    const ALL: [Self; 5] = [Self::Deadline, Self::New, Self::Detail, Self::Refresh, Self::Record];
    /// Refreshes are late: details give way every other time.
    const LATE: [Self; 5] = [Self::Deadline, Self::New, Self::Refresh, Self::Detail, Self::Record];
    /// Before data get too old to be exposed.
    const STALE: [Self; 5] = [Self::Refresh, Self::Deadline, Self::New, Self::Detail, Self::Record];
    /// The turn of the last in the row.
    const LAST: [Self; 5] = [Self::Record, Self::Deadline, Self::New, Self::Detail, Self::Refresh];
}

#[derive(Debug)]
struct Entry {
    interval: Duration,
    /// Where it is known and has not passed when last seen.
    deadline: Option<Duration>,
    /// Polls answered by 404 in a row.
    missed: u32,
    polled: bool,
    /// Whether a poll has ever shown it: only that tells the timeout.
    shown: bool,
    calling: bool,
    steps: Steps,
}

/// The next poll of an execution, and that just after its deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    planned: Option<(Urgency, Duration)>,
    aimed: Option<Duration>,
}

impl Steps {
    fn at(due: Duration, urgency: Urgency) -> Self {
        Self { planned: Some((urgency, due)), aimed: None }
    }

    /// Where it waits in the queues.
    fn places(self) -> impl Iterator<Item = (Urgency, Duration)> {
        self.planned.into_iter().chain(self.aimed.map(|due| (Urgency::Deadline, due)))
    }
}

impl Schedule {
    /// An empty schedule. Executions timed out by the service are asked seldom, but often enough that they are not
    /// older than `max_staleness`.
    pub fn new(max_staleness: Duration) -> Self {
        Self { max_staleness, ..Self::default() }
    }

    /// `poll.max_staleness`, from a changed configuration.
    pub fn set_max_staleness(&mut self, max_staleness: Duration) {
        self.max_staleness = max_staleness;
    }

    /// How many executions it holds, those that are not polled any more included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an execution, due at once, or gives a known one another interval.
    pub fn track(&mut self, slot: Slot, interval: Duration, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.interval = interval;
            return;
        }
        let entry = Entry {
            interval,
            deadline: None,
            missed: 0,
            polled: false,
            shown: false,
            calling: false,
            steps: Steps::default(),
        };
        self.entries.insert(slot, entry);
        self.unasked += 1;
        self.plan(slot, Steps::at(now, Urgency::New));
    }

    /// Forgets an execution.
    pub fn untrack(&mut self, slot: Slot) {
        self.plan(slot, Steps::default());
        if self.entries.remove(&slot).is_some_and(|entry| !entry.polled) {
            self.unasked -= 1;
        }
    }

    /// Whether it holds this execution.
    pub fn holds(&self, slot: Slot) -> bool {
        self.entries.contains_key(&slot)
    }

    /// How often an execution is asked for while it is open.
    pub fn interval(&self, slot: Slot) -> Option<Duration> {
        self.entries.get(&slot).map(|entry| entry.interval)
    }

    fn slow(&self, interval: Duration) -> Duration {
        (interval * SLOW).min((self.max_staleness / 2).max(interval))
    }

    /// Something has changed that only a poll explains: it is due now. One that is being polled already is not asked
    /// again for it.
    pub fn urge(&mut self, slot: Slot, now: Duration) {
        if self.entries.get(&slot).is_some_and(|entry| entry.polled && !entry.calling) {
            self.plan(slot, Steps::at(now, Urgency::New));
        }
    }

    /// How many executions have not been asked yet.
    pub fn unasked(&self) -> usize {
        self.unasked
    }

    /// The next poll to start. One that is returned is not returned again before [`Schedule::polled`].
    pub fn next(&mut self, now: Duration) -> Next {
        for urgency in self.order(now) {
            let Some((due, slot)) = self.first(urgency).filter(|(due, _)| *due <= now) else { continue };
            self.plan(slot, Steps::default());
            if let Some(entry) = self.entries.get_mut(&slot) {
                entry.calling = true;
            }
            self.since_refresh = if urgency == Urgency::Refresh { 0 } else { self.since_refresh.saturating_add(1) };
            self.since_record = if urgency == Urgency::Record { 0 } else { self.since_record.saturating_add(1) };
            return Next::Poll { slot, late: now.saturating_sub(due) };
        }
        let next = Urgency::ALL.into_iter().filter_map(|urgency| self.first(urgency)).min();
        next.map_or(Next::Idle, |(due, _)| Next::At(due))
    }

    fn order(&self, now: Duration) -> [Urgency; 5] {
        let (late, interval) = self.oldest_refresh(now).unwrap_or_default();
        // Sooner it gives way: a burst of deadlines is over soon, and each of them is promised within seconds; and of
        // an execution that was never asked for less is known.
        let stale = late > self.max_staleness.saturating_sub(interval * 2).max(interval);
        match (self.since_refresh, self.since_record) {
            (BEFORE_REFRESH.., _) if stale => Urgency::STALE,
            (_, BEFORE_RECORD..) => Urgency::LAST,
            (1.., _) if late > interval => Urgency::LATE,
            _ => Urgency::ALL,
        }
    }

    /// How late the refresh is that waits longest, and its interval.
    fn oldest_refresh(&self, now: Duration) -> Option<(Duration, Duration)> {
        let (due, slot) = self.first(Urgency::Refresh)?;
        Some((now.saturating_sub(due), self.interval(slot)?))
    }

    fn first(&self, urgency: Urgency) -> Option<(Duration, Slot)> {
        self.queues[urgency as usize].first().map(|(due, _, slot)| (*due, *slot))
    }

    /// What listings could help with, where `per_second` calls are made.
    pub fn pressure(&self, now: Duration, per_second: f64) -> Pressure {
        let late = self.oldest_refresh(now).is_some_and(|(late, interval)| late > interval);
        let more_than = |urgency: Urgency, seconds: f64| {
            let due = self.queues[urgency as usize].iter().take_while(|(due, ..)| *due <= now);
            due.take((per_second * seconds) as usize + 1).count() > (per_second * seconds) as usize
        };
        Pressure {
            behind: late || more_than(Urgency::New, BEHIND_SECONDS),
            crowded: more_than(Urgency::Deadline, CROWDED_SECONDS),
        }
    }

    /// A poll has ended: plans the next one. `phase`, from 0 to 1, places the second poll of an execution within
    /// its interval, so that a first pass at full speed does not come back as a wave.
    pub fn polled(&mut self, slot: Slot, observed: Observed, phase: f64, now: Duration) {
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        let pause = if entry.polled { entry.interval } else { entry.interval.mul_f64(phase.clamp(0.1, 1.0)) };
        self.unasked -= usize::from(!entry.polled);
        entry.polled = true;
        entry.shown |= !matches!(observed, Observed::Failed | Observed::NotFound);
        entry.calling = false;
        self.observed(slot, observed, pause, now);
    }

    /// A listing has seen it. If no poll has shown it yet, the timeout is still to be asked: of an open one, which may
    /// run into its deadline, sooner than of one that has ended. Otherwise the next poll is only a safety net, for when
    /// the listings fail to see it again `within` this time.
    pub fn sighted(&mut self, slot: Slot, observed: Observed, within: Duration, now: Duration) {
        let Some(entry) = self.entries.get(&slot).filter(|entry| !entry.calling) else { return };
        let waits_as = entry.steps.planned.map(|(urgency, _)| urgency);
        match (entry.shown, observed) {
            (true, _) => self.observed(slot, observed, within, now),
            (false, Observed::Open { .. }) if waits_as != Some(Urgency::Detail) => {
                self.plan(slot, Steps::at(now, Urgency::Detail));
            }
            (false, Observed::Final) if waits_as != Some(Urgency::Record) => {
                self.plan(slot, Steps::at(now, Urgency::Record));
            }
            (false, _) => {}
        }
    }

    /// Listings do not see it any more: it is asked for alone again. `phase` as in [`Schedule::polled`].
    pub fn uncovered(&mut self, slot: Slot, phase: f64, now: Duration) {
        let Some(entry) = self.entries.get(&slot) else { return };
        if let Some((Urgency::Refresh, due)) = entry.steps.planned {
            let soon = now + entry.interval.mul_f64(phase.clamp(0.0, 1.0));
            let steps = Steps { planned: Some((Urgency::Refresh, due.min(soon))), ..entry.steps };
            self.plan(slot, steps);
        }
    }

    /// Plans the next poll of what was seen: after `pause`, if it is open and no deadline is near.
    fn observed(&mut self, slot: Slot, observed: Observed, pause: Duration, now: Duration) {
        let slow = self.interval(slot).map_or(pause, |interval| self.slow(interval));
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        entry.missed = if observed == Observed::NotFound { entry.missed.saturating_add(1) } else { 0 };
        let steps = match observed {
            Observed::Open { until_deadline } => {
                let left = until_deadline.and_then(|millis| u64::try_from(millis).ok());
                entry.deadline = left.map(|millis| now.saturating_add(Duration::from_millis(millis)));
                after_open(until_deadline, pause, entry.interval, now)
            }
            Observed::Failed => {
                let left = entry.deadline.and_then(|deadline| deadline.checked_sub(now));
                let left = left.map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
                after_open(left, pause, entry.interval, now)
            }
            Observed::TimedOut => Steps::at(now + slow.max(pause), Urgency::Refresh),
            Observed::NotFound => {
                let times = 1_u32.checked_shl(entry.missed.saturating_sub(1)).map_or(SLOW, |times| times.min(SLOW));
                Steps::at(now + pause * times, Urgency::Refresh)
            }
            Observed::Final => Steps::default(),
        };
        self.plan(slot, steps);
    }

    /// Takes these steps next, in place of those that were planned.
    fn plan(&mut self, slot: Slot, steps: Steps) {
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        for (urgency, due) in std::mem::replace(&mut entry.steps, steps).places() {
            self.queues[urgency as usize].remove(&place(due, slot));
        }
        for (urgency, due) in steps.places() {
            self.queues[urgency as usize].insert(place(due, slot));
        }
    }
}

/// The next steps for an open execution: after `pause`, and just after the deadline; and, past the deadline, after
/// pauses that begin short and double up to the interval, whoever sees it otherwise. The deadline is so many
/// milliseconds away, and may lie before the clock's start.
fn after_open(until_deadline: Option<i64>, pause: Duration, interval: Duration, now: Duration) -> Steps {
    let Some(millis) = until_deadline else { return Steps::at(now + pause, Urgency::Refresh) };
    let distance = Duration::from_millis(millis.unsigned_abs());
    let (aimed, pause) = match millis {
        0.. => (distance.saturating_add(DEADLINE_GRACE), pause),
        _ if distance < DEADLINE_GRACE => (DEADLINE_GRACE - distance, interval),
        _ => (distance.max(OVERDUE_PAUSE), interval),
    };
    let aim = Some(now.saturating_add(aimed)).filter(|_| millis >= 0 || aimed < pause);
    Steps { aimed: aim, planned: (aimed >= pause).then_some((Urgency::Refresh, now + pause)) }
}
