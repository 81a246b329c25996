//! The polling of one account and Region.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::{LaneProgress, Shared};
use crate::execution::{ExecutionKey, Failure, FailureReason, Scope, Snapshot, Status, Timestamp};
use crate::plan::Plan;
use crate::rate::RateLimit;
use crate::schedule::{Next, Observed, Schedule};
use crate::source::Source;
use crate::store::Slot;
use crate::telemetry::Operation;

/// A lane wakes at least this often, to show that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A source that does not keep its own timeout is cut off this much later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a plan says of every lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    get_rate: f64,
    concurrency: usize,
    timeout: Duration,
    max_staleness: Duration,
}

impl Settings {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            get_rate: plan.limits.get_requests_per_second,
            concurrency: plan.limits.concurrency,
            timeout: plan.poll.timeout,
            max_staleness: plan.poll.max_staleness,
        }
    }
}

/// What changes for one lane.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) settings: Settings,
    pub(super) track: Vec<(Slot, ExecutionKey, Duration)>,
    pub(super) untrack: Vec<Slot>,
}

impl Update {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, track: Vec::new(), untrack: Vec::new() }
    }
}

struct Polled {
    outcome: Result<Snapshot, Failure>,
    took: Duration,
}

pub(super) struct Lane<S> {
    scope: Scope,
    shared: Arc<Shared<S>>,
    settings: Settings,
    schedule: Schedule,
    keys: HashMap<Slot, ExecutionKey>,
    rate: RateLimit,
    calls: JoinSet<Polled>,
    calling: HashMap<Id, Slot>,
    /// How many executions fail for each reason: the log tells of the first and of the last.
    failing: BTreeMap<FailureReason, u32>,
    failing_slots: HashMap<Slot, FailureReason>,
}

impl<S: Source + 'static> Lane<S> {
    pub(super) fn new(scope: Scope, shared: Arc<Shared<S>>, settings: Settings) -> Self {
        Self {
            scope,
            shared,
            settings,
            schedule: Schedule::new(settings.max_staleness),
            keys: HashMap::new(),
            rate: RateLimit::new(settings.get_rate),
            calls: JoinSet::new(),
            calling: HashMap::new(),
            failing: BTreeMap::new(),
            failing_slots: HashMap::new(),
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
            let wake = self.start_calls();
            self.report();
            tokio::select! {
                // What was removed must not be asked once more.
                biased;
                update = updates.recv() => match update {
                    Some(update) => self.apply(update),
                    None => return self.scope,
                },
                Some(ended) = self.calls.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    fn apply(&mut self, update: Update) {
        let now = self.now();
        self.settings = update.settings;
        self.rate.configure(update.settings.get_rate);
        self.schedule.set_max_staleness(update.settings.max_staleness);
        for slot in update.untrack {
            self.keys.remove(&slot);
            self.schedule.untrack(slot);
            self.note_failure(slot, None);
        }
        for (slot, key, interval) in update.track {
            self.keys.insert(slot, key);
            self.schedule.track(slot, interval, now);
        }
    }

    /// Starts what is due, as far as the rate and the concurrency allow. Answers when to look again.
    fn start_calls(&mut self) -> Instant {
        let now = self.now();
        let mut wake = now + HEARTBEAT;
        while self.calls.len() < self.settings.concurrency {
            if self.rate.ready_at() > now {
                wake = wake.min(self.rate.ready_at());
                break;
            }
            match self.schedule.next(now) {
                Next::Poll { slot, late } => self.call(slot, late, now),
                Next::At(due) => {
                    wake = wake.min(due);
                    break;
                }
                Next::Idle => break,
            }
        }
        self.shared.start + wake
    }

    fn call(&mut self, slot: Slot, late: Duration, now: Duration) {
        let Some(key) = self.keys.get(&slot).cloned() else { return };
        self.rate.take(now);
        self.shared.telemetry.poll_started(late);
        let shared = Arc::clone(&self.shared);
        let limit = self.settings.timeout + PATIENCE;
        let call = self.calls.spawn(async move {
            let start = Instant::now();
            let answer = tokio::time::timeout(limit, shared.source.get_execution(&key)).await;
            let outcome = answer.unwrap_or_else(|_| Err(Failure::new(FailureReason::Timeout, "no answer in time")));
            Polled { outcome, took: start.elapsed() }
        });
        self.calling.insert(call.id(), slot);
    }

    fn ended(&mut self, ended: Result<(Id, Polled), JoinError>) {
        let (id, polled) = match ended {
            Ok(ended) => ended,
            // Nothing aborts a call but the end of the lane: it has panicked.
            Err(error) => {
                let outcome = Err(Failure::new(FailureReason::Unknown, "the poll panicked"));
                (error.id(), Polled { outcome, took: Duration::ZERO })
            }
        };
        let Some(slot) = self.calling.remove(&id) else { return };
        let Polled { outcome, took } = polled;
        let (now, wall) = (self.now(), (self.shared.wall)());
        let reason = outcome.as_ref().err().map(|failure| failure.reason);
        self.shared.telemetry.api_request(
            &self.scope,
            Operation::GetCommandExecution,
            reason.map_or(Ok(()), Err),
            took,
        );
        match reason {
            Some(FailureReason::Throttled) => self.rate.throttled(now),
            // These never reached the service's limiter.
            Some(FailureReason::Connect | FailureReason::Timeout | FailureReason::Credentials) => {}
            _ => self.rate.accepted(now),
        }
        let Some(key) = self.keys.get(&slot) else { return };
        log_outcome(key, &outcome, self.failing_slots.get(&slot).copied());
        self.shared.store.record(slot, &outcome, wall);
        self.log_scope(slot, &outcome);
        let observed = if self.shared.once { Observed::Final } else { observed(&outcome, wall) };
        self.schedule.polled(slot, observed, phase(slot), now);
    }

    /// Logs when polls begin to fail for a reason that concerns the whole account and Region, and when they stop.
    fn log_scope(&mut self, slot: Slot, outcome: &Result<Snapshot, Failure>) {
        let reason = outcome.as_ref().err().map(|failure| failure.reason);
        let first = reason.is_some_and(|reason| !self.failing.contains_key(&reason));
        if let (true, Err(failure), Some(key)) = (first && !concerns_one(reason), outcome, self.keys.get(&slot)) {
            let (scope, reason) = (&self.scope, failure.reason.label());
            tracing::warn!(account_id = %scope.account_id, region = %scope.region, reason, error = %failure.detail, execution = %key, "polls begin to fail");
        }
        self.note_failure(slot, reason);
    }

    fn note_failure(&mut self, slot: Slot, reason: Option<FailureReason>) {
        let before = match reason {
            Some(reason) => self.failing_slots.insert(slot, reason),
            None => self.failing_slots.remove(&slot),
        };
        if let Some(reason) = reason {
            *self.failing.entry(reason).or_default() += 1;
        }
        let Some(before) = before else { return };
        let left = self.failing.entry(before).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.failing.remove(&before);
            if !concerns_one(Some(before)) {
                let scope = &self.scope;
                tracing::info!(account_id = %scope.account_id, region = %scope.region, reason = before.label(), "no poll fails for this reason any more");
            }
        }
    }

    fn report(&self) {
        let progress = LaneProgress {
            beat: Instant::now(),
            unasked: self.schedule.unasked(),
            rate: (self.rate.configured(), self.rate.current()),
        };
        self.shared.report(&self.scope, progress);
    }
}

/// Whether a failure is about one execution, and not about the way to its account and Region.
fn concerns_one(reason: Option<FailureReason>) -> bool {
    use FailureReason::{InvalidRequest, Malformed, NotFound, Unknown};
    matches!(reason, Some(NotFound | InvalidRequest | Malformed | Unknown))
}

/// One line when an execution begins to fail for a reason of its own, and one when it no longer does.
fn log_outcome(key: &ExecutionKey, outcome: &Result<Snapshot, Failure>, before: Option<FailureReason>) {
    match outcome {
        Ok(_) if concerns_one(before) => tracing::info!(execution = %key, "the execution is polled again"),
        Ok(snapshot) => tracing::debug!(execution = %key, status = snapshot.status.label(), "polled"),
        Err(failure) if concerns_one(Some(failure.reason)) && before != Some(failure.reason) => {
            tracing::warn!(execution = %key, reason = failure.reason.label(), error = %failure.detail, "the execution cannot be polled");
        }
        Err(failure) => {
            tracing::debug!(execution = %key, reason = failure.reason.label(), error = %failure.detail, "poll failed");
        }
    }
}

/// What the schedule has to know of an outcome.
fn observed(outcome: &Result<Snapshot, Failure>, now: Timestamp) -> Observed {
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
fn phase(slot: Slot) -> f64 {
    (f64::from(slot.index()) * 0.618_033_988_749_895).fract()
}
