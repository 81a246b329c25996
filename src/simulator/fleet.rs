//! A fleet of devices and what becomes of the commands sent to them: a pure function of a seed and an index, so that
//! the same options give the same fleet in every process, and every execution is known before it is born.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::dice::fingerprint;
use super::life::{Execution, Record};
use super::nursery::Nursery;
use crate::execution::Timestamp;

/// What a fleet is made from.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// How many executions there are.
    pub executions: usize,
    /// Equal seeds give equal fleets.
    pub seed: u64,
    /// How much faster than in reality everything lives: ages, timeouts and delays are divided by it, on a clock that
    /// runs as ever, so that times on the wire stay those of the wall clock. Timeouts stay at least 1 s.
    pub speed: f64,
    /// When the executions are created.
    pub births: Births,
    /// Where the devices are; several make several accounts, Regions and partitions.
    pub places: Vec<Place>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self { executions: 100, seed: 1, speed: 1.0, births: Births::Before, places: vec![Place::default()] }
    }
}

/// When the executions of a fleet are created. Ages are spread evenly over their orders of magnitude, and timeouts
/// grow with them, so that at any moment some are open, near their deadline, and freshly ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Births {
    /// All before the start: every pair exists at once.
    Before,
    /// Two thirds before the start, the others in the 24 hours after it, ever more seldom: they answer 404 until then.
    Around,
}

/// A partition, Region and account that devices live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// The Region's code.
    pub region: String,
    /// The 12 digits of the account.
    pub account_id: String,
}

impl Place {
    /// A place by its parts.
    pub fn new(partition: &str, region: &str, account_id: &str) -> Self {
        Self { partition: partition.to_owned(), region: region.to_owned(), account_id: account_id.to_owned() }
    }

    /// Four accounts, four Regions, three partitions.
    pub fn world() -> Vec<Self> {
        vec![
            Self::default(),
            Self::new("aws", "us-east-1", "123456789012"),
            Self::new("aws", "eu-central-1", "210987654321"),
            Self::new("aws-cn", "cn-north-1", "345678901234"),
            Self::new("aws-us-gov", "us-gov-west-1", "456789012345"),
        ]
    }

    pub(super) fn arn(&self, resource: &str) -> String {
        format!("arn:{}:iot:{}:{}:{resource}", self.partition, self.region, self.account_id)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new("aws", "eu-central-1", super::DEFAULT_ACCOUNT)
    }
}

/// The commands of every place. The last has no executions.
pub(super) const COMMANDS: [&str; 6] =
    ["reboot", "update-firmware", "set-config", "collect-logs", "open-tunnel", "factory-reset"];

/// The commands and executions of a simulated service at its start.
#[derive(Debug)]
pub struct Fleet {
    executions: Vec<Execution>,
    by_key: HashMap<u64, Vec<u32>>,
    by_command: BTreeMap<Arc<str>, Vec<u32>>,
    by_target: HashMap<Arc<str>, Vec<u32>>,
    origin: Timestamp,
}

impl Fleet {
    /// The fleet of these options whose start is at `origin`.
    pub fn new(options: &FleetOptions, origin: Timestamp) -> Self {
        let nursery = Nursery::new(options, origin);
        let executions = (0..options.executions as u64).map(|index| nursery.execution(index)).collect();
        let mut fleet = Self::from_executions(executions, origin);
        for command in &nursery.commands {
            fleet.by_command.entry(Arc::clone(command)).or_default();
        }
        fleet
    }

    /// A fleet of exactly these executions, each pair once.
    pub fn from_executions(executions: Vec<Execution>, origin: Timestamp) -> Self {
        let mut fleet =
            Self { executions, by_key: HashMap::new(), by_command: BTreeMap::new(), by_target: HashMap::new(), origin };
        for (index, execution) in (0_u32..).zip(&fleet.executions) {
            fleet.by_key.entry(fingerprint(&[&execution.target, &execution.id])).or_default().push(index);
            fleet.by_command.entry(Arc::clone(&execution.command)).or_default().push(index);
            fleet.by_target.entry(Arc::clone(&execution.target)).or_default().push(index);
        }
        fleet
    }

    /// The moment of the start, around which births are spread.
    pub fn origin(&self) -> Timestamp {
        self.origin
    }

    /// Every pair of target ARN and execution ID, the unborn included.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.executions.iter().map(|execution| (&*execution.target, &*execution.id))
    }

    /// Every execution and its script.
    pub fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// The execution of this pair.
    pub fn execution(&self, target: &str, id: &str) -> Option<&Execution> {
        let of_key = self.by_key.get(&fingerprint(&[target, id]))?;
        self.at(of_key).find(|execution| *execution.target == *target && *execution.id == *id)
    }

    /// What the service knows of this pair at `now`; `None` where it answers 404.
    pub fn record(&self, target: &str, id: &str, now: Timestamp) -> Option<Record> {
        self.execution(target, id)?.at(now)
    }

    /// The ARNs of all commands, in order.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.by_command.keys().map(|arn| &**arn)
    }

    pub(super) fn of_command(&self, arn: &str) -> impl Iterator<Item = &Execution> {
        self.at(self.by_command.get(arn).map_or(&[], Vec::as_slice))
    }

    pub(super) fn of_target(&self, arn: &str) -> impl Iterator<Item = &Execution> {
        self.at(self.by_target.get(arn).map_or(&[], Vec::as_slice))
    }

    fn at<'a>(&'a self, indexes: &'a [u32]) -> impl Iterator<Item = &'a Execution> {
        indexes.iter().filter_map(|index| self.executions.get(*index as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::execution::Status;

    const ORIGIN: Timestamp = Timestamp::from_millis(1_732_000_000_000);

    fn fleet(executions: usize, seed: u64, speed: f64, births: Births) -> Fleet {
        Fleet::new(&FleetOptions { executions, seed, speed, births, places: Place::world() }, ORIGIN)
    }

    fn after(seconds: i64) -> Timestamp {
        ORIGIN.checked_add_seconds(seconds).expect("fits")
    }

    /// What the service's own rules allow, written down a second time.
    fn may_become(from: &Record, to: &Record) -> bool {
        use Status::{Created, Failed, InProgress, Rejected, Succeeded, TimedOut};
        match (from.status, to.status) {
            _ if from == to => true,
            (Created, _) => true,
            (InProgress, InProgress | Succeeded | Failed | Rejected | TimedOut) => true,
            (TimedOut, Succeeded | Failed | Rejected | TimedOut) => from.completed_at.is_none(),
            _ => false,
        }
    }

    fn check_record(record: &Record, execution: &Execution, now: Timestamp) -> Result<(), TestCaseError> {
        let ended_by_device = matches!(record.status, Status::Succeeded | Status::Failed | Status::Rejected);
        let open = matches!(record.status, Status::Created | Status::InProgress);
        prop_assert!(!ended_by_device || record.completed_at.is_some());
        prop_assert!(!open || record.completed_at.is_none());
        prop_assert!(record.created_at <= record.last_updated_at && record.last_updated_at <= now);
        prop_assert!(record.completed_at.is_none_or(|at| at == record.last_updated_at));
        prop_assert!(record.execution_timeout_seconds >= 1);
        if record.status == Status::TimedOut && record.completed_at.is_none() {
            let code = record.status_reason.as_ref().map(|reason| reason.reason_code.as_str());
            prop_assert_eq!(code, Some("$NO_RESPONSE_FROM_DEVICE"));
            prop_assert!(record.last_updated_at >= execution.deadline());
        }
        if open {
            let overdue = now.millis() - execution.deadline().millis();
            prop_assert!(overdue < 20_001, "the timer forgets nobody: {overdue} ms");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_life_is_legal(seed: u64, index in 0_usize..500, speed in prop_oneof![Just(1.0), 0.5..200.0_f64]) {
            let fleet = fleet(500, seed, speed, Births::Around);
            let execution = &fleet.executions()[index];
            let mut moments = vec![execution.created, execution.deadline()];
            moments.extend(execution.reports.iter().map(|r| Timestamp::from_millis(execution.created.millis() + r.after_millis)));
            moments.push(Timestamp::from_millis(execution.deadline().millis() + execution.timer_lag_millis));
            moments.extend((0..50).map(|step| Timestamp::from_millis(execution.created.millis() + step * execution.timeout_seconds * 80)));
            moments.sort();
            let mut before: Option<Record> = None;
            for now in moments {
                let record = execution.at(now).expect("born");
                check_record(&record, execution, now)?;
                if let Some(before) = before {
                    prop_assert!(may_become(&before, &record), "{before:?} became {record:?}");
                    prop_assert!(before.last_updated_at <= record.last_updated_at);
                }
                before = Some(record);
            }
            prop_assert!(execution.at(Timestamp::from_millis(execution.created.millis() - 1)).is_none());
        }

        #[test]
        fn the_same_seed_is_the_same_fleet(seed: u64) {
            let (one, two) = (fleet(50, seed, 1.0, Births::Around), fleet(50, seed, 1.0, Births::Around));
            prop_assert_eq!(one.executions(), two.executions());
            let other = fleet(50, seed.wrapping_add(1), 1.0, Births::Around);
            prop_assert_ne!(one.executions(), other.executions());
        }
    }

    #[test]
    fn pairs_are_unique_though_ids_are_not() {
        let fleet = fleet(10_000, 7, 1.0, Births::Before);
        assert_eq!(fleet.pairs().collect::<HashSet<_>>().len(), 10_000);
        let ids = fleet.pairs().map(|(_, id)| id).collect::<HashSet<_>>().len();
        assert!((9_800..10_000).contains(&ids), "{ids}");
        for (target, id) in fleet.pairs() {
            let found = fleet.execution(target, id).map(|execution| (&*execution.target, &*execution.id));
            assert_eq!(found, Some((target, id)));
        }
    }

    #[test]
    fn a_fleet_of_the_past_exists_whole_at_the_start() {
        for seed in 0..20 {
            let fleet = fleet(300, seed, 1.0, Births::Before);
            assert!(fleet.executions().iter().all(|execution| execution.at(ORIGIN).is_some()));
        }
    }

    #[test]
    fn there_is_a_sensible_mix_from_the_start_and_for_hours() {
        for (seed, hours) in (0..12).flat_map(|seed| [0, 1, 4, 8].map(|hours| (seed, hours))) {
            let fleet = fleet(1_000, seed, 1.0, Births::Around);
            let now = after(hours * 3_600 + 60);
            let mut seen = BTreeSet::new();
            for execution in fleet.executions() {
                let Some(record) = execution.at(now) else {
                    seen.insert("unborn");
                    continue;
                };
                let left = execution.deadline().millis() - now.millis();
                seen.insert(record.status.label());
                if matches!(record.status, Status::Created | Status::InProgress) {
                    seen.insert("open");
                    if left < execution.timeout_seconds * 300 {
                        seen.insert("near its deadline");
                    }
                } else if record.status == Status::TimedOut && record.completed_at.is_some() {
                    seen.insert("given up by the device");
                }
            }
            for wanted in [
                "unborn",
                "IN_PROGRESS",
                "SUCCEEDED",
                "FAILED",
                "REJECTED",
                "TIMED_OUT",
                "open",
                "near its deadline",
                "given up by the device",
            ] {
                assert!(seen.contains(wanted), "seed {seed}, after {hours} h: nothing is {wanted}");
            }
        }
    }

    #[test]
    fn awkward_names_and_all_places_occur() {
        let fleet = fleet(2_000, 3, 1.0, Births::Before);
        let targets: Vec<&str> = fleet.pairs().map(|(target, _)| target).collect();
        for part in ["日本", "#rack+", "%2F?", "\\", "\"", "{site=", "//", "thing/site:", "aws-cn", "us-gov-west-1"] {
            assert!(targets.iter().any(|target| target.contains(part)), "{part}");
        }
        assert!(targets.iter().all(|target| target.len() < 200 && !target.chars().any(char::is_control)));
    }

    #[test]
    fn speed_shortens_lives_and_timeouts() {
        let total = |speed| -> i64 {
            fleet(200, 5, speed, Births::Before).executions().iter().map(|execution| execution.timeout_seconds).sum()
        };
        let (slow, fast) = (total(1.0), total(60.0));
        assert!(fast * 50 < slow && fast >= 200, "{slow} {fast}");
    }
}
