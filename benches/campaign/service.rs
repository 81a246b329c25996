//! The control plane as the exporter sees it, in memory: answers, quotas, latency, and a book of the calls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use aws_iot_command_exporter::execution::{
    CommandArn, ExecutionKey, Failure, FailureReason, Scope, Snapshot, Timestamp,
};
use aws_iot_command_exporter::source::{ListBy, Page, Since, Source, Summary};
use tokio::time::{Instant, sleep};

use super::fleet::{Dice, Life, WALL, wall};

/// `maxResults` of a listing.
const PAGE: usize = 100;

/// How the service treats its callers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    /// Calls of this account get no answer.
    pub(crate) hangs: Option<&'static str>,
    /// ListCommandExecutions is refused.
    pub(crate) list_denied: bool,
    /// Another client takes half of the quota.
    pub(crate) neighbour: bool,
    /// Listings show what was true so many milliseconds ago.
    pub(crate) lag: i64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Get,
    List,
}

impl Kind {
    /// The default quota of an account and Region, in calls a second.
    const fn quota(self) -> f64 {
        match self {
            Self::Get => 20.0,
            Self::List => 10.0,
        }
    }
}

/// The calls of one account by operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) starts: Vec<Duration>,
    pub(crate) throttled: u64,
}

impl Calls {
    /// The most calls in any one second, to the left closed.
    pub(crate) fn most_in_a_second(&self) -> usize {
        let mut from = 0;
        let mut most = 0;
        for (index, start) in self.starts.iter().enumerate() {
            while self.starts[from] + Duration::from_secs(1) <= *start {
                from += 1;
            }
            most = most.max(index + 1 - from);
        }
        most
    }
}

/// The service, and all that it was asked.
pub(crate) struct Service {
    start: Instant,
    manners: Manners,
    lives: Vec<Life>,
    by_key: HashMap<ExecutionKey, usize>,
    /// By command, sorted by creation.
    by_command: HashMap<CommandArn, Vec<usize>>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    buckets: HashMap<(Scope, Kind), Bucket>,
    calls: HashMap<(Scope, Kind), Calls>,
    /// Executions that a Get has shown to be terminal.
    shown_terminal: Vec<bool>,
    needless: u64,
}

struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Service {
    pub(crate) fn new(lives: Vec<Life>, manners: Manners, seed: u64) -> Self {
        let by_key = lives.iter().enumerate().map(|(index, life)| (life.key.clone(), index)).collect();
        let mut by_command: HashMap<CommandArn, Vec<usize>> = HashMap::new();
        for (index, life) in lives.iter().enumerate() {
            by_command.entry(life.command.clone()).or_default().push(index);
        }
        for indices in by_command.values_mut() {
            indices.sort_by_key(|index| lives[*index].created);
        }
        let state = State {
            dice: Dice(seed),
            buckets: HashMap::new(),
            calls: HashMap::new(),
            shown_terminal: vec![false; lives.len()],
            needless: 0,
        };
        Self { start: Instant::now(), manners, lives, by_key, by_command, state: Mutex::new(state) }
    }

    pub(crate) fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// Milliseconds since the beginning.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).expect("some hours")
    }

    pub(crate) fn calls(&self, scope: &Scope, kind: Kind) -> Calls {
        self.lock().calls.get(&(scope.clone(), kind)).cloned().unwrap_or_default()
    }

    /// How many Gets were made about executions that a Get had shown to be terminal.
    pub(crate) fn needless(&self) -> u64 {
        self.lock().needless
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    /// A call comes in: books it, and answers with the time that it takes each way, or a throttling.
    async fn admit(&self, scope: Scope, kind: Kind) -> Result<Duration, Failure> {
        let (admitted, way) = {
            let now = self.start.elapsed();
            let mut state = self.lock();
            let way = Duration::from_secs_f64(0.025 + 0.05 * state.dice.unit());
            let refill = if self.manners.neighbour { kind.quota() / 2.0 } else { kind.quota() };
            let bucket = state.buckets.entry((scope.clone(), kind)).or_insert(Bucket { tokens: kind.quota(), at: now });
            let gained = refill * (now - bucket.at).as_secs_f64();
            *bucket = Bucket { tokens: (bucket.tokens + gained).min(kind.quota()), at: now };
            let admitted = bucket.tokens >= 1.0;
            bucket.tokens -= f64::from(u8::from(admitted));
            let calls = state.calls.entry((scope.clone(), kind)).or_default();
            calls.starts.push(now);
            calls.throttled += u64::from(!admitted);
            (admitted, way)
        };
        if self.manners.hangs == Some(&*scope.account_id) {
            sleep(Duration::from_secs(10)).await;
            return Err(Failure::new(FailureReason::Timeout, "it hangs"));
        }
        sleep(way).await;
        if admitted {
            return Ok(way);
        }
        sleep(way).await;
        Err(Failure::new(FailureReason::Throttled, "ThrottlingException"))
    }

    fn summary(&self, index: usize, now: i64) -> Option<Summary> {
        let life = &self.lives[index];
        let (status, _) = life.status(now)?;
        Some(Summary {
            key: life.key.clone(),
            command: Some(life.command.clone()),
            status,
            created: Some(wall(life.created)),
            completed: life.completed(now).map(wall),
        })
    }

    fn page(&self, by: &ListBy, since: Since, next_token: Option<&str>, now: i64) -> Page<Summary> {
        let ListBy::Command(command) = by else { unreachable!("no campaign lists by target") };
        // The filters have whole minutes.
        let after = |time: Timestamp| time.millis().div_euclid(60_000) * 60_000 - WALL;
        let all = self.by_command.get(command).map(Vec::as_slice).unwrap_or_default();
        let mut shown: Vec<(i64, usize)> = match since {
            Since::Started(time) => all
                .iter()
                .map(|index| (self.lives[*index].created, *index))
                .filter(|(at, _)| *at >= after(time))
                .collect(),
            Since::Completed(time) => {
                let ended = all.iter().filter_map(|index| Some((self.lives[*index].completed(now)?, *index)));
                ended.filter(|(at, _)| *at >= after(time)).collect()
            }
        };
        shown.sort_unstable();
        let from = next_token
            .map_or(0, |token| token.trim_start_matches("from+/").parse().expect("a token that was given out"));
        let page = shown.iter().skip(from).take(PAGE);
        let items = page.filter_map(|(_, index)| self.summary(*index, now)).collect();
        let to = from + PAGE;
        Page { items, next_token: (to < shown.len()).then(|| format!("from+/{to}")) }
    }
}

impl Source for Service {
    async fn get_execution(&self, key: &ExecutionKey) -> Result<Snapshot, Failure> {
        let index = self.by_key.get(key).copied();
        if let Some(index) = index {
            let mut state = self.lock();
            state.needless += u64::from(state.shown_terminal[index]);
        }
        let way = self.admit(key.target.scope(), Kind::Get).await?;
        let answer = index.and_then(|index| self.lives[index].snapshot(self.now()));
        if let (Some(index), Some(snapshot)) = (index, &answer) {
            self.lock().shown_terminal[index] |= snapshot.is_terminal();
        }
        sleep(way).await;
        answer.ok_or_else(|| Failure::new(FailureReason::NotFound, "ResourceNotFoundException"))
    }

    async fn list_executions(
        &self,
        by: &ListBy,
        since: Since,
        next_token: Option<&str>,
    ) -> Result<Page<Summary>, Failure> {
        let way = self.admit(by.scope(), Kind::List).await?;
        if self.manners.list_denied {
            sleep(way).await;
            return Err(Failure::new(FailureReason::AccessDenied, "AccessDeniedException"));
        }
        let page = self.page(by, since, next_token, self.now() - self.manners.lag);
        sleep(way).await;
        Ok(page)
    }

    async fn list_commands(&self, _: &Scope, _: Option<&str>) -> Result<Page<CommandArn>, Failure> {
        unreachable!("no campaign discovers commands")
    }
}
