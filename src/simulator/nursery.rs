//! How executions are made: name, birth, timeout and fate of each, by chance that repeats itself.

use std::sync::Arc;

use super::dice::Dice;
use super::fleet::{Births, COMMANDS, FleetOptions, Place};
use super::life::{Execution, Report};
use crate::execution::{Status, Timestamp};

/// Timeouts that operators choose, in seconds; the first is the service's default.
const TIMEOUTS: [f64; 9] = [10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 21_600.0, 43_200.0];

/// What becomes of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    IsRejected,
    /// The device itself reports that it has run out of time.
    GivesUp,
    /// Nothing is ever heard.
    StaysSilent,
    /// Picked up, then nothing.
    FallsSilent,
    ReportsLate(Status),
}

/// How many in a thousand come to each end.
const FATES: [(u64, Fate); 9] = [
    (590, Fate::Succeeds),
    (120, Fate::Fails),
    (60, Fate::IsRejected),
    (40, Fate::GivesUp),
    (70, Fate::StaysSilent),
    (50, Fate::FallsSilent),
    (40, Fate::ReportsLate(Status::Succeeded)),
    (20, Fate::ReportsLate(Status::Failed)),
    (10, Fate::ReportsLate(Status::Rejected)),
];

/// Makes executions out of the options.
pub(super) struct Nursery<'a> {
    options: &'a FleetOptions,
    origin: Timestamp,
    places: Vec<Place>,
    /// The ARNs of all commands.
    pub(super) commands: Vec<Arc<str>>,
    devices: u64,
}

impl<'a> Nursery<'a> {
    pub(super) fn new(options: &'a FleetOptions, origin: Timestamp) -> Self {
        let places = if options.places.is_empty() { vec![Place::default()] } else { options.places.clone() };
        let commands =
            places.iter().flat_map(|place| COMMANDS.map(|id| place.arn(&format!("command/{id}")).into())).collect();
        Self { options, origin, places, commands, devices: options.executions as u64 / 3 + 1 }
    }

    /// The execution with this index.
    pub(super) fn execution(&self, index: u64) -> Execution {
        let mut dice = Dice::new(self.options.seed, index);
        let device = self.device(index);
        let (target, place) = self.target(device);
        let active = COMMANDS.len() as u64 - 1;
        let command = place * COMMANDS.len() + usize::try_from(dice.below(active)).unwrap_or_default();
        let (birth, timeout_seconds) =
            if dice.below(10) == 0 { self.long_haul(&mut dice) } else { self.birth_and_timeout(&mut dice) };
        let timeout_millis = timeout_seconds as f64 * 1000.0;
        let created = Timestamp::from_millis(self.origin.millis().saturating_add(whole(birth * 1000.0)));
        Execution {
            target: target.into(),
            id: self.id(index, device).into(),
            command: Arc::clone(&self.commands[command]),
            created,
            timeout_seconds,
            timer_lag_millis: whole(if dice.below(10) == 0 {
                dice.between(3e3, 2e4)
            } else {
                dice.between(200.0, 3e3)
            }),
            shows_started: dice.below(4) > 0,
            reports: reports(&mut dice, timeout_millis),
        }
    }

    fn device(&self, index: u64) -> u64 {
        Dice::new(self.options.seed ^ 0x00de_71ce, index).below(self.devices)
    }

    /// Mostly an ID of its own; now and then that of its neighbour on another target, since an ID may be unique per
    /// target only.
    fn id(&self, index: u64, device: u64) -> String {
        let shared = index > 0 && index.is_multiple_of(61) && self.device(index - 1) != device;
        let mut dice = Dice::new(self.options.seed ^ 0x001d, if shared { index - 1 } else { index });
        let (high, low) = (dice.throw(), dice.throw());
        let variant = 0x8000 | ((low >> 48) & 0x3fff);
        format!(
            "{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    /// The device's ARN and the index of its place. One in six has a name that clients like to get wrong.
    fn target(&self, device: u64) -> (String, usize) {
        let mut dice = Dice::new(self.options.seed ^ 0x007a_46e7, device);
        let place = usize::try_from(dice.below(self.places.len() as u64)).unwrap_or_default();
        let sites = ["berlin", "porto", "osaka", "tulsa"];
        let site = dice.pick(&sites);
        let resource = if dice.below(6) == 0 {
            match dice.below(8) {
                0 => format!("thing/site:{site}:line-4:{device}"),
                1 => format!("client/gateway/hall 3#rack+{device}"),
                2 => format!("client/größe/日本/{device}"),
                3 => format!("client/100%2F?target=a&b={device}"),
                4 => format!("client/\"quoted\"\\{site}\\{device}"),
                5 => format!("client/{{site={site},n=~{device}}}"),
                6 => format!("client/ {site}//{device} "),
                _ => format!("thing/{site}_Pump:{device}"),
            }
        } else {
            match dice.below(10) {
                0..=4 => format!("thing/{site}-pump-{device}"),
                5..=7 => format!("thing/{site}-sensor-{device:06}"),
                8 => format!("thing/vehicle-WVW{device:09}"),
                _ => format!("client/{site}-gateway-{device}"),
            }
        };
        (self.places[place].arn(&resource), place)
    }

    /// Seconds from the start to the creation, negative for those before it, and a timeout in whole seconds: often the
    /// default, otherwise in proportion to the distance from the start.
    fn birth_and_timeout(&self, dice: &mut Dice) -> (f64, i64) {
        let unborn = self.options.births == Births::Around && dice.below(3) == 0;
        let farthest: f64 = if unborn { 86_400.0 } else { 7_200.0 };
        let distance = 5.0 * (dice.unit() * (farthest / 5.0).ln()).exp();
        let wanted = if dice.below(10) == 0 { TIMEOUTS[0] } else { distance * dice.between(-1.5, 1.5).exp() };
        let nearest = TIMEOUTS.into_iter().min_by(|a, b| (a / wanted).ln().abs().total_cmp(&(b / wanted).ln().abs()));
        (if unborn { distance } else { -distance } / self.speed(), self.timeout(nearest.unwrap_or(TIMEOUTS[0])))
    }

    /// One with a very long timeout, begun before the start and with its deadline after it: these keep the fleet alive.
    fn long_haul(&self, dice: &mut Dice) -> (f64, i64) {
        let timeout = TIMEOUTS[TIMEOUTS.len() - 1 - usize::try_from(dice.below(3)).unwrap_or_default()];
        (-dice.between(0.0, 0.99) * timeout / self.speed(), self.timeout(timeout))
    }

    fn timeout(&self, seconds: f64) -> i64 {
        whole(seconds / self.speed()).max(1)
    }

    fn speed(&self) -> f64 {
        if self.options.speed.is_finite() { self.options.speed.clamp(0.001, 1e6) } else { 1.0 }
    }
}

/// The device's reports within (and sometimes after) a timeout of so many milliseconds.
fn reports(dice: &mut Dice, timeout: f64) -> Vec<Report> {
    let fate = fate(dice);
    if fate == Fate::StaysSilent {
        return Vec::new();
    }
    let picked_up = dice.between(0.01, 0.15) * timeout;
    let end = match fate {
        Fate::ReportsLate(_) => dice.between(1.2, 3.0) * timeout + 20_000.0,
        Fate::IsRejected => picked_up + dice.between(0.0, 0.05) * timeout,
        Fate::GivesUp => dice.between(0.6, 0.97) * timeout,
        // Most take long: a fleet without executions near their deadline shows nothing.
        _ => (1.0 - 0.8 * dice.unit().powi(2)) * 0.99 * timeout,
    };
    // Progress is optional: one in eight jumps from CREATED to its end.
    let silent_worker = dice.below(8) == 0 && fate != Fate::FallsSilent || fate == Fate::IsRejected;
    let mut reports = if silent_worker { Vec::new() } else { progress(dice, picked_up, end.min(timeout)) };
    let (status, codes): (_, &[&str]) = match fate {
        Fate::Succeeds | Fate::ReportsLate(Status::Succeeded) => (Status::Succeeded, &["", "", "", "200"]),
        Fate::Fails | Fate::ReportsLate(Status::Failed) => {
            (Status::Failed, &["CHECKSUM_MISMATCH", "DISK_FULL", "LOW_BATTERY", "500", "", "$NO_RESPONSE_FROM_DEVICE"])
        }
        Fate::IsRejected | Fate::ReportsLate(_) => (Status::Rejected, &["DEVICE_TOO_BUSY", "UNSUPPORTED_COMMAND"]),
        Fate::GivesUp => (Status::TimedOut, &["DEVICE_TIMEOUT", "ACTUATOR_STUCK", ""]),
        Fate::FallsSilent | Fate::StaysSilent => return reports,
    };
    reports.push(report(whole(end), status, dice.pick(codes)));
    reports
}

/// Signs of life from the pick-up until the end, at most one a second, more of them the longer it takes.
fn progress(dice: &mut Dice, from: f64, until: f64) -> Vec<Report> {
    let seconds = ((until - from) / 1000.0).max(0.0);
    let steps = whole(seconds.sqrt() / 2.0).clamp(0, 60);
    let codes = dice.below(3) == 0;
    let mut reports = vec![Report::new(whole(from), Status::InProgress)];
    reports.extend((1..=steps).map(|step| {
        let share = step as f64 / (steps + 1) as f64;
        let code = if codes { format!("{}_PERCENT", whole(share * 100.0)) } else { String::new() };
        let mut sign = report(whole(from + (until - from) * share), Status::InProgress, "");
        sign.reason_code = (!code.is_empty()).then(|| code.into());
        sign
    }));
    reports
}

fn report(after_millis: i64, status: Status, code: &'static str) -> Report {
    Report { reason_code: (!code.is_empty()).then(|| code.into()), ..Report::new(after_millis, status) }
}

fn fate(dice: &mut Dice) -> Fate {
    let mut throw = dice.below(FATES.iter().map(|(share, _)| share).sum());
    for (share, fate) in FATES {
        match throw.checked_sub(share) {
            Some(rest) => throw = rest,
            None => return fate,
        }
    }
    Fate::Succeeds
}

/// The nearest whole number; the conversion saturates.
#[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
