//! Who is asked next, within one account and Region. Pure: no clock, no I/O; the present comes in as a
//! [`Duration`] since some start of a monotonic clock, so that jumps of the wall clock do not matter.
//!
//! Every tracked execution has one next poll, waiting or due. Of the due ones, those aimed at a deadline go first
//! (each execution has only one, so they cannot starve the others for ever), then those never polled, then the
//! refreshes, oldest first; and every `REFRESH_SHARE`th call goes to a refresh whatever else is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashMap;

use crate::store::Slot;

/// Of this many calls under overload, one refreshes an execution that is known already, once it is late.
const REFRESH_SHARE: u32 = 4;

/// How long after a deadline the call that is aimed at it starts: the service needs a moment to flip the status.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// The first pause before an execution past its deadline that still looks open is asked again; it doubles up to the
/// interval.
const OVERDUE_PAUSE: Duration = Duration::from_secs(2);

/// Executions that hardly ever change again, timed out by the service or not found, are asked this many times less
/// often.
const SLOW: u32 = 10;

/// An execution that listings see is asked for alone once it was not seen for this many intervals.
const SAFETY_NET: u32 = 2;

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

/// The schedule of one account and Region.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: HashMap<Slot, Entry>,
    waiting: BinaryHeap<Reverse<(Duration, Slot, u32)>>,
    due: [BinaryHeap<Reverse<(Duration, Slot, u32)>>; 3],
    since_refresh: u32,
    unasked: usize,
    max_staleness: Duration,
}

/// Why an execution is polled next: the order in which due ones are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Deadline,
    New,
    Refresh,
}

#[derive(Debug)]
struct Entry {
    interval: Duration,
    /// Where it is known and has not passed when last seen.
    deadline: Option<Duration>,
    /// Polls answered by 404 in a row.
    missed: u32,
    polled: bool,
    calling: bool,
    urgency: Urgency,
    /// Entries of the heaps with another version are out of date.
    version: u32,
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
            calling: false,
            urgency: Urgency::New,
            version: 0,
        };
        self.entries.insert(slot, entry);
        self.unasked += 1;
        self.plan(slot, now, Urgency::New);
    }

    /// Forgets an execution.
    pub fn untrack(&mut self, slot: Slot) {
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

    /// How often an execution is to be seen once the service has timed it out: sooner than it is asked for alone.
    pub fn slow_interval(&self, slot: Slot) -> Option<Duration> {
        self.entries.get(&slot).map(|entry| self.slow(entry.interval) * 4 / 5)
    }

    fn slow(&self, interval: Duration) -> Duration {
        (interval * SLOW).min((self.max_staleness / 2).max(interval))
    }

    /// Something has changed that only a poll explains: it is due now. One that is being polled already is not asked
    /// again for it.
    pub fn urge(&mut self, slot: Slot, now: Duration) {
        if self.entries.get(&slot).is_some_and(|entry| entry.polled && !entry.calling) {
            self.plan(slot, now, Urgency::New);
        }
    }

    /// How many executions have not been asked yet.
    pub fn unasked(&self) -> usize {
        self.unasked
    }

    /// The next poll to start. One that is returned is not returned again before [`Schedule::polled`].
    pub fn next(&mut self, now: Duration) -> Next {
        self.move_due(now);
        let refresh_first = self.since_refresh + 1 >= REFRESH_SHARE && self.refresh_is_late(now);
        let order = if refresh_first { [2, 0, 1] } else { [0, 1, 2] };
        for class in order {
            while let Some(Reverse((due, slot, version))) = self.due[class].pop() {
                if let Some(entry) = self.entries.get_mut(&slot).filter(|entry| entry.version == version) {
                    entry.calling = true;
                    self.since_refresh = if class == 2 { 0 } else { self.since_refresh + 1 };
                    return Next::Poll { slot, late: now.saturating_sub(due) };
                }
            }
        }
        match self.waiting.peek() {
            Some(Reverse((due, ..))) => Next::At(*due),
            None => Next::Idle,
        }
    }

    /// Whether the refresh that waits longest is late by more than its interval. Sooner it gives way: a burst of
    /// deadlines is over soon, and each of them is promised within seconds.
    fn refresh_is_late(&self, now: Duration) -> bool {
        let Some(Reverse((due, slot, _))) = self.due[Urgency::Refresh as usize].peek() else { return false };
        self.entries.get(slot).is_none_or(|entry| now.saturating_sub(*due) > entry.interval)
    }

    /// A poll has ended: plans the next one. `phase`, from 0 to 1, places the second poll of an execution within
    /// its interval, so that a first pass at full speed does not come back as a wave.
    pub fn polled(&mut self, slot: Slot, observed: Observed, phase: f64, now: Duration) {
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        let interval = if entry.polled { entry.interval } else { entry.interval.mul_f64(phase.clamp(0.1, 1.0)) };
        self.unasked -= usize::from(!entry.polled);
        entry.polled = true;
        entry.calling = false;
        self.observed(slot, observed, interval, now);
    }

    /// A listing has seen it: the next poll is only a safety net, for when the listings fail to see it again.
    pub fn sighted(&mut self, slot: Slot, observed: Observed, now: Duration) {
        let waiting = self.entries.get(&slot).filter(|entry| entry.polled && !entry.calling);
        if let Some(interval) = waiting.map(|entry| entry.interval) {
            self.observed(slot, observed, interval * SAFETY_NET, now);
        }
    }

    fn observed(&mut self, slot: Slot, observed: Observed, interval: Duration, now: Duration) {
        let slow = self.entries.get(&slot).map_or(interval, |entry| self.slow(entry.interval));
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        entry.missed = if observed == Observed::NotFound { entry.missed.saturating_add(1) } else { 0 };
        let plan = match observed {
            Observed::Open { until_deadline } => {
                let left = until_deadline.and_then(|millis| u64::try_from(millis).ok());
                entry.deadline = left.map(|millis| now.saturating_add(Duration::from_millis(millis)));
                Some(after_open(until_deadline, interval, now))
            }
            Observed::Failed => {
                let left = entry.deadline.and_then(|deadline| deadline.checked_sub(now));
                let left = left.map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
                Some(after_open(left, interval, now))
            }
            Observed::TimedOut => Some((now + slow, Urgency::Refresh)),
            Observed::NotFound => {
                let times = 1_u32.checked_shl(entry.missed.saturating_sub(1)).map_or(SLOW, |times| times.min(SLOW));
                Some((now + interval * times, Urgency::Refresh))
            }
            Observed::Final => None,
        };
        if let Some((due, urgency)) = plan {
            self.plan(slot, due, urgency);
        }
    }

    fn plan(&mut self, slot: Slot, due: Duration, urgency: Urgency) {
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.version = entry.version.wrapping_add(1);
            entry.urgency = urgency;
            self.waiting.push(Reverse((due, slot, entry.version)));
        }
    }

    fn move_due(&mut self, now: Duration) {
        while let Some(Reverse((due, slot, version))) = self.waiting.peek().copied() {
            let current = self.entries.get(&slot).filter(|entry| entry.version == version);
            match current {
                Some(entry) if due <= now => self.due[entry.urgency as usize].push(Reverse((due, slot, version))),
                Some(_) => return,
                None => {}
            }
            self.waiting.pop();
        }
    }
}

/// The next poll of an open execution: after the interval; just after the deadline where that is sooner; and, past
/// the deadline, after pauses that begin short and double. The deadline is so many milliseconds away, and may lie
/// before the clock's start.
fn after_open(until_deadline: Option<i64>, interval: Duration, now: Duration) -> (Duration, Urgency) {
    let pause = until_deadline.map(|millis| {
        let distance = Duration::from_millis(millis.unsigned_abs());
        match millis {
            0.. => distance.saturating_add(DEADLINE_GRACE),
            _ if distance < DEADLINE_GRACE => DEADLINE_GRACE - distance,
            _ => distance.max(OVERDUE_PAUSE),
        }
    });
    match pause {
        Some(pause) if pause < interval => (now + pause, Urgency::Deadline),
        _ => (now + interval, Urgency::Refresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const OPEN: Observed = Observed::Open { until_deadline: None };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn slot(index: u32) -> Slot {
        Slot::new(index, 0)
    }

    fn one() -> Schedule {
        let mut schedule = Schedule::new(Duration::from_secs(600));
        schedule.track(slot(0), INTERVAL, at(0.0));
        assert_eq!(schedule.next(at(0.0)), Next::Poll { slot: slot(0), late: Duration::ZERO });
        schedule.polled(slot(0), OPEN, 1.0, at(0.0));
        schedule
    }

    fn next_after(observed: Observed) -> Next {
        let mut schedule = one();
        assert!(matches!(schedule.next(at(30.0)), Next::Poll { .. }));
        schedule.polled(slot(0), observed, 1.0, at(30.0));
        schedule.next(at(30.0))
    }

    #[test]
    fn the_next_poll_depends_on_what_was_seen() {
        let cases = [
            (OPEN, Next::At(at(60.0))),
            (Observed::Open { until_deadline: Some(10_000) }, Next::At(at(41.0))),
            (Observed::Open { until_deadline: Some(29_500) }, Next::At(at(60.0))),
            (Observed::Open { until_deadline: Some(-1_000) }, Next::At(at(32.0))),
            (Observed::Open { until_deadline: Some(-8_000) }, Next::At(at(38.0))),
            (Observed::Open { until_deadline: Some(-3_600_000) }, Next::At(at(60.0))),
            (Observed::Open { until_deadline: Some(i64::MIN) }, Next::At(at(60.0))),
            (Observed::Open { until_deadline: Some(i64::MAX) }, Next::At(at(60.0))),
            (Observed::TimedOut, Next::At(at(330.0))),
            (Observed::NotFound, Next::At(at(60.0))),
            (Observed::Failed, Next::At(at(60.0))),
            (Observed::Final, Next::Idle),
        ];
        for (observed, next) in cases {
            assert_eq!(next_after(observed), next, "{observed:?}");
        }
    }

    #[test]
    fn what_was_overdue_long_before_the_start_is_nothing_urgent() {
        let mut schedule = one();
        schedule.next(at(30.0));
        schedule.polled(slot(0), Observed::Open { until_deadline: Some(-60_000) }, 1.0, at(30.0));
        assert_eq!(schedule.next(at(30.0)), Next::At(at(60.0)));
    }

    #[test]
    fn service_time_outs_stay_fresher_than_the_limit_of_staleness() {
        let mut schedule = one();
        schedule.set_max_staleness(Duration::from_secs(100));
        schedule.next(at(30.0));
        schedule.polled(slot(0), Observed::TimedOut, 1.0, at(30.0));
        assert_eq!(schedule.next(at(30.0)), Next::At(at(80.0)));
    }

    #[test]
    fn what_is_not_found_is_asked_less_and_less() {
        let mut schedule = one();
        let mut now = at(30.0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(matches!(schedule.next(now), Next::Poll { .. }));
            schedule.polled(slot(0), Observed::NotFound, 1.0, now);
            let Next::At(due) = schedule.next(now) else { panic!("it is planned") };
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300, 300]);
    }

    #[test]
    fn a_failed_poll_keeps_the_aim_at_the_deadline() {
        let mut schedule = one();
        schedule.next(at(30.0));
        schedule.polled(slot(0), Observed::Open { until_deadline: Some(40_000) }, 1.0, at(30.0));
        assert_eq!(schedule.next(at(60.0)), Next::Poll { slot: slot(0), late: Duration::ZERO });
        schedule.polled(slot(0), Observed::Failed, 1.0, at(60.0));
        assert_eq!(schedule.next(at(60.0)), Next::At(at(71.0)));
    }

    #[test]
    fn one_that_is_being_polled_or_was_removed_is_not_returned() {
        let mut schedule = one();
        assert!(matches!(schedule.next(at(31.0)), Next::Poll { late, .. } if late == at(1.0)));
        assert_eq!(schedule.next(at(500.0)), Next::Idle);
        schedule.polled(slot(0), OPEN, 1.0, at(500.0));
        schedule.track(slot(1), INTERVAL, at(500.0));
        schedule.untrack(slot(1));
        schedule.untrack(slot(0));
        assert_eq!((schedule.next(at(900.0)), schedule.unasked()), (Next::Idle, 0));
        schedule.polled(slot(0), OPEN, 1.0, at(900.0));
        assert_eq!(schedule.next(at(9_000.0)), Next::Idle);
        assert!(schedule.is_empty());
    }

    #[test]
    fn deadlines_go_first_then_new_ones_and_refreshes_are_not_starved() {
        let mut schedule = Schedule::new(Duration::from_secs(600));
        for index in 0..2 {
            schedule.track(slot(index), INTERVAL, at(0.0));
        }
        schedule.next(at(0.0));
        schedule.next(at(0.0));
        schedule.polled(slot(0), OPEN, 1.0, at(0.0));
        schedule.polled(slot(1), Observed::Open { until_deadline: Some(5_000) }, 1.0, at(0.0));
        for index in 10..20 {
            schedule.track(slot(index), INTERVAL, at(1.0));
        }
        let order: Vec<u32> = (0..6)
            .map(|_| match schedule.next(at(70.0)) {
                Next::Poll { slot, .. } => slot.index(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [1, 0, 10, 11, 12, 13], "two new ones, the deadline, and then the refresh has its turn");
    }

    #[test]
    fn the_second_poll_is_placed_within_the_interval() {
        let mut schedule = Schedule::new(Duration::from_secs(600));
        schedule.track(slot(0), INTERVAL, at(0.0));
        assert_eq!(schedule.unasked(), 1);
        schedule.next(at(0.0));
        schedule.polled(slot(0), OPEN, 0.5, at(0.0));
        assert_eq!(schedule.unasked(), 0);
        assert_eq!(schedule.next(at(0.0)), Next::At(at(15.0)));
    }
}
