//! One virtual hour of commands of many executions, seen by listings that lag, fail, are throttled and refused, with a
//! quiet end; and what must be known then. `POLLER_SEEDS` and `POLLER_FIRST_SEED` as in [`super::simulation`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fake::{Act, Asked, Bench, Listed, key, millis, most_in_a_second, plan};
use super::simulation::{Dice, Life};
use crate::execution::{CommandArn, ExecutionKey, Failure, FailureReason, Reason, Snapshot, Status, Timestamp};
use crate::source::{ListBy, Page, Since, Summary};

const SEEDS: u64 = 6;
const REGION: &str = "eu-central-1";
const INTERVAL: u64 = 30;

/// From here on there are no faults: long enough before the end for a refused listing to be tried again.
const QUIET: i64 = 2_200_000;
const END: i64 = 3_600_000;

/// An end is seen within an interval, and a queue.
const SOON: i64 = 45_000;
/// Whatever happens without an end is seen by then: nine tenths of `max_staleness`, and a queue.
const LATE: i64 = 570_000;

/// The service's pages are small here, so that there are many.
const PAGE: usize = 10;

struct World {
    dice: Dice,
    /// By execution: its command, and what becomes of it.
    lives: HashMap<ExecutionKey, (CommandArn, Life)>,
    /// Until then listings fail like this.
    outage: (i64, u64),
    /// When a Get has shown that it is terminal.
    done: HashMap<ExecutionKey, i64>,
    broken: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut lives = HashMap::new();
        for command in 0..3 {
            let arn = format!("arn:aws:iot:{REGION}:123456789012:command/c{command}");
            let arn = CommandArn::parse(&arn).expect("well-formed");
            for _ in 0..dice.between(1, 150) {
                let mut life = Life::new(&mut dice);
                life.gone = i64::MAX;
                lives.insert(key(REGION, lives.len()), (arn.clone(), life));
            }
        }
        Self { dice, lives, outage: (0, 0), done: HashMap::new(), broken: Vec::new() }
    }

    fn truth(&self, key: &ExecutionKey, now: i64) -> Option<Snapshot> {
        let (command, life) = &self.lives[key];
        let snapshot = life.at(now)?;
        let unhappy = snapshot.is_terminal() && snapshot.status != Status::Succeeded;
        let reason = if unhappy { Reason::new("DEVICE_TOO_BUSY") } else { snapshot.reason.clone() };
        Some(Snapshot { command: Some(command.clone()), reason, ..snapshot })
    }

    fn get(&mut self, asked: &Asked) -> Act {
        let now = millis(asked.at);
        if let Some(since) = self.done.get(&asked.key).filter(|since| now > **since + 1000) {
            self.broken.push(format!("{} asked at {now}, terminal since {since}", asked.key));
        }
        if now < QUIET && self.dice.chance(5) {
            let reasons = [FailureReason::Server, FailureReason::Throttled, FailureReason::Timeout];
            return Act::fail(reasons[self.dice.below(3) as usize]);
        }
        let Some(snapshot) = self.truth(&asked.key, now) else { return Act::fail(FailureReason::NotFound) };
        if snapshot.is_terminal() {
            self.done.insert(asked.key.clone(), now);
        }
        Act::ok(snapshot)
    }

    fn list(&mut self, listed: &Listed) -> Result<Page<Summary>, Failure> {
        let now = millis(listed.at);
        if now < QUIET
            && let Some(reason) = self.fault(listed.since, now)
        {
            return Err(Failure::new(reason, "random"));
        }
        let seen_at = if now < QUIET { now - self.dice.between(0, 8_000) } else { now };
        let ListBy::Command(command) = &listed.by else { unreachable!("nothing is discovered by target") };
        let mine = self.lives.iter().filter(|(_, (arn, _))| arn == command);
        let mut all: Vec<(Timestamp, ExecutionKey, Snapshot)> = mine
            .filter_map(|(key, _)| {
                let snapshot = self.truth(key, seen_at)?;
                let (time, since) = match listed.since {
                    Since::Started(since) => (snapshot.created?, since),
                    Since::Completed(since) => (snapshot.completed?, since),
                };
                (time.millis() >= since.millis().div_euclid(60_000) * 60_000).then(|| (time, key.clone(), snapshot))
            })
            .collect();
        all.sort_by(|(one, a, _), (other, b, _)| (one, a).cmp(&(other, b)));
        // Every third page is empty, and yet not the last.
        let page: usize = listed.next_token.as_deref().map_or(0, |token| token[3..].parse().expect("a token of ours"));
        let (full, from) = (page % 3 != 1, page.div_ceil(3) * 2 * PAGE - if page % 3 == 2 { PAGE } else { 0 });
        let items = all.iter().skip(from).take(if full { PAGE } else { 0 });
        let items: Vec<Summary> = items.map(|(_, key, snapshot)| summary(key, snapshot)).collect();
        let more = if full { from + PAGE < all.len() } else { from < all.len() };
        Ok(Page { items, next_token: more.then(|| format!("+/={}", page + 1)) })
    }

    fn fault(&mut self, since: Since, now: i64) -> Option<FailureReason> {
        if now >= self.outage.0 && self.dice.below(60) == 0 {
            self.outage = (now + self.dice.between(1_000, 400_000), self.dice.below(5));
        }
        let kind = (now < self.outage.0).then_some(self.outage.1);
        match kind.or_else(|| self.dice.chance(4).then(|| self.dice.below(3)))? {
            0 => Some(FailureReason::Server),
            1 => Some(FailureReason::Throttled),
            2 => Some(FailureReason::Timeout),
            3 => Some(FailureReason::AccessDenied),
            _ => matches!(since, Since::Completed(_)).then_some(FailureReason::InvalidRequest),
        }
    }
}

fn summary(key: &ExecutionKey, snapshot: &Snapshot) -> Summary {
    Summary {
        key: key.clone(),
        command: snapshot.command.clone(),
        status: snapshot.status,
        created: snapshot.created,
        completed: snapshot.completed,
    }
}

#[test]
fn listings_that_fail_hide_nothing_for_long() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("POLLER_FIRST_SEED").unwrap_or(1);
    let mut listed = 0;
    for seed in first..first + number("POLLER_SEEDS").unwrap_or(SEEDS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (broken, pages) = runtime.expect("a runtime").block_on(hour(seed));
        assert!(broken.is_empty(), "seed {seed}: {} broken:\n{}", broken.len(), broken.join("\n"));
        listed += pages;
    }
    assert!(listed > 0, "nothing was ever listed");
}

/// What is broken after one hour, and how many pages were listed.
async fn hour(seed: u64) -> (Vec<String>, usize) {
    let world = Arc::new(Mutex::new(World::new(seed)));
    let (gets, lists) = (Arc::clone(&world), Arc::clone(&world));
    let bench = Bench::new(move |asked| gets.lock().expect("not poisoned").get(asked));
    bench.list(move |listed| lists.lock().expect("not poisoned").list(listed));
    let keys: Vec<ExecutionKey> = world.lock().expect("not poisoned").lives.keys().cloned().collect();
    bench.follow(plan(keys.iter().map(|key| (key.clone(), INTERVAL)))).await;
    bench.until(END as f64 / 1000.0).await;
    for _ in 0..10 {
        // What has been answered is recorded.
        tokio::task::yield_now().await;
    }
    let world = world.lock().expect("not poisoned");
    let mut broken = world.broken.clone();
    broken.extend(keys.iter().filter_map(|key| fault(&world, key, bench.snapshot(key))));
    let listed = bench.listed();
    let times: Vec<Duration> = listed.iter().map(|listed| listed.at).collect();
    if most_in_a_second(&times) > 5 {
        broken.push(format!("{} pages in a second", most_in_a_second(&times)));
    }
    (broken, listed.len())
}

/// What is wrong with what is known of an execution.
fn fault(world: &World, key: &ExecutionKey, known: Option<Snapshot>) -> Option<String> {
    let (truth, soon, late) = (world.truth(key, END), world.truth(key, END - SOON), world.truth(key, END - LATE));
    let Some(truth) = truth else { return known.map(|known| format!("{key} does not exist, known as {known:?}")) };
    let state = |snapshot: &Snapshot| (snapshot.status, snapshot.completed, snapshot.reason.clone());
    let same = |before: &Option<Snapshot>| before.as_ref().is_some_and(|before| state(before) == state(&truth));
    // It must be known as it is if it has ended some time ago, or has been as it is for long.
    let settled = truth.is_ended() && same(&soon) || same(&late);
    if !settled {
        return None;
    }
    let wrong = |what: &str| Some(format!("{key}: {what}, it is {truth:?}, known as {known:?}"));
    let Some(known) = known.as_ref() else { return wrong("unknown") };
    match () {
        () if state(known) != state(&truth) => wrong("outdated"),
        () if known.timeout_seconds != truth.timeout_seconds => wrong("no timeout"),
        () => None,
    }
}
