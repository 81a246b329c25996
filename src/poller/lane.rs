//! The polling of one account and Region.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::discovery::Discovery;
use super::found::Found;
use super::health::Health;
use super::{LaneProgress, Rate, Shared};
use crate::config;
use crate::execution::{CommandArn, ExecutionKey, Failure, FailureReason, Scope, Snapshot, Status, Timestamp};
use crate::listing::{self, Kind, Listings, Watched};
use crate::plan::Plan;
use crate::rate::RateLimit;
use crate::schedule::{Next, Observed, Schedule};
use crate::shard::Shard;
use crate::source::{Page, Source, Summary};
use crate::store::Slot;
use crate::telemetry::Operation;

/// A lane wakes at least this often, to show that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A source that does not keep its own timeout is cut off this much later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a plan says of every lane.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) poll: config::Poll,
    pub(super) limits: config::Limits,
    pub(super) shard: Shard,
}

impl Settings {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { poll: plan.poll.clone(), limits: plan.limits.clone(), shard: plan.shard }
    }
}

/// What changes for one lane.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) settings: Settings,
    pub(super) track: Vec<(Slot, Duration)>,
    pub(super) untrack: Vec<Slot>,
    pub(super) discoveries: Vec<config::Discovery>,
}

impl Update {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), track: Vec::new(), untrack: Vec::new(), discoveries: Vec::new() }
    }

    /// Whether the lane has anything to do.
    pub(super) fn is_empty(&self) -> bool {
        self.track.is_empty() && self.discoveries.is_empty()
    }
}

/// A call in flight.
#[derive(Debug)]
enum Call {
    Get(Slot),
    List(listing::Call),
    Commands,
}

impl Call {
    fn operation(&self) -> Operation {
        match self {
            Self::Get(_) => Operation::GetCommandExecution,
            Self::List(_) => Operation::ListCommandExecutions,
            Self::Commands => Operation::ListCommands,
        }
    }
}

/// What a call has brought.
#[derive(Debug)]
enum Answer {
    Got(Snapshot),
    Listed(Page<Summary>),
    Commands(Page<CommandArn>),
}

type Ended = (Result<Answer, Failure>, Duration);

pub(super) struct Lane<S> {
    pub(super) scope: Scope,
    pub(super) shared: Arc<Shared<S>>,
    pub(super) settings: Settings,
    pub(super) schedule: Schedule,
    pub(super) listings: Listings,
    pub(super) discovery: Discovery,
    pub(super) found: Found,
    health: Health,
    get_rate: RateLimit,
    list_rate: RateLimit,
    commands_rate: RateLimit,
    calls: JoinSet<Ended>,
    calling: HashMap<Id, Call>,
    /// Whether a call has ended, well or not.
    acquainted: bool,
}

impl<S: Source + 'static> Lane<S> {
    pub(super) fn new(scope: Scope, shared: Arc<Shared<S>>, settings: Settings) -> Self {
        let config::Limits { get_requests_per_second: get, list_requests_per_second: list, .. } = settings.limits;
        Self {
            scope,
            shared,
            schedule: Schedule::new(settings.poll.max_staleness),
            listings: Listings::new(settings.poll.max_staleness),
            discovery: Discovery::default(),
            found: Found::default(),
            health: Health::default(),
            get_rate: RateLimit::new(get),
            list_rate: RateLimit::new(list),
            commands_rate: RateLimit::new(list),
            calls: JoinSet::new(),
            calling: HashMap::new(),
            acquainted: false,
            settings,
        }
    }

    /// Polls until the updates end; answers with its account and Region.
    pub(super) async fn run(mut self, mut updates: mpsc::UnboundedReceiver<Update>) -> Scope {
        // Before the first update there is nothing to report: a lane without executions has asked all of them.
        match updates.recv().await {
            Some(update) => self.apply(update),
            None => return self.scope,
        }
        loop {
            self.leave();
            let wake = self.start_calls();
            self.report();
            tokio::select! {
                // What was removed must not be asked once more.
                biased;
                update = updates.recv() => match update {
                    Some(update) => self.apply(update),
                    None => break,
                },
                Some(ended) = self.calls.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        for slot in self.found.slots() {
            self.shared.store.untrack(slot);
        }
        self.scope
    }

    fn apply(&mut self, update: Update) {
        let now = self.now();
        self.settings = update.settings;
        self.get_rate.configure(self.settings.limits.get_requests_per_second);
        self.list_rate.configure(self.settings.limits.list_requests_per_second);
        self.commands_rate.configure(self.settings.limits.list_requests_per_second);
        self.schedule.set_max_staleness(self.settings.poll.max_staleness);
        self.listings.set_max_staleness(self.settings.poll.max_staleness);
        for slot in update.untrack {
            self.forget(slot);
        }
        for (slot, interval) in update.track {
            self.found.remove(slot);
            self.schedule.track(slot, interval, now);
        }
        self.discovery.configure(update.discoveries);
        self.listings.set_lookouts(self.discovery.lookouts());
    }

    /// Starts what is due, as far as the rates and the concurrency allow. Answers when to look again.
    fn start_calls(&mut self) -> Instant {
        let now = self.now();
        let mut wake = now + HEARTBEAT;
        while self.calls.len() < self.concurrency() {
            let looks = [self.start_get(now), self.start_list(now), self.start_commands(now)];
            if looks.iter().all(|look| look.is_err()) {
                wake = looks.into_iter().filter_map(Result::err).flatten().fold(wake, Duration::min);
                break;
            }
        }
        self.shared.start + wake
    }

    /// How many calls may be in flight. The first goes alone: it reads certificates, loads credentials and connects, and
    /// would arrive together with those that were started after it, more in one second than the limit.
    fn concurrency(&self) -> usize {
        if self.acquainted { self.settings.limits.concurrency } else { 1 }
    }

    /// Starts one poll, or answers when there will be one to start.
    fn start_get(&mut self, now: Duration) -> Result<(), Option<Duration>> {
        if self.get_rate.ready_at() > now {
            return Err(Some(self.get_rate.ready_at()));
        }
        match self.schedule.next(now) {
            Next::Poll { slot, late } => {
                let Some(key) = self.shared.store.key(slot) else { return Ok(()) };
                self.get_rate.take(now);
                self.shared.telemetry.poll_started(late);
                self.call(Call::Get(slot), move |source| async move { get(&*source, &key).await });
                Ok(())
            }
            Next::At(due) => Err(Some(due)),
            Next::Idle => Err(None),
        }
    }

    fn start_list(&mut self, now: Duration) -> Result<(), Option<Duration>> {
        if self.list_rate.ready_at() > now || self.calls.len() >= self.concurrency() {
            return Err(Some(self.list_rate.ready_at()));
        }
        let pressure = self.schedule.pressure(now, self.get_rate.current());
        let call = self.listings.next(now, self.wall(), pressure)?;
        self.list_rate.take(now);
        let listing::Call { by, since, next_token, .. } = call.clone();
        self.call(Call::List(call), move |source| async move {
            source.list_executions(&by, since, next_token.as_deref()).await.map(Answer::Listed)
        });
        Ok(())
    }

    fn start_commands(&mut self, now: Duration) -> Result<(), Option<Duration>> {
        if self.commands_rate.ready_at() > now || self.calls.len() >= self.concurrency() {
            return Err(Some(self.commands_rate.ready_at()));
        }
        let next_token = self.discovery.next(now)?;
        self.commands_rate.take(now);
        let scope = self.scope.clone();
        self.call(Call::Commands, move |source| async move {
            source.list_commands(&scope, next_token.as_deref()).await.map(Answer::Commands)
        });
        Ok(())
    }

    fn call<F>(&mut self, call: Call, ask: impl FnOnce(Arc<S>) -> F)
    where
        F: Future<Output = Result<Answer, Failure>> + Send + 'static,
    {
        let limit = self.settings.poll.timeout + PATIENCE;
        let asked = ask(Arc::clone(&self.shared.source));
        let handle = self.calls.spawn(async move {
            let start = Instant::now();
            let answer = tokio::time::timeout(limit, asked).await;
            let answer = answer.unwrap_or_else(|_| Err(Failure::new(FailureReason::Timeout, "no answer in time")));
            (answer, start.elapsed())
        });
        self.calling.insert(handle.id(), call);
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, (answer, took)) = match ended {
            Ok(ended) => ended,
            // Nothing aborts a call but the end of the lane: it has panicked.
            Err(error) => {
                let failure = Failure::new(FailureReason::Unknown, "the call panicked");
                (error.id(), (Err(failure), Duration::ZERO))
            }
        };
        let Some(call) = self.calling.remove(&id) else { return };
        self.acquainted = true;
        let now = self.now();
        let outcome = answer.as_ref().map(|_| ()).map_err(|failure| failure.reason);
        self.shared.telemetry.api_request(&self.scope, call.operation(), outcome, took);
        let rate = match call {
            Call::Get(_) => &mut self.get_rate,
            Call::List(_) => &mut self.list_rate,
            Call::Commands => &mut self.commands_rate,
        };
        match outcome.err() {
            Some(FailureReason::Throttled) => rate.throttled(now),
            // These never reached the service's limiter.
            Some(FailureReason::Connect | FailureReason::Timeout | FailureReason::Credentials) => {}
            _ => rate.accepted(now),
        }
        match (call, answer) {
            (Call::Get(slot), Ok(Answer::Got(snapshot))) => self.polled(slot, &Ok(snapshot)),
            (Call::Get(slot), Err(failure)) => self.polled(slot, &Err(failure)),
            (Call::List(call), Ok(Answer::Listed(page))) => self.listed(&call, Ok(page)),
            (Call::List(call), Err(failure)) => self.listed(&call, Err(failure)),
            (Call::Commands, Ok(Answer::Commands(page))) => self.commands_listed(Ok(page)),
            (Call::Commands, Err(failure)) => self.commands_listed(Err(failure)),
            (call, Ok(_)) => unreachable!("{:?} is answered by its own kind", call.operation()),
        }
    }

    /// Takes in the outcome of a poll: keeps it, and plans the next.
    fn polled(&mut self, slot: Slot, outcome: &Result<Snapshot, Failure>) {
        let (now, wall) = (self.now(), self.wall());
        if self.shared.store.record(slot, outcome, wall).is_none() {
            return;
        }
        let store = &self.shared.store;
        let name = || store.key(slot).map_or_else(String::new, |key| key.to_string());
        self.health.polled(&self.scope, slot, outcome.as_ref().err(), name);
        match outcome {
            Ok(snapshot) => self.note(slot, snapshot, wall),
            Err(failure) if failure.reason == FailureReason::NotFound => {
                self.listings.closed(slot);
                self.found.ended(slot, wall);
            }
            Err(_) => {}
        }
        let observed = if self.shared.once { Observed::Final } else { observed(outcome, wall) };
        self.schedule.polled(slot, observed, phase(slot), now);
        if let Some(within) = self.listings.covers(slot, now) {
            self.schedule.sighted(slot, observed, within, now);
        }
    }

    /// What a success means for the listings and for those that were found.
    pub(super) fn note(&mut self, slot: Slot, snapshot: &Snapshot, wall: Timestamp) {
        if snapshot.is_ended() {
            self.found.ended(slot, snapshot.ended_at().unwrap_or(wall));
        }
        let kind = match snapshot.status {
            Status::Created | Status::InProgress => Some(Kind::Open),
            Status::TimedOut if !snapshot.is_terminal() => Some(Kind::TimedOut),
            _ => None,
        };
        let listed = snapshot.command.clone().zip(snapshot.created).zip(kind.filter(|_| !self.shared.once));
        match (listed, self.schedule.interval(slot)) {
            (Some(((command, created), kind)), Some(interval)) => {
                let watched = Watched { command, created, deadline: snapshot.deadline(), kind };
                self.listings.watch(slot, watched, interval);
            }
            _ => self.listings.closed(slot),
        }
    }

    /// Untracks found executions that have been shown for long enough.
    fn leave(&mut self) {
        for slot in self.found.leave(self.wall()) {
            self.shared.store.untrack(slot);
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.found.remove(slot);
        self.schedule.untrack(slot);
        self.listings.closed(slot);
        self.health.forget(&self.scope, slot);
    }

    fn report(&self) {
        let rate =
            |operation, limit: &RateLimit| Rate { operation, configured: limit.configured(), current: limit.current() };
        let progress = LaneProgress {
            beat: Instant::now(),
            unasked: self.schedule.unasked() + self.listings.unfinished() + self.discovery.unfinished(),
            rates: [
                rate(Operation::GetCommandExecution, &self.get_rate),
                rate(Operation::ListCommandExecutions, &self.list_rate),
                rate(Operation::ListCommands, &self.commands_rate),
            ],
        };
        self.shared.report(&self.scope, progress);
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    pub(super) fn wall(&self) -> Timestamp {
        (self.shared.wall)()
    }
}

async fn get<S: Source>(source: &S, key: &ExecutionKey) -> Result<Answer, Failure> {
    source.get_execution(key).await.map(Answer::Got)
}

/// What the schedule has to know of an outcome.
pub(super) fn observed(outcome: &Result<Snapshot, Failure>, now: Timestamp) -> Observed {
    match outcome {
        Ok(snapshot) if snapshot.is_terminal() => Observed::Final,
        Ok(snapshot) if snapshot.status == Status::TimedOut => {
            let expired = snapshot.expiration.is_some_and(|end| end <= now);
            if expired { Observed::Final } else { Observed::TimedOut }
        }
        Ok(snapshot) => {
            Observed::Open { until_deadline: snapshot.deadline().and_then(|deadline| deadline.checked_since(now)) }
        }
        Err(failure) if failure.reason == FailureReason::NotFound => Observed::NotFound,
        Err(_) => Observed::Failed,
    }
}

/// A fraction of the interval that spreads neighbours evenly: multiples of the golden ratio.
pub(super) fn phase(slot: Slot) -> f64 {
    (f64::from(slot.index()) * 0.618_033_988_749_895).fract()
}
