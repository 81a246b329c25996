//! What is worth listing, and when, within one account and Region. Pure, like [`crate::schedule`].
//!
//! One page of `ListCommandExecutions` says of up to 100 executions whether anything has changed, where
//! `GetCommandExecution` says it of one. A command is listed while that takes fewer calls than asking for each of its
//! open executions; whatever a configuration wants discovered is listed anyway. A listing begins at the creation of
//! the oldest execution that is still open, since a filter by status is refused for commands. Executions that the
//! service has timed out are listed in the same way, but seldom: only a late report can change them.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;

use crate::execution::{CommandArn, Timestamp};
use crate::source::ListBy;
use crate::store::Slot;

/// What a page holds at the most.
const PAGE: usize = 100;

/// A listing must save this share of the calls before it replaces single ones, so that small changes do not toggle
/// it: 5 calls for 4.
const WORTH: (usize, usize) = (5, 4);

/// So few are asked one by one all the same: a Get costs little then, and tells more, lastUpdatedAt and the reason.
const FEW: usize = 5;

/// How long a listing that failed, or is refused, is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
const AFTER_REFUSAL: Duration = Duration::from_secs(600);

/// A discovery looks this far behind its last pass: the filter has whole minutes, and listings lag.
const OVERLAP_MILLIS: i64 = 120_000;

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
    /// From when on.
    pub since: Timestamp,
    /// Executions created since then may be new; those before it have been found by an earlier pass, or are too old.
    pub found_since: Timestamp,
    /// Which page; `None` is the first.
    pub next_token: Option<String>,
}

/// Which executions are to be seen by listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open ones, once an interval.
    Open,
    /// Those that the service has timed out, seldom.
    TimedOut,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A page, and where the next begins.
    Page(Option<String>),
    /// Too many calls: the same page is asked for again, as soon as the lowered rate allows.
    Throttled,
    /// The service does not allow it.
    Refused,
    /// Anything else.
    Failed,
}

/// The listings of one account and Region.
#[derive(Debug, Default)]
pub struct Listings {
    jobs: HashMap<ListBy, Job>,
    refused: bool,
    /// Where each execution is counted.
    members: HashMap<Slot, (CommandArn, Timestamp, Kind)>,
}

/// Executions of one kind that a listing is to show.
#[derive(Debug, Default)]
struct Group {
    /// By creation.
    members: BTreeSet<(Timestamp, Slot)>,
    /// How often they are to be seen.
    interval: Duration,
    /// Whether the last decision was to list them.
    worthwhile: bool,
}

impl Group {
    /// Whether to list them instead of asking for each, if a pass has so many pages.
    fn decide(&mut self, pages: Option<usize>) {
        let pages = pages.unwrap_or_else(|| self.members.len().div_ceil(PAGE)).max(1);
        let (more, fewer) = if self.worthwhile { (1, 1) } else { WORTH };
        self.worthwhile = self.members.len() > FEW && self.members.len() * fewer > pages * more;
    }
}

#[derive(Debug, Default)]
struct Job {
    lookout: Option<Lookout>,
    open: Group,
    timed_out: Group,
    /// Pages of the last whole pass.
    pages: Option<usize>,
    /// When the last whole pass began.
    began: Option<Duration>,
    /// After a failure.
    not_before: Duration,
    calling: bool,
    pass: Option<Pass>,
    /// Whether a pass has ended, well or not.
    tried: bool,
    /// Up to when a whole pass has found what there is.
    found_until: Option<Timestamp>,
}

/// A pass under way.
#[derive(Clone, Debug)]
struct Pass {
    since: Timestamp,
    found_since: Timestamp,
    began: Duration,
    began_at: Timestamp,
    next_token: Option<String>,
    pages: usize,
}

impl Job {
    fn group(&self, kind: Kind) -> &Group {
        match kind {
            Kind::Open => &self.open,
            Kind::TimedOut => &self.timed_out,
        }
    }

    fn group_mut(&mut self, kind: Kind) -> &mut Group {
        match kind {
            Kind::Open => &mut self.open,
            Kind::TimedOut => &mut self.timed_out,
        }
    }

    fn worthwhile(&self) -> impl Iterator<Item = &Group> {
        [&self.open, &self.timed_out].into_iter().filter(|group| group.worthwhile)
    }

    fn is_unused(&self) -> bool {
        self.lookout.is_none() && self.open.members.is_empty() && self.timed_out.members.is_empty()
    }

    fn wanted(&self) -> bool {
        self.lookout.is_some() || self.worthwhile().next().is_some()
    }

    fn every(&self) -> Duration {
        let lookout = self.lookout.map(|lookout| lookout.interval);
        let groups = self.worthwhile().map(|group| group.interval);
        lookout.into_iter().chain(groups).min().unwrap_or(AFTER_FAILURE)
    }

    /// When the next pass is to begin. What has begun to be worth a listing since the last one changes it.
    fn due(&self) -> Duration {
        self.not_before.max(self.began.map_or(Duration::ZERO, |began| began + self.every()))
    }

    /// From when on there may be executions that are to be discovered.
    fn found_since(&self, now_at: Timestamp) -> Timestamp {
        match (self.lookout, self.found_until) {
            (None, _) => now_at,
            (Some(_), Some(until)) => Timestamp::from_millis(until.millis().saturating_sub(OVERLAP_MILLIS)),
            (Some(lookout), None) => {
                let lookback = i64::try_from(lookout.lookback.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now_at.millis().saturating_sub(lookback))
            }
        }
    }

    /// The creation of the oldest execution that is to be seen.
    fn oldest(&self) -> Option<Timestamp> {
        self.worthwhile().filter_map(|group| group.members.first()).map(|(created, _)| *created).min()
    }
}

impl Listings {
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

    /// An execution of this command, created then, is of this kind, and is to be seen so often.
    pub fn watch(&mut self, slot: Slot, command: &CommandArn, created: Timestamp, kind: Kind, interval: Duration) {
        let known = self.members.get(&slot);
        if known.is_some_and(|(name, at, before)| name == command && *at == created && *before == kind) {
            return;
        }
        self.closed(slot);
        self.members.insert(slot, (command.clone(), created, kind));
        let job = self.jobs.entry(ListBy::Command(command.clone())).or_default();
        let pages = job.pages;
        let group = job.group_mut(kind);
        group.interval = if group.members.is_empty() { interval } else { group.interval.min(interval) };
        group.members.insert((created, slot));
        if !group.worthwhile {
            group.decide(pages);
        }
    }

    /// An execution is final, or no longer tracked.
    pub fn closed(&mut self, slot: Slot) {
        let Some((command, created, kind)) = self.members.remove(&slot) else { return };
        let by = ListBy::Command(command);
        if let Some(job) = self.jobs.get_mut(&by) {
            let pages = job.pages;
            let group = job.group_mut(kind);
            group.members.remove(&(created, slot));
            group.decide(pages);
            if job.is_unused() && !job.calling {
                self.jobs.remove(&by);
            }
        }
    }

    /// How many discoveries have not ended a first pass, well or not.
    pub fn unfinished(&self) -> usize {
        self.jobs.values().filter(|job| job.lookout.is_some() && !job.tried).count()
    }

    /// Listing is not allowed; answers whether that is news.
    pub fn refuse(&mut self) -> bool {
        !std::mem::replace(&mut self.refused, true)
    }

    /// Whether this execution is seen by listing, so that asking for it alone is only a safety net.
    pub fn covers(&self, slot: Slot) -> bool {
        let Some((command, _, kind)) = self.members.get(&slot) else { return false };
        let job = self.jobs.get(&ListBy::Command(command.clone()));
        job.is_some_and(|job| job.group(*kind).worthwhile && job.pages.is_some())
    }

    /// The next call to make, or when there will be one. A job that is returned waits for [`Listings::answered`].
    pub fn next(&mut self, now: Duration, now_at: Timestamp) -> Result<Call, Option<Duration>> {
        let ready = self.jobs.iter_mut().filter(|(_, job)| job.wanted() && !job.calling);
        // The one that waits longest; a pass under way is finished first, so that its pages are of one age.
        let Some((by, job)) = ready.min_by_key(|(_, job)| (job.pass.is_none(), job.due())) else { return Err(None) };
        if job.pass.is_none() && job.due() > now {
            return Err(Some(job.due()));
        }
        let found_since = job.found_since(now_at);
        let since = job.oldest().map_or(found_since, |oldest| oldest.min(found_since));
        let first = || Pass { since, found_since, began: now, began_at: now_at, next_token: None, pages: 0 };
        let Pass { since, found_since, next_token, .. } = job.pass.get_or_insert_with(first).clone();
        let call = Call { by: by.clone(), since, found_since, next_token };
        job.calling = true;
        Ok(call)
    }

    /// A call has ended. Answers whether it was the last of a whole pass.
    pub fn answered(&mut self, by: &ListBy, answer: Answer, now: Duration) -> bool {
        let Some(job) = self.jobs.get_mut(by) else { return false };
        job.calling = false;
        let Some(mut pass) = job.pass.take() else { return false };
        match answer {
            Answer::Page(next_token) => {
                pass.pages += 1;
                if next_token.is_some() {
                    pass.next_token = next_token;
                    job.pass = Some(pass);
                    return false;
                }
                job.pages = Some(pass.pages);
                job.tried = true;
                job.found_until = Some(pass.began_at);
                job.began = Some(pass.began);
                job.open.decide(job.pages);
                job.timed_out.decide(job.pages);
                true
            }
            Answer::Throttled => {
                job.pass = Some(pass);
                false
            }
            Answer::Refused | Answer::Failed => {
                let refused = answer == Answer::Refused;
                job.tried = true;
                job.not_before = now + if refused { AFTER_REFUSAL } else { AFTER_FAILURE };
                // Until a pass succeeds, the executions are asked for one by one.
                job.pages = None;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const NOW: Timestamp = Timestamp::from_millis(10_000_000);

    fn command(name: &str) -> CommandArn {
        CommandArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:command/{name}")).expect("well-formed")
    }

    fn by(name: &str) -> ListBy {
        ListBy::Command(command(name))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn open(listings: &mut Listings, name: &str, slots: std::ops::Range<u32>) {
        for index in slots {
            let created = Timestamp::from_millis(9_000_000 + i64::from(index));
            listings.watch(Slot::new(index, 0), &command(name), created, Kind::Open, INTERVAL);
        }
    }

    fn pages(listings: &mut Listings, name: &str, count: usize, now: Duration) {
        for page in 1..=count {
            let call = listings.next(now, NOW).expect("a call");
            assert_eq!(call.by, by(name));
            let token = (page < count).then(|| format!("token {page}"));
            assert_eq!(listings.answered(&by(name), Answer::Page(token), now), page == count);
        }
    }

    #[test]
    fn a_command_is_listed_once_that_takes_fewer_calls() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..1);
        assert_eq!(listings.next(at(0), NOW), Err(None), "one Get is as good as one page");
        open(&mut listings, "reboot", 1..300);
        assert!(!listings.covers(Slot::new(0, 0)), "no pass has shown yet what it takes");
        let call = listings.next(at(0), NOW).expect("a call");
        let since = Timestamp::from_millis(9_000_000);
        assert_eq!(call, Call { by: by("reboot"), since, found_since: NOW, next_token: None });
        assert_eq!(listings.next(at(0), NOW), Err(None), "one page at a time");
        listings.answered(&by("reboot"), Answer::Page(Some("+/=".into())), at(1));
        assert_eq!(listings.next(at(1), NOW).expect("a call").next_token.as_deref(), Some("+/="));
        listings.answered(&by("reboot"), Answer::Page(None), at(2));
        assert!(listings.covers(Slot::new(0, 0)));
        assert_eq!(listings.next(at(2), NOW), Err(Some(at(30))), "from start to start");
    }

    #[test]
    fn few_open_among_many_ended_are_asked_one_by_one() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..300);
        pages(&mut listings, "reboot", 3, at(0));
        for index in 0..297 {
            listings.closed(Slot::new(index, 0));
        }
        assert!(!listings.covers(Slot::new(299, 0)), "three pages for three executions save nothing");
        assert_eq!(listings.next(at(60), NOW), Err(None));
    }

    #[test]
    fn time_outs_of_the_service_are_listed_as_seldom_as_they_are_asked_for() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..300);
        pages(&mut listings, "reboot", 3, at(0));
        for index in 0..300 {
            let created = Timestamp::from_millis(9_000_000 + i64::from(index));
            listings.watch(Slot::new(index, 0), &command("reboot"), created, Kind::TimedOut, at(240));
        }
        assert!(listings.covers(Slot::new(0, 0)));
        assert_eq!(listings.next(at(30), NOW), Err(Some(at(240))));
        assert_eq!(listings.next(at(240), NOW).expect("a call").since, Timestamp::from_millis(9_000_000));
        listings.answered(&by("reboot"), Answer::Page(None), at(241));
        for index in 0..300 {
            listings.closed(Slot::new(index, 0));
        }
        assert_eq!(listings.next(at(900), NOW), Err(None), "nothing can change any more");
    }

    #[test]
    fn a_throttled_page_is_asked_for_again_and_the_pass_goes_on() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..300);
        pages(&mut listings, "reboot", 3, at(0));
        let first = listings.next(at(30), NOW).expect("a call");
        listings.answered(&by("reboot"), Answer::Throttled, at(31));
        assert_eq!(listings.next(at(31), NOW), Ok(first));
        assert!(listings.covers(Slot::new(0, 0)));
    }

    #[test]
    fn a_refusal_is_left_alone_and_covers_nobody() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..300);
        pages(&mut listings, "reboot", 3, at(0));
        assert!(listings.next(at(30), NOW).is_ok());
        listings.answered(&by("reboot"), Answer::Refused, at(31));
        assert!(!listings.covers(Slot::new(0, 0)));
        assert_eq!(listings.next(at(32), NOW), Err(Some(at(631))));
    }

    #[test]
    fn a_discovery_reaches_back_once_and_then_only_to_its_last_pass() {
        let mut listings = Listings::default();
        let lookout = Lookout { interval: INTERVAL, lookback: at(5_000) };
        listings.set_lookouts([(by("reboot"), lookout)]);
        assert_eq!(listings.next(at(0), NOW).expect("a call").since, Timestamp::from_millis(5_000_000));
        listings.answered(&by("reboot"), Answer::Page(None), at(1));
        let later = Timestamp::from_millis(10_030_000);
        assert_eq!(listings.next(at(30), later).expect("a call").since, Timestamp::from_millis(10_000_000 - 120_000));
        listings.set_lookouts([]);
        assert_eq!(listings.next(at(90), later), Err(None));
    }

    #[test]
    fn the_longest_waiting_goes_first_and_a_pass_is_finished_before_another_begins() {
        let mut listings = Listings::default();
        open(&mut listings, "reboot", 0..300);
        pages(&mut listings, "reboot", 3, at(0));
        open(&mut listings, "update", 300..600);
        pages(&mut listings, "update", 3, at(10));
        let call = listings.next(at(41), NOW).expect("a call");
        assert_eq!(call.by, by("reboot"), "due at 30, the other at 40");
        listings.answered(&by("reboot"), Answer::Page(Some("2".into())), at(41));
        assert_eq!(listings.next(at(41), NOW).expect("a call").by, by("reboot"));
    }
}
