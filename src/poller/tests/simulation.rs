//! One virtual hour of random lives, faults, reloads and jumps of the wall clock, with a quiet end; and what must hold
//! all the time, and at the end. `POLLER_SEEDS` says how many such hours are run, `POLLER_FIRST_SEED` with which seed
//! they begin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fake::{Act, Asked, Bench, WALL, key, millis, plan};
use crate::execution::{ExecutionKey, Failure, FailureReason, Reason, Scope, Snapshot, Status, Timestamp};
use crate::plan::Plan;
use crate::store::State;

const SEEDS: u64 = 4;
const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-south-1"];
const EXECUTIONS: usize = 25;

/// From here on there are no faults.
const QUIET: f64 = 2400.0;
const END: f64 = 3600.0;

/// An open execution is asked for at least this often, throttled, hanging and reloading as it may be: the slow pace
/// of what is not found, one call that is cut off, and a queue at the lowest rate.
const PATIENCE: f64 = 600.0 + 15.0 + 110.0;

/// The same while nothing fails: an interval, and a short queue.
const QUIET_SLACK: f64 = 15.0;

/// Numbers that repeat themselves (SplitMix64).
#[derive(Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).unsigned_abs()) as i64
    }
}

/// All that ever happens to an execution, in milliseconds since the start of the test.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) born: i64,
    timeout_seconds: i64,
    started: i64,
    /// The device's own report, in time or late; `None` if it stays silent.
    pub(super) report: Option<(i64, Status)>,
    /// The service forgets it.
    pub(super) gone: i64,
}

impl Life {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let born = if dice.chance(80) { dice.between(-7_200_000, 0) } else { dice.between(0, 3_000_000) };
        let timeout_seconds = [10, 60, 600, 1800, 7200][dice.below(5) as usize];
        let started = born + dice.between(0, timeout_seconds * 500);
        let end = Status::ENDS[dice.below(4) as usize];
        let report = dice.chance(75).then(|| (started + dice.between(0, timeout_seconds * 900), end));
        let gone = if dice.chance(15) { dice.between(0, 3_600_000) } else { i64::MAX };
        Self { born, timeout_seconds, started, report, gone }
    }

    /// What the service says at this moment; `None` is a 404.
    pub(super) fn at(&self, now: i64) -> Option<Snapshot> {
        if now < self.born || now >= self.gone {
            return None;
        }
        let wall = |millis: i64| Some(Timestamp::from_millis(WALL + millis));
        let snapshot = |status, updated| Snapshot {
            status,
            created: wall(self.born),
            timeout_seconds: Some(self.timeout_seconds),
            last_updated: wall(updated),
            ..Snapshot::with_status(status)
        };
        let flip = self.born + self.timeout_seconds * 1000 + 700;
        Some(match self.report {
            Some((at, status)) if now >= at => Snapshot { completed: wall(at), ..snapshot(status, at) },
            _ if now >= flip => {
                Snapshot { reason: Reason::new(Reason::NO_RESPONSE), ..snapshot(Status::TimedOut, flip) }
            }
            _ if now >= self.started => snapshot(Status::InProgress, self.started),
            _ => snapshot(Status::Created, self.born),
        })
    }
}

/// What the fake knows and has said.
struct World {
    dice: Dice,
    lives: HashMap<ExecutionKey, Life>,
    /// Raised whenever an execution is removed or added.
    epochs: HashMap<ExecutionKey, u32>,
    /// In which epoch it has been said to be terminal, and when that answer arrives.
    terminal: HashMap<ExecutionKey, (u32, i64)>,
    last_answer: HashMap<ExecutionKey, Snapshot>,
    /// Until then calls to a Region fail like this.
    outages: HashMap<Scope, (i64, u64)>,
    broken: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let keys = REGIONS.into_iter().flat_map(|region| (0..EXECUTIONS).map(move |number| key(region, number)));
        let lives = keys.map(|key| (key, Life::new(&mut dice))).collect();
        let (epochs, terminal, last_answer) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { dice, lives, epochs, terminal, last_answer, outages: HashMap::new(), broken: Vec::new() }
    }

    fn epoch(&self, key: &ExecutionKey) -> u32 {
        self.epochs.get(key).copied().unwrap_or_default()
    }

    fn answer(&mut self, asked: &Asked) -> Act {
        let now = millis(asked.at);
        let epoch = self.epoch(&asked.key);
        if let Some((_, since)) = self.terminal.get(&asked.key).filter(|(then, since)| *then == epoch && now > *since) {
            self.broken.push(format!("{} asked at {now} although terminal since {since}", asked.key));
        }
        let quiet = asked.at.as_secs_f64() >= QUIET;
        let delay = if quiet { 0 } else { self.dice.between(0, 3000) };
        let after = Duration::from_millis(delay.unsigned_abs());
        if !quiet && let Some(fault) = self.fault(&asked.key.target.scope(), now) {
            return fault.unwrap_or_else(|reason| Act::Answer(after, Err(Failure::new(reason, "random"))));
        }
        // The service answers at once; the answer takes its time.
        match self.lives[&asked.key].at(now) {
            Some(snapshot) => {
                if snapshot.is_terminal() {
                    self.terminal.insert(asked.key.clone(), (epoch, now + delay));
                }
                self.last_answer.insert(asked.key.clone(), snapshot.clone());
                Act::Answer(after, Ok(snapshot))
            }
            None => Act::Answer(after, Err(Failure::new(FailureReason::NotFound, "it does not exist"))),
        }
    }

    /// A fault for one call: by the outage of its Region, or by chance.
    fn fault(&mut self, scope: &Scope, now: i64) -> Option<Result<Act, FailureReason>> {
        if self.dice.below(400) == 0 {
            let (length, kind) = (self.dice.between(1_000, 300_000), self.dice.below(10));
            self.outages.insert(scope.clone(), (now + length, kind));
        }
        let outage = self.outages.get(scope).filter(|(end, _)| now < *end).map(|(_, kind)| *kind);
        let kind = outage.or_else(|| self.dice.chance(8).then(|| self.dice.below(10)))?;
        Some(match kind {
            0 => Ok(Act::Hang),
            1 => Ok(Act::Panic),
            2 => Err(FailureReason::NotFound),
            3..6 => Err(FailureReason::Throttled),
            6 => Err(FailureReason::Connect),
            7 => Err(FailureReason::Credentials),
            8 => Err(FailureReason::Malformed),
            _ => Err(FailureReason::Server),
        })
    }
}

/// What the configuration says, and has said.
struct Orders {
    dice: Dice,
    tracked: HashMap<ExecutionKey, (u64, f64)>,
    rate: f64,
    concurrency: usize,
    /// Since when which rate and concurrency are in force.
    limits: Vec<(f64, f64, usize)>,
}

impl Orders {
    fn new(seed: u64) -> Self {
        let (rate, concurrency) = (0.0, 0);
        Self { dice: Dice(!seed), tracked: HashMap::new(), rate, concurrency, limits: Vec::new() }
    }

    /// Another plan: some executions come, some go, one of each Region stays.
    fn change(&mut self, world: &mut World, now: f64) -> Plan {
        self.rate = self.dice.between(60, 200) as f64 / 10.0;
        self.concurrency = self.dice.between(4, 16).unsigned_abs() as usize;
        self.limits.push((now, self.rate, self.concurrency));
        for (region, number) in REGIONS.into_iter().flat_map(|region| (0..EXECUTIONS).map(move |n| (region, n))) {
            let key = key(region, number);
            let known = self.tracked.contains_key(&key);
            if known && number > 0 && self.dice.chance(10) {
                self.tracked.remove(&key);
            } else if !known && (now == 0.0 || self.dice.chance(60)) {
                self.tracked.insert(key.clone(), (self.dice.between(10, 60).unsigned_abs(), now));
            } else {
                continue;
            }
            *world.epochs.entry(key).or_default() += 1;
        }
        let mut plan = plan(self.tracked.iter().map(|(key, (interval, _))| (key.clone(), *interval)));
        plan.limits.get_requests_per_second = self.rate;
        plan.limits.concurrency = self.concurrency;
        plan
    }

    /// The highest rate in force at any time between these.
    fn rate_between(&self, from: f64, to: f64) -> f64 {
        let next = |index: usize| self.limits.get(index + 1).map_or(f64::MAX, |limit| limit.0 + 0.001);
        let limits = self.limits.iter().enumerate().filter(|(index, limit)| limit.0 <= to && next(*index) >= from);
        limits.map(|(_, limit)| limit.1).fold(0.0, f64::max)
    }
}

#[test]
fn nothing_breaks_in_an_hour_of_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("POLLER_FIRST_SEED").unwrap_or(1);
    for seed in first..first + number("POLLER_SEEDS").unwrap_or(SEEDS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let broken = runtime.expect("a runtime").block_on(hour(seed));
        assert!(broken.is_empty(), "seed {seed}: {} broken:\n{}", broken.len(), broken.join("\n"));
    }
}

/// What is broken after one hour.
async fn hour(seed: u64) -> Vec<String> {
    let world = Arc::new(Mutex::new(World::new(seed)));
    let told = Arc::clone(&world);
    let bench = Bench::new(move |asked| told.lock().expect("not poisoned").answer(asked));
    let mut orders = Orders::new(seed);
    let first = orders.change(&mut world.lock().expect("not poisoned"), 0.0);
    bench.follow(first).await;
    let mut late = Vec::new();
    let (mut now, mut reload, mut jump) = (0.0, 300.0, 200.0);
    while now < END {
        now += 20.0;
        bench.until(now).await;
        if now > reload && now < QUIET {
            reload = now + orders.dice.between(100, 500) as f64;
            let plan = orders.change(&mut world.lock().expect("not poisoned"), now);
            bench.follow(plan).await;
        }
        if now > jump {
            jump = now + orders.dice.between(60, 300) as f64;
            bench.jump(if now < QUIET { orders.dice.between(-3_600_000, 3_600_000) } else { 0 });
        }
        if bench.progress.heartbeat_age() > Duration::from_secs(1) {
            late.push(format!("no heartbeat at {now}"));
        }
    }
    for _ in 0..10 {
        // What has been answered is recorded.
        tokio::task::yield_now().await;
    }
    let world = world.lock().expect("not poisoned");
    let mut broken = world.broken.clone();
    broken.extend(late);
    broken.extend(limits(&bench, &orders));
    broken.extend(orders.tracked.iter().flat_map(|(key, order)| freshness(&bench, &world, key, *order)));
    if bench.store.len() != orders.tracked.len() {
        broken.push(format!("{} of {} executions in the store", bench.store.len(), orders.tracked.len()));
    }
    broken
}

/// Rate and concurrency, Region by Region.
fn limits(bench: &Bench, orders: &Orders) -> Vec<String> {
    let asked = bench.asked();
    let mut broken = Vec::new();
    for region in REGIONS {
        let mine = asked.iter().filter(|asked| asked.key.target.region() == region);
        let times: Vec<f64> = mine.map(|asked| asked.at.as_secs_f64()).collect();
        for (index, start) in times.iter().enumerate() {
            let within = times[index..].iter().take_while(|time| **time - start < 0.9999).count();
            let limit = orders.rate_between(*start, start + 1.0);
            if within as f64 > limit.ceil() {
                broken.push(format!("{within} calls in {region} in the second from {start}, at most {limit}"));
            }
        }
        let most = orders.limits.iter().map(|limit| limit.2).max().unwrap_or_default();
        let in_flight = bench.most_in_flight(&key(region, 0).target.scope());
        if in_flight > most {
            broken.push(format!("{in_flight} calls at the same time in {region}, at most {most}"));
        }
    }
    broken
}

/// How often this execution was asked for, and whether the store knows what became of it.
fn freshness(bench: &Bench, world: &World, key: &ExecutionKey, (interval, since): (u64, f64)) -> Vec<String> {
    let mut broken = Vec::new();
    let truth = world.lives[key].at(millis(Duration::from_secs_f64(END)));
    let known = bench.snapshot(key);
    let state = bench.state(key);
    let final_now = world.terminal.get(key).is_some_and(|(epoch, _)| *epoch == world.epoch(key));
    let times: Vec<f64> = bench.times(key).into_iter().filter(|time| *time >= since).collect();
    let last = times.last().copied().unwrap_or(since);
    let mut moments = vec![since];
    moments.extend(&times);
    if !final_now {
        moments.push(END);
    }
    for pair in moments.windows(2).filter(|pair| pair[1] - pair[0] > PATIENCE) {
        broken.push(format!("{key} not asked for between {} and {}", pair[0], pair[1]));
    }
    if known.is_some() && known.as_ref() != world.last_answer.get(key) {
        broken.push(format!("{key} is {known:?}, the last answer was {:?}", world.last_answer.get(key)));
    }
    if final_now {
        if state != Some(State::Terminal) {
            broken.push(format!("{key} is terminal, not {state:?}"));
        }
        return broken;
    }
    let (missing, timed_out) = ((interval * 10) as f64, (interval * 10).min(300) as f64);
    let due = match truth.as_ref().map(|truth| truth.status) {
        None => missing,
        // It may just have come out of a slow spell; but then it has been asked for since.
        Some(_) if state == Some(State::NotFound) => missing,
        Some(Status::TimedOut) => timed_out,
        Some(_) if known.as_ref().is_none_or(|known| known.is_ended()) => timed_out,
        Some(_) => interval as f64,
    };
    if END - last > due + QUIET_SLACK {
        broken.push(format!("{key} last asked for at {last}, {due} s at most: {truth:?}"));
    }
    // What has not changed since the last time that it must have been asked for is known.
    let settled = world.lives[key].at(millis(Duration::from_secs_f64(END - due - QUIET_SLACK)));
    if settled == truth {
        let agrees = match &truth {
            None => matches!(state, Some(State::NotFound | State::Unpolled)),
            Some(truth) => known.as_ref() == Some(truth) && bench.failure(key).is_none(),
        };
        if !agrees {
            broken.push(format!("{key} is {truth:?}; known as {state:?}, {known:?}, {:?}", bench.failure(key)));
        }
    }
    broken
}
