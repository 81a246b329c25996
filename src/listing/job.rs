//! The listings of one command, or of one target: which of its passes is due when.

use std::time::Duration;

use super::group::Group;
use super::pass::{Pass, Task};
use super::{AFTER_FAILURE, AFTER_REFUSAL, Kind, Lookout, PAGE, Seen};
use crate::execution::Timestamp;
use crate::source::Since;

/// Passes that are to show something once an interval begin this much sooner: what has just been missed is shown
/// by the next, and the pages and the calls take time, too.
const PACE: f64 = 0.8;

/// A discovery looks this far behind its last pass: the filter has whole minutes, and listings lag.
const DISCOVERY_OVERLAP_MILLIS: i64 = 120_000;

/// A listing of ends looks this far behind the latest end that the one before knew of: listings lag.
const ENDS_OVERLAP_MILLIS: i64 = 20_000;

/// The first listing of a command looks this far behind the execution by which the command became known.
const FIRST_REACH_MILLIS: i64 = 600_000;

/// Whole passes are worth their calls while one of so many pages shows an execution that has moved on without an end.
const PAGES_PER_MOVE: f64 = 8.0;

/// Once all that can change has been timed out by the service, ends are listed this many times less often.
const LATE_REPORTS: u32 = 5;

/// A page of a sweep is asked for once so many deadlines on it have passed.
const SWEEP_WORTH: usize = 6;

/// How long after a deadline the service can be expected to have flipped the status.
const SWEEP_GRACE_MILLIS: i64 = 1_000;

/// A sweep that has had nothing to ask for so long is over.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// Whole passes are never further apart than so many intervals.
const RAREST: u32 = 10;

/// After so many failures in a row the executions are asked for one by one.
const FAILURES: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) lookout: Option<Lookout>,
    open: Group,
    timed_out: Group,
    /// Pages of the last whole pass.
    pages: Option<usize>,
    /// When the last pass began that showed every execution, every new one, every end.
    whole_began: Option<Duration>,
    new_began: Option<Duration>,
    ends_began: Option<Duration>,
    /// After how long a whole pass is expected to show enough to be worth its calls.
    whole_wanted: Duration,
    /// The latest end that the service has told of, in its own time.
    latest_end: Option<Timestamp>,
    /// Up to when all ends have been listed.
    ends_until: Option<Timestamp>,
    /// Up to when a pass has found what there is.
    found_until: Option<Timestamp>,
    /// After a failure.
    not_before: Duration,
    ends_not_before: Duration,
    failures: u32,
    pub(super) calling: bool,
    started: Option<Pass>,
    ends: Option<Pass>,
    sweep: Option<Pass>,
    /// Whether a pass has ended, well or not.
    pub(super) tried: bool,
}

impl Job {
    pub(super) fn group(&self, kind: Kind) -> &Group {
        match kind {
            Kind::Open => &self.open,
            Kind::TimedOut => &self.timed_out,
        }
    }

    pub(super) fn group_mut(&mut self, kind: Kind) -> &mut Group {
        match kind {
            Kind::Open => &mut self.open,
            Kind::TimedOut => &mut self.timed_out,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.lookout.is_none() && self.open.len() + self.timed_out.len() == 0 && !self.calling
    }

    /// Every execution that is watched.
    pub(super) fn slots(&self) -> impl Iterator<Item = crate::store::Slot> {
        self.open.slots().chain(self.timed_out.slots())
    }

    /// Decides anew which executions are worth listing.
    pub(super) fn decide(&mut self, behind: bool, max_staleness: Duration) {
        let open = self.open.len() as f64;
        let share = self.open.interval().as_secs_f64() / longest(max_staleness, self.open.interval()).as_secs_f64();
        // One listing of ends an interval, and whole passes as seldom as may be.
        self.open.decide(self.pages, behind, |pages| match pages {
            1 => 1.0,
            _ => 1.0 + (open / PAGE as f64).max(pages as f64 * share),
        });
        self.timed_out.decide(self.pages, behind, |pages| pages as f64);
    }

    /// Within which time listings show an execution of this kind again, however rare its passes become and though one
    /// of them fails; `None` if they do not.
    pub(super) fn covers(&self, kind: Kind, max_staleness: Duration) -> Option<Duration> {
        let group = self.group(kind);
        let rarest = match kind {
            Kind::Open => longest(max_staleness, group.interval()).mul_f64(1.8),
            Kind::TimedOut => max_staleness.mul_f64(0.9).max(group.interval()),
        };
        (group.is_worthwhile() && self.failures < FAILURES).then_some(rarest)
    }

    /// A command that many unasked executions may belong to is listed once, to see.
    fn is_probed(&self, behind: bool) -> bool {
        behind && self.pages.is_none() && self.failures == 0 && self.open.len() > 0
    }

    /// Whether whole passes leave the ends to listings of their own.
    fn lists_ends(&self, now: Duration) -> bool {
        self.pages.is_some_and(|pages| pages > 1) && now >= self.ends_not_before
    }

    /// How far apart whole passes are: an interval, but where ends are listed by themselves, and pages hold many
    /// ended executions, no more calls than pages full of open ones would take, unless the passes show many that
    /// have moved on.
    fn whole_period(&self, now: Duration, max_staleness: Duration) -> Duration {
        let shortest = self.open.interval().mul_f64(PACE);
        match self.pages {
            Some(pages) if self.lists_ends(now) && self.open.len() > 0 => {
                let full = shortest.mul_f64((pages * PAGE) as f64 / self.open.len() as f64);
                let longest = full.min(longest(max_staleness, self.open.interval())).max(shortest);
                self.whole_wanted.clamp(shortest, longest)
            }
            _ => shortest,
        }
    }

    fn whole_due(&self, now: Duration, behind: bool, max_staleness: Duration) -> Option<Duration> {
        let open = (self.open.is_worthwhile() || self.is_probed(behind)).then(|| self.whole_period(now, max_staleness));
        let timed_out = self.timed_out.is_worthwhile().then(|| max_staleness.mul_f64(PACE));
        let period = [open, timed_out].into_iter().flatten().min()?;
        Some(self.whole_began.map_or(Duration::ZERO, |began| began + period))
    }

    fn new_due(&self) -> Option<Duration> {
        let lookout = self.lookout?;
        Some(self.new_began.map_or(Duration::ZERO, |began| began + lookout.interval))
    }

    fn ends_period(&self) -> Option<Duration> {
        match (self.open.is_worthwhile(), self.timed_out.is_worthwhile()) {
            (true, _) => Some(self.open.interval().mul_f64(PACE)),
            (false, true) => Some(self.timed_out.interval() * LATE_REPORTS),
            (false, false) => None,
        }
    }

    fn ends_due(&self, now: Duration) -> Option<Duration> {
        let period = self.ends_period().filter(|_| self.lists_ends(now))?;
        // A whole pass shows the ends, too.
        let whole = self.started.as_ref().filter(|pass| pass.whole).map(|pass| pass.began);
        Some(self.ends_began.max(self.whole_began).max(whole).map_or(Duration::ZERO, |began| began + period))
    }

    /// When this task is to be gone on with or begun, and by when it should be done: of those that are due, the one
    /// with the earliest end goes first.
    pub(super) fn turn(&self, task: Task, at: &Moment) -> Option<(Duration, Duration)> {
        let &Moment { now, behind, max_staleness, .. } = at;
        let turn = match task {
            Task::Sweep => {
                let under_way = self.sweep.as_ref();
                let wanted = under_way.is_some() || at.crowded && self.open.is_worthwhile();
                let worth = wanted && self.overdue(at, under_way).nth(SWEEP_WORTH - 1).is_some();
                worth.then_some((Duration::ZERO, Duration::ZERO))?
            }
            Task::Ends => {
                let whole = self.whole_due(now, behind, max_staleness).filter(|_| self.started.is_none());
                let period = self.ends_period().unwrap_or_default();
                let due = match &self.ends {
                    Some(pass) => pass.began,
                    // A whole pass that is due, or as good as due, shows the ends, too.
                    None => self.ends_due(now).filter(|due| whole.is_none_or(|whole| *due + period / 4 < whole))?,
                };
                (due, due + period / 2)
            }
            Task::Started => match &self.started {
                Some(pass) => (pass.began, pass.began + self.whole_period(now, max_staleness)),
                None => {
                    let dues = [self.whole_due(now, behind, max_staleness), self.new_due()];
                    let due = dues.into_iter().flatten().min()?;
                    (due, due + self.open.interval().mul_f64(PACE) / 2)
                }
            },
        };
        Some((turn.0.max(self.not_before), turn.1))
    }

    fn overdue(&self, at: &Moment, pass: Option<&Pass>) -> impl Iterator<Item = Timestamp> {
        let end = Timestamp::from_millis(at.now_at.millis().saturating_sub(SWEEP_GRACE_MILLIS));
        self.open.overdue(end, pass.and_then(|pass| pass.cursor))
    }

    /// Begins or goes on with a task.
    pub(super) fn begin(&mut self, task: Task, at: &Moment) -> Pass {
        self.calling = true;
        match task {
            Task::Sweep => {
                let oldest = self.overdue(at, None).min().unwrap_or(at.now_at);
                let first = Pass::new(Since::Started(oldest), at.now, at.now_at, None);
                self.sweep.get_or_insert(first).clone()
            }
            Task::Ends => {
                let until = self.ends_until.unwrap_or(at.now_at).millis().saturating_sub(ENDS_OVERLAP_MILLIS);
                let since = Since::Completed(Timestamp::from_millis(until));
                let first = Pass::new(since, at.now, at.now_at, self.latest_end);
                self.ends.get_or_insert(first).clone()
            }
            Task::Started => {
                let first = self.first_started(at);
                self.started.get_or_insert(first).clone()
            }
        }
    }

    /// A pass over what has been created: the whole of it where that is due, else only what may be new.
    fn first_started(&self, at: &Moment) -> Pass {
        let whole = self.whole_due(at.now, at.behind, at.max_staleness).is_some_and(|due| due <= at.now);
        let groups = [&self.open, &self.timed_out];
        let seen = groups.into_iter().filter(|group| group.is_worthwhile() || self.is_probed(at.behind));
        let reach = if self.pages.is_none() { FIRST_REACH_MILLIS } else { 0 };
        let oldest = seen.filter_map(Group::oldest).min();
        let oldest = oldest.map(|oldest| Timestamp::from_millis(oldest.millis().saturating_sub(reach)));
        let finds = self.lookout.map(|lookout| self.found_since(lookout, at.now_at));
        let since = oldest.filter(|_| whole).into_iter().chain(finds).min().unwrap_or(at.now_at);
        let whole = oldest.is_some_and(|oldest| since <= oldest);
        Pass { finds, whole, ..Pass::new(Since::Started(since), at.now, at.now_at, self.latest_end) }
    }

    /// From when on there may be executions that are to be discovered.
    fn found_since(&self, lookout: Lookout, now_at: Timestamp) -> Timestamp {
        let (from, reach) = match self.found_until {
            Some(until) => (until, DISCOVERY_OVERLAP_MILLIS),
            None => (now_at, i64::try_from(lookout.lookback.as_millis()).unwrap_or(i64::MAX)),
        };
        Timestamp::from_millis(from.millis().saturating_sub(reach))
    }

    fn pass_mut(&mut self, task: Task) -> &mut Option<Pass> {
        match task {
            Task::Started => &mut self.started,
            Task::Ends => &mut self.ends,
            Task::Sweep => &mut self.sweep,
        }
    }

    /// A page has come.
    pub(super) fn page(&mut self, task: Task, next_token: Option<String>, seen: &Seen, now: Duration) {
        self.failures = 0;
        let Some(mut pass) = self.pass_mut(task).take() else { return };
        // A time in the future, which no report can have, must not hide the ends to come.
        let now_at = pass.began_at.millis().saturating_add(millis(now - pass.began));
        self.latest_end = self.latest_end.max(seen.ended.filter(|ended| ended.millis() <= now_at));
        if pass.page(next_token, seen, now) {
            self.passed(task, &pass);
        } else {
            *self.pass_mut(task) = Some(pass);
        }
    }

    /// A pass has come to its end.
    fn passed(&mut self, task: Task, pass: &Pass) {
        if task == Task::Ends {
            self.ends_began = Some(pass.began);
        }
        if task == Task::Ends || pass.whole {
            // Whatever ended after the latest end that was known at the beginning may have been missed. Where none was
            // known, the machine's clock says when that was, unless the service's is seen to be behind it.
            let first = || self.latest_end.map_or(pass.began_at, |end| end.min(pass.began_at));
            self.ends_until = self.ends_until.max(Some(pass.known_end.unwrap_or_else(first)));
        }
        if pass.finds.is_some() {
            (self.new_began, self.found_until, self.tried) = (Some(pass.began), Some(pass.began_at), true);
        }
        if pass.whole {
            let since = self.whole_began.map_or(Duration::ZERO, |before| pass.began - before);
            let enough = pass.pages as f64 / PAGES_PER_MOVE / pass.moved.max(1) as f64;
            let wanted = if pass.moved == 0 { Duration::MAX } else { since.mul_f64(enough) };
            self.whole_wanted = if self.whole_began.is_none() { Duration::ZERO } else { wanted };
            self.whole_began = Some(pass.began);
            self.pages = Some(pass.pages);
        }
    }

    /// A call has failed, or was refused; answers whether the executions are no longer covered.
    pub(super) fn failed(&mut self, task: Task, refused: bool, now: Duration) -> bool {
        *self.pass_mut(task) = None;
        self.tried = true;
        let before = self.failures;
        self.failures = if refused { FAILURES } else { (before + 1).min(FAILURES) };
        self.not_before = now
            + match self.failures {
                _ if refused => AFTER_REFUSAL,
                // What it covers is not asked for otherwise until it has failed again.
                ..FAILURES if self.open.is_worthwhile() => AFTER_FAILURE.min(self.open.interval().mul_f64(PACE)),
                _ => AFTER_FAILURE,
            };
        before < FAILURES && self.failures >= FAILURES
    }

    /// The service does not take the filter: whole passes must do.
    pub(super) fn ends_are_refused(&mut self, now: Duration) {
        self.ends = None;
        self.ends_not_before = now + AFTER_REFUSAL;
    }

    /// A sweep that waits in vain is over.
    pub(super) fn tidy(&mut self, now: Duration) {
        if self.sweep.as_ref().is_some_and(|pass| !self.calling && now > pass.page_at + SWEEP_PATIENCE) {
            self.sweep = None;
        }
    }
}

/// The present, and what it asks of listings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Duration,
    pub(super) now_at: Timestamp,
    pub(super) behind: bool,
    pub(super) crowded: bool,
    pub(super) max_staleness: Duration,
}

/// However little a whole pass shows, open executions are seen this often.
fn longest(max_staleness: Duration, interval: Duration) -> Duration {
    (interval * RAREST).min(max_staleness / 2).max(interval)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
