//! A control plane that does what a test says and remembers what it was asked, and a poller in front of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Limits, Poll};
use crate::execution::{
    CommandArn, ExecutionId, ExecutionKey, Failure, FailureReason, Scope, Snapshot, Status, TargetArn, Timestamp,
};
use crate::plan::{Plan, Wanted};
use crate::poller::{Poller, PollerError, Progress};
use crate::shard::Shard;
use crate::source::{ListBy, Page, Since, Source, Summary};
use crate::store::{State, Store};
use crate::telemetry::{Build, Telemetry};
use crate::text::Format;

/// The wall clock when a test begins.
pub(super) const WALL: i64 = 1_700_000_000_000;

/// What becomes of a call.
pub(super) enum Act {
    /// This answer, after so long.
    Answer(Duration, Result<Snapshot, Failure>),
    /// No answer ever.
    Hang,
    /// The call panics.
    Panic,
}

impl Act {
    pub(super) fn ok(snapshot: Snapshot) -> Self {
        Self::Answer(Duration::ZERO, Ok(snapshot))
    }

    pub(super) fn fail(reason: FailureReason) -> Self {
        Self::Answer(Duration::ZERO, Err(Failure::new(reason, "as the test wants it")))
    }
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Since the start of the test.
    pub(super) at: Duration,
    pub(super) key: ExecutionKey,
    /// How many calls about this execution came before.
    pub(super) before: usize,
}

type Script = Box<dyn FnMut(&Asked) -> Act + Send>;

/// A page of a listing that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Since the start of the test.
    pub(super) at: Duration,
    pub(super) by: ListBy,
    pub(super) since: Since,
    pub(super) next_token: Option<String>,
}

type ListScript = Box<dyn FnMut(&Listed) -> Result<Page<Summary>, Failure> + Send>;

pub(super) struct Fake {
    start: Instant,
    state: Mutex<Calls>,
}

struct Calls {
    script: Script,
    list_script: ListScript,
    asked: Vec<Asked>,
    listed: Vec<Listed>,
    count: HashMap<ExecutionKey, usize>,
    in_flight: HashMap<Scope, usize>,
    most_in_flight: HashMap<Scope, usize>,
}

/// A call under way; it ends also where it is dropped.
struct UnderWay<'a>(&'a Fake, Scope);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.lock().in_flight.get_mut(&self.1).expect("it has begun") -= 1;
    }
}

impl Fake {
    fn new(script: Script) -> Self {
        let state = Calls {
            script,
            list_script: Box::new(|_| unreachable!("executions without a command are not listed")),
            asked: Vec::new(),
            listed: Vec::new(),
            count: HashMap::new(),
            in_flight: HashMap::new(),
            most_in_flight: HashMap::new(),
        };
        Self { start: Instant::now(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.state.lock().expect("no test panics while it holds this")
    }
}

impl Source for Fake {
    async fn get_execution(&self, key: &ExecutionKey) -> Result<Snapshot, Failure> {
        let scope = key.target.scope();
        let (act, _under_way) = {
            let mut calls = self.lock();
            let before = calls.count.get(key).copied().unwrap_or_default();
            let asked = Asked { at: self.start.elapsed(), key: key.clone(), before };
            calls.count.insert(key.clone(), before + 1);
            calls.asked.push(asked.clone());
            let now = calls.in_flight.entry(scope.clone()).or_default();
            *now += 1;
            let now = *now;
            let most = calls.most_in_flight.entry(scope.clone()).or_default();
            *most = now.max(*most);
            ((calls.script)(&asked), UnderWay(self, scope))
        };
        match act {
            Act::Answer(after, answer) => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                answer
            }
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("as the test wants it"),
        }
    }

    async fn list_executions(
        &self,
        by: &ListBy,
        since: Since,
        next_token: Option<&str>,
    ) -> Result<Page<Summary>, Failure> {
        let mut calls = self.lock();
        let next_token = next_token.map(str::to_owned);
        let listed = Listed { at: self.start.elapsed(), by: by.clone(), since, next_token };
        calls.listed.push(listed.clone());
        (calls.list_script)(&listed)
    }

    async fn list_commands(&self, _: &Scope, _: Option<&str>) -> Result<Page<CommandArn>, Failure> {
        unreachable!("polling lists nothing")
    }
}

/// A poller that asks a [`Fake`], and all that it writes to.
pub(super) struct Bench {
    pub(super) start: Instant,
    pub(super) fake: Arc<Fake>,
    pub(super) store: Arc<Store>,
    pub(super) progress: Progress,
    telemetry: Arc<Telemetry>,
    wall_jump: Arc<AtomicI64>,
    plans: mpsc::Sender<Plan>,
    task: JoinHandle<Result<(), PollerError>>,
    _stop: DropGuard,
}

/// A jump of the wall clock so far makes whoever looks at it panic.
const BROKEN: i64 = i64::MAX;

impl Bench {
    pub(super) fn new(script: impl FnMut(&Asked) -> Act + Send + 'static) -> Self {
        Self::start(false, Box::new(script))
    }

    pub(super) fn once(script: impl FnMut(&Asked) -> Act + Send + 'static) -> Self {
        Self::start(true, Box::new(script))
    }

    fn start(once: bool, script: Script) -> Self {
        let (start, fake) = (Instant::now(), Arc::new(Fake::new(script)));
        let store = Arc::new(Store::new(Timestamp::from_millis(WALL)));
        let telemetry = Arc::new(Telemetry::new(Build::THIS));
        let wall_jump = Arc::new(AtomicI64::new(0));
        let jump = Arc::clone(&wall_jump);
        let wall = move || match jump.load(Ordering::Relaxed) {
            BROKEN => panic!("the wall clock is broken, as the test wants it"),
            jump => Timestamp::from_millis(WALL + millis(start.elapsed()) + jump),
        };
        let (poller, progress) = Poller::with_wall_clock(
            Arc::clone(&fake),
            Arc::clone(&store),
            Arc::clone(&telemetry),
            once,
            Arc::new(wall),
        );
        let (plans, planned) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let task = tokio::spawn(poller.run(planned, stop.clone()));
        Self { start, fake, store, progress, telemetry, wall_jump, plans, task, _stop: stop.drop_guard() }
    }

    /// Has the poller follow this plan; a millisecond later it does.
    pub(super) async fn follow(&self, plan: Plan) {
        self.plans.send(plan).await.expect("the poller runs");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Waits until so many seconds after the start.
    pub(super) async fn until(&self, seconds: f64) {
        tokio::time::sleep_until(self.start + Duration::from_secs_f64(seconds)).await;
    }

    /// Waits for the first pass, but not for ever.
    pub(super) async fn first_pass(&self) {
        let done = tokio::time::timeout(Duration::from_secs(3600), self.progress.first_pass()).await;
        assert!(done.is_ok(), "the first pass does not end");
    }

    pub(super) fn jump(&self, millis: i64) {
        self.wall_jump.store(millis, Ordering::Relaxed);
    }

    pub(super) fn break_the_wall_clock(&self) {
        self.jump(BROKEN);
    }

    /// What the poller ends with.
    pub(super) async fn ended(self) -> Result<(), PollerError> {
        self.task.await.expect("not aborted")
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.fake.lock().asked.clone()
    }

    /// What listings show from now on.
    pub(super) fn list(&self, script: impl FnMut(&Listed) -> Result<Page<Summary>, Failure> + Send + 'static) {
        self.fake.lock().list_script = Box::new(script);
    }

    pub(super) fn listed(&self) -> Vec<Listed> {
        self.fake.lock().listed.clone()
    }

    /// When this execution was asked for, in seconds.
    pub(super) fn times(&self, key: &ExecutionKey) -> Vec<f64> {
        self.asked().iter().filter(|asked| asked.key == *key).map(|asked| asked.at.as_secs_f64()).collect()
    }

    /// The pauses between these times, to the tenth of a second.
    pub(super) fn pauses(&self, key: &ExecutionKey) -> Vec<f64> {
        self.times(key).windows(2).map(|pair| ((pair[1] - pair[0]) * 10.0).round() / 10.0).collect()
    }

    pub(super) fn most_in_flight(&self, scope: &Scope) -> usize {
        self.fake.lock().most_in_flight.get(scope).copied().unwrap_or_default()
    }

    pub(super) fn state(&self, key: &ExecutionKey) -> Option<State> {
        self.store.state(self.store.find(key)?)
    }

    pub(super) fn snapshot(&self, key: &ExecutionKey) -> Option<Snapshot> {
        self.store.snapshot(self.store.find(key)?)
    }

    pub(super) fn failure(&self, key: &ExecutionKey) -> Option<FailureReason> {
        self.store.view().all().find(|execution| execution.key() == *key)?.failure()
    }

    /// Lines of the exporter's own metrics that have all these texts.
    pub(super) fn told(&self, texts: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.telemetry.text(Format::Text004)).expect("UTF-8");
        let lines = text.lines().filter(|line| texts.iter().all(|text| line.contains(text)));
        lines.map(str::to_owned).collect()
    }
}

pub(super) fn millis(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).expect("tests are shorter")
}

/// The execution of this number in a Region.
pub(super) fn key(region: &str, number: usize) -> ExecutionKey {
    let target = TargetArn::parse(&format!("arn:aws:iot:{region}:123456789012:thing/t{number}")).expect("an ARN");
    ExecutionKey { target, id: ExecutionId::parse("e").expect("an ID") }
}

/// A plan for these executions, each with its interval in seconds.
pub(super) fn plan(executions: impl IntoIterator<Item = (ExecutionKey, u64)>) -> Plan {
    let wanted = |(key, seconds)| Wanted { key, interval: Duration::from_secs(seconds), labels: Box::default() };
    Plan {
        poll: Poll::default(),
        limits: Limits::default(),
        label_names: Vec::new(),
        executions: executions.into_iter().map(wanted).collect(),
        discoveries: Vec::new(),
        shard: Shard::WHOLE,
        dropped: 0,
    }
}

pub(super) fn open() -> Snapshot {
    Snapshot { created: Some(Timestamp::from_millis(WALL)), ..Snapshot::with_status(Status::Created) }
}

pub(super) fn ended(status: Status) -> Snapshot {
    Snapshot { completed: Some(Timestamp::from_millis(WALL + 1000)), status, ..open() }
}

/// The most calls that start within any second.
pub(super) fn most_in_a_second(times: &[Duration]) -> usize {
    let second = Duration::from_secs(1);
    let within = |first: usize| times[first..].iter().take_while(|time| **time - times[first] < second).count();
    (0..times.len()).map(within).max().unwrap_or_default()
}
