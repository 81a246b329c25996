//! The executions of a campaign: what their devices will do, and when. The same seed gives the same fleet.

use aws_iot_command_exporter::execution::{
    CommandArn, ExecutionId, ExecutionKey, Reason, Snapshot, Status, TargetArn, Timestamp,
};

/// The wall clock when a campaign begins: in the middle of a minute, since filters have whole ones.
pub(crate) const WALL: i64 = 1_700_000_025_000;

/// The time-out of every execution.
pub(crate) const TIMEOUT_SECONDS: i64 = 3600;

/// Of the time that devices take to answer, the logarithm has this deviation.
const DEVIATION: f64 = 1.5;

/// How fast a campaign goes. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tempo {
    /// All start within this time.
    pub(crate) start: f64,
    /// Of the devices that answer, half have done so after this time.
    pub(crate) median: f64,
    /// The time-out of every execution.
    pub(crate) timeout: i64,
    /// How long after the deadline a device reports that is late: at least, and at most so much more.
    pub(crate) late: (i64, f64),
}

impl Tempo {
    /// That of the campaigns in virtual time.
    pub(crate) const FULL: Self =
        Self { start: 60_000.0, median: 60_000.0, timeout: TIMEOUT_SECONDS * 1000, late: (60_000, 1_740_000.0) };
}

/// One execution. Times are milliseconds since the campaign's beginning.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) key: ExecutionKey,
    pub(crate) command: CommandArn,
    pub(crate) created: i64,
    pub(crate) picked_up: Option<i64>,
    /// When the service's timer flips the status.
    pub(crate) timed_out: Option<i64>,
    /// The device's end: after `timed_out`, where it is late.
    pub(crate) ended: Option<(i64, Status)>,
}

impl Life {
    /// Its status at this moment and since when; `None` before it exists.
    pub(crate) fn status(&self, now: i64) -> Option<(Status, i64)> {
        let past = |at: &i64| *at <= now;
        let end = self.ended.filter(|(at, _)| past(at)).map(|(at, status)| (status, at));
        let timed_out = self.timed_out.filter(past).map(|at| (Status::TimedOut, at));
        let picked_up = self.picked_up.filter(past).map(|at| (Status::InProgress, at));
        let created = past(&self.created).then_some((Status::Created, self.created));
        end.or(timed_out).or(picked_up).or(created)
    }

    /// `completedAt` as it stands.
    pub(crate) fn completed(&self, now: i64) -> Option<i64> {
        self.ended.map(|(at, _)| at).filter(|at| *at <= now)
    }

    /// What `GetCommandExecution` shows.
    pub(crate) fn snapshot(&self, now: i64) -> Option<Snapshot> {
        let (status, since) = self.status(now)?;
        let reason = match status {
            Status::TimedOut if self.completed(now).is_none() => Reason::new(Reason::NO_RESPONSE),
            Status::Failed | Status::Rejected | Status::TimedOut => Reason::new("DEVICE_TOO_BUSY"),
            _ => None,
        };
        Some(Snapshot {
            command: Some(self.command.clone()),
            reason,
            timeout_seconds: Some(TIMEOUT_SECONDS),
            created: Some(wall(self.created)),
            last_updated: Some(wall(since)),
            completed: self.completed(now).map(wall),
            ..Snapshot::with_status(status)
        })
    }

    /// Milliseconds between these moments for which it is open: created, and not yet ended in any way.
    pub(crate) fn open_millis(&self, from: i64, until: i64) -> i64 {
        let ends = [self.timed_out, self.ended.map(|(at, _)| at)];
        let end = ends.into_iter().flatten().min().unwrap_or(until).min(until);
        (end - self.created.max(from)).max(0)
    }

    /// Ends that only a Get explains. A time-out of the service and a late report are two ends.
    pub(crate) fn failures(&self, until: i64) -> u64 {
        let timed_out = self.timed_out.is_some_and(|at| at <= until);
        let failed = self.ended.is_some_and(|(at, status)| at <= until && status != Status::Succeeded);
        u64::from(timed_out) + u64::from(failed)
    }
}

/// A moment of the campaign as the service writes it.
pub(crate) fn wall(millis: i64) -> Timestamp {
    Timestamp::from_millis(WALL + millis)
}

/// `commands` × `each` executions in one account.
pub(crate) fn fleet(account: &str, commands: usize, each: usize, seed: u64) -> Vec<Life> {
    fleet_at(&Tempo::FULL, account, commands, each, seed)
}

/// [`fleet`] at another tempo.
pub(crate) fn fleet_at(tempo: &Tempo, account: &str, commands: usize, each: usize, seed: u64) -> Vec<Life> {
    let mut dice = Dice(seed);
    let mut lives = Vec::with_capacity(commands * each);
    for command in 0..commands {
        let arn = format!("arn:aws:iot:eu-central-1:{account}:command/campaign-{command}");
        let command = CommandArn::parse(&arn).expect("well-formed");
        for _ in 0..each {
            let number = lives.len();
            let target = format!("arn:aws:iot:eu-central-1:{account}:thing/pump-{number}");
            let key = ExecutionKey {
                target: TargetArn::parse(&target).expect("well-formed"),
                id: ExecutionId::parse(&format!("execution-{number}")).expect("well-formed"),
            };
            lives.push(life(tempo, key, command.clone(), &mut dice));
        }
    }
    lives
}

fn life(tempo: &Tempo, key: ExecutionKey, command: CommandArn, dice: &mut Dice) -> Life {
    let created = (dice.unit() * tempo.start) as i64;
    let deadline = created + tempo.timeout;
    let takes = 1_000 + (tempo.median * (DEVIATION * dice.normal()).exp()) as i64;
    let silent = dice.unit() < 0.08;
    // A twentieth of the silent ones report after all, too late.
    let late = (dice.unit() < 0.05).then(|| deadline + tempo.late.0 + (dice.unit() * tempo.late.1) as i64);
    let end = if silent { late } else { Some(created + takes) };
    let status = match dice.unit() {
        ..0.05 => Status::Failed,
        ..0.06 => Status::Rejected,
        ..0.065 => Status::TimedOut,
        _ => Status::Succeeded,
    };
    let picks_up = !silent && dice.unit() < 0.7;
    let flips = deadline + 500 + (dice.unit() * 500.0) as i64;
    Life {
        key,
        command,
        created,
        picked_up: picks_up.then(|| created + takes / 5).filter(|at| *at < flips),
        timed_out: end.is_none_or(|at| at > flips).then_some(flips),
        ended: end.map(|at| (at, status)),
    }
}

/// Chance that repeats itself (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}
