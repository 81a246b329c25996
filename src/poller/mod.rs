//! Polls what the plan wants. One `Lane` per account and Region, so that one that hangs slows no
//! other; each lane owns its schedule, its rate limit and its calls in flight.

mod bulk;
mod discovery;
mod found;
mod health;
mod lane;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::execution::{Scope, Timestamp};
use crate::plan::{Plan, scope_of};
use crate::source::Source;
use crate::store::{Slot, Store};
use crate::telemetry::{DropCause, Operation, Telemetry};

use lane::{Lane, Settings, Update};

/// A task of the poller has ended by itself, which none should.
#[derive(Debug, thiserror::Error)]
#[error("the polling of an account and Region has ended by itself")]
pub struct PollerError(#[source] JoinError);

/// How the polling goes, for whoever asks: probes, metrics, `once`.
#[derive(Clone, Debug)]
pub struct Progress {
    lanes: Arc<Mutex<HashMap<Scope, LaneProgress>>>,
    first_pass: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug)]
struct LaneProgress {
    beat: Instant,
    unasked: usize,
    rates: [Rate; 3],
}

/// How fast one operation may be called, in calls a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Which operation.
    pub operation: Operation,
    /// As configured.
    pub configured: f64,
    /// As throttling has left it.
    pub current: f64,
}

impl Progress {
    /// How long ago the slowest lane was last seen alive. Lanes wake at least once a second, whatever AWS does.
    pub fn heartbeat_age(&self) -> Duration {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().map(|lane| lane.beat.elapsed()).max().unwrap_or_default()
    }

    /// How fast each account and Region may be asked.
    pub fn rates(&self) -> Vec<(Scope, [Rate; 3])> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().map(|(scope, lane)| (scope.clone(), lane.rates)).collect()
    }

    /// Whether every execution of the first plan has been asked once.
    pub fn first_pass_done(&self) -> bool {
        *self.first_pass.borrow()
    }

    /// Waits until every execution of the first plan has been asked once.
    pub async fn first_pass(&self) {
        let mut first_pass = self.first_pass.clone();
        // An error means that the poller is gone, which its owner sees by itself.
        let _ = first_pass.wait_for(|done| *done).await;
    }
}

/// Says when an answer came, for the store, and how far a deadline is away. Schedules do not depend on it.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What every lane shares.
struct Shared<S> {
    source: Arc<S>,
    store: Arc<Store>,
    telemetry: Arc<Telemetry>,
    start: Instant,
    wall: WallClock,
    once: bool,
    lanes: Arc<Mutex<HashMap<Scope, LaneProgress>>>,
    first_pass: watch::Sender<bool>,
}

impl<S> Shared<S> {
    fn report(&self, scope: &Scope, progress: LaneProgress) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(scope) {
            *lane = progress;
        }
        if lanes.values().all(|lane| lane.unasked == 0) {
            self.first_pass.send_if_modified(|done| !std::mem::replace(done, true));
        }
    }
}

/// The owner of all lanes.
pub struct Poller<S> {
    shared: Arc<Shared<S>>,
    updates: HashMap<Scope, mpsc::UnboundedSender<Update>>,
    /// Each answers with the account and Region it was for.
    lanes: JoinSet<Scope>,
    /// What the plan in force names, sorted: eight bytes an execution.
    tracked: HashMap<Scope, Vec<Slot>>,
}

impl<S: Source + 'static> Poller<S> {
    /// A poller without a plan. With `once`, every execution is polled a single time.
    pub fn new(source: Arc<S>, store: Arc<Store>, telemetry: Arc<Telemetry>, once: bool) -> (Self, Progress) {
        Self::with_wall_clock(source, store, telemetry, once, Arc::new(clock::now))
    }

    /// [`Poller::new`] with another wall clock, for simulations.
    pub fn with_wall_clock(
        source: Arc<S>,
        store: Arc<Store>,
        telemetry: Arc<Telemetry>,
        once: bool,
        wall: WallClock,
    ) -> (Self, Progress) {
        let (sender, first_pass) = watch::channel(false);
        let lanes = Arc::new(Mutex::new(HashMap::new()));
        let progress = Progress { lanes: Arc::clone(&lanes), first_pass };
        let start = Instant::now();
        let shared = Shared { source, store, telemetry, start, wall, once, lanes, first_pass: sender };
        let poller =
            Self { shared: Arc::new(shared), updates: HashMap::new(), lanes: JoinSet::new(), tracked: HashMap::new() };
        (poller, progress)
    }

    /// Follows the plans until `shutdown`; calls in flight are dropped then.
    ///
    /// # Errors
    /// A lane has ended by itself.
    pub async fn run(
        mut self,
        mut plans: mpsc::Receiver<Plan>,
        shutdown: CancellationToken,
    ) -> Result<(), PollerError> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(plan) = plans.recv() => self.apply(plan),
                // A lane ends when its account and Region have nothing left to poll; anything else is a panic.
                Some(ended) = self.lanes.join_next() => self.forget(&ended.map_err(PollerError)?),
            }
        }
    }

    /// Removes the metrics of an account and Region that are no longer asked.
    fn forget(&self, scope: &Scope) {
        if self.updates.contains_key(scope) {
            return;
        }
        self.shared.telemetry.forget_scope(scope);
        if !self.updates.keys().any(|other| other.account_id == scope.account_id) {
            self.shared.telemetry.forget_account(&scope.account_id);
        }
    }

    /// Takes over a plan. When it returns, every execution of it is in the store.
    pub fn apply(&mut self, plan: Plan) {
        if plan.dropped > 0 {
            let limit = plan.limits.executions;
            tracing::error!(dropped = plan.dropped, limit, "limits.executions leaves executions out");
            self.shared.telemetry.executions_dropped(DropCause::Limit, plan.dropped as u64);
        }
        let settings = Settings::new(&plan);
        let mut updates: HashMap<Scope, Update> =
            self.updates.keys().map(|scope| (scope.clone(), Update::new(&settings))).collect();
        let mut tracked: HashMap<Scope, Vec<Slot>> = HashMap::new();
        for execution in plan.executions {
            let names = plan.label_names.iter().map(String::as_str);
            let labels: Vec<(&str, &str)> = names.zip(execution.labels.iter().map(|value| &**value)).collect();
            let slot = self.shared.store.track(&execution.key, &labels);
            let scope = execution.key.target.scope();
            let update = updates.entry(scope.clone()).or_insert_with(|| Update::new(&settings));
            update.track.push((slot, execution.interval));
            tracked.entry(scope).or_default().push(slot);
        }
        tracked.values_mut().for_each(|slots| slots.sort_unstable());
        for (scope, slots) in std::mem::replace(&mut self.tracked, tracked) {
            let kept = self.tracked.get(&scope).map(Vec::as_slice).unwrap_or_default();
            let gone = slots.into_iter().filter(|slot| kept.binary_search(slot).is_err());
            let update = updates.entry(scope).or_insert_with(|| Update::new(&settings));
            gone.for_each(|slot| {
                self.shared.store.untrack(slot);
                update.untrack.push(slot);
            });
        }
        for discovery in plan.discoveries {
            let update = updates.entry(scope_of(&discovery.by)).or_insert_with(|| Update::new(&settings));
            update.discoveries.push(discovery);
        }
        self.deliver(updates);
    }

    /// Hands the updates to their lanes. Lanes that have nothing left end; those that are new start, and all of them
    /// are known to the progress before the first of them runs.
    fn deliver(&mut self, updates: HashMap<Scope, Update>) {
        let start = Instant::now();
        self.updates.retain(|scope, _| updates.get(scope).is_some_and(|update| !update.is_empty()));
        {
            let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|scope, _| self.updates.contains_key(scope));
            for (scope, _) in updates.iter().filter(|(_, update)| !update.is_empty()) {
                let idle = Rate { operation: Operation::GetCommandExecution, configured: 0.0, current: 0.0 };
                let fresh = LaneProgress { beat: start, unasked: 1, rates: [idle; 3] };
                lanes.entry(scope.clone()).or_insert(fresh);
            }
            if lanes.is_empty() {
                self.shared.first_pass.send_if_modified(|done| !std::mem::replace(done, true));
            }
        }
        for (scope, update) in updates.into_iter().filter(|(_, update)| !update.is_empty()) {
            let lane = self.updates.entry(scope).or_insert_with_key(|scope| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let lane = Lane::new(scope.clone(), Arc::clone(&self.shared), update.settings.clone());
                self.lanes.spawn(lane.run(receiver));
                sender
            });
            // A lane that is gone is seen by `run`.
            let _ = lane.send(update);
        }
    }
}

#[cfg(test)]
mod tests;
