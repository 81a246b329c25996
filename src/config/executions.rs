//! The configured pairs, in the configuration itself or in a file of their own.

use std::collections::BTreeMap;
use std::fmt;

use super::account::Partitions;
use super::check::{Firsts, parsed, repeats, written_duration};
use super::fault::Faults;
use super::shape::{Shape, did_you_mean};
use super::tree::At;
use super::{Config, ConfiguredExecution, raw, yaml};
use crate::execution::{ExecutionId, ExecutionKey, TargetArn};

/// Longer label values would make every series of an execution heavy.
const LONGEST_LABEL: usize = 256;

/// Checks one execution after another, and that no pair comes twice.
pub(super) struct Executions<'c> {
    labels: &'c [String],
    seen: Firsts<ExecutionKey>,
    checked: Vec<ConfiguredExecution>,
}

impl<'c> Executions<'c> {
    pub(super) fn new(labels: &'c [String], expected: usize) -> Self {
        let (seen, checked) = (Firsts::with_capacity(expected), Vec::with_capacity(expected));
        Self { labels, seen, checked }
    }

    pub(super) fn into_vec(mut self) -> Vec<ConfiguredExecution> {
        self.checked.shrink_to_fit();
        self.checked
    }

    pub(super) fn check(
        &mut self,
        raw: raw::Execution,
        at: &At<'_, '_>,
        partitions: &mut Partitions,
        faults: &mut Faults,
    ) {
        let target_at = at.key("target_arn");
        let target = parsed(raw.target_arn, TargetArn::parse, &target_at, faults);
        if let Some(target) = &target {
            partitions.check_target(target, &target_at, faults);
        }
        let id_at = at.key("execution_id");
        let id = parsed(raw.execution_id, ExecutionId::parse, &id_at, faults);
        let interval = raw.interval.and_then(|raw| written_duration(&raw, &at.key("interval"), faults));
        let labels = self.labels(raw.labels.unwrap_or_default(), &at.key("labels"), faults);
        let (Some(target), Some(id)) = (target, id) else { return };
        let key = ExecutionKey { target, id };
        match self.seen.of(key.clone(), at.place) {
            Some(first) => {
                faults.value(&id_at, format_args!("the pair of target_arn and execution_id {}", repeats(first)))
            }
            None => self.checked.push(ConfiguredExecution { key, interval, labels }),
        }
    }

    /// The values in the order of the declared names.
    fn labels(
        &self,
        mut raw: BTreeMap<String, Option<String>>,
        at: &At<'_, '_>,
        faults: &mut Faults,
    ) -> Box<[Box<str>]> {
        let mut value = |name: &String| {
            let Some(value) = raw.remove(name).flatten() else { return Box::default() };
            if value.chars().count() > LONGEST_LABEL || value.chars().any(char::is_control) {
                let rule = format_args!("must have at most {LONGEST_LABEL} characters and no control characters");
                faults.value(&at.key(name), rule);
            }
            value.into_boxed_str()
        };
        let values = self.labels.iter().map(&mut value).collect();
        for entry in at.entries().iter().filter(|entry| raw.remove(&*entry.key).is_some()) {
            let rule = fmt::from_fn(|f| {
                f.write_str("this label is not declared in metrics.labels")?;
                match did_you_mean(&entry.key, self.labels.iter().map(String::as_str)) {
                    Some(meant) => write!(f, ", did you mean {meant}?"),
                    None => Ok(()),
                }
            });
            faults.key(&at.entry(entry), rule);
        }
        values
    }
}

impl Config {
    /// Reads a file of `execution_files`: one list of the same items as under `executions`, in YAML or JSON. A text
    /// without any value is an empty list. Items are read one by one, so a million of them need no tree.
    ///
    /// Labels, staleness and partitions are this configuration's. Pairs that are also configured elsewhere are the
    /// caller's to merge; within the file they are faults.
    ///
    /// # Errors
    /// Every fault of the file, in the form of [`Config::parse`].
    pub fn parse_executions(&self, file_name: &str, text: &str) -> Result<Vec<ConfiguredExecution>, super::Faults> {
        let mut faults = Faults::new(file_name);
        let shape = Shape::of(&raw::schema(), Some("Execution")).expect("a test reads every shape off the schema");
        let mut partitions = Partitions::new(&self.accounts);
        let mut executions = Executions::new(&self.metrics.labels, 0);
        let end = yaml::items(text, |index, node| {
            let at = At::item(index, node);
            if let Some(raw) = read(&shape, &at, &mut faults) {
                executions.check(raw, &at, &mut partitions, &mut faults);
            }
        });
        match end {
            Ok(None) => {}
            Ok(Some(other)) => faults.value(&At::root(&other), "must be a list of executions"),
            Err(error) => faults.text(error.place, error.rule),
        }
        faults.or(executions.into_vec())
    }
}

/// What of a value has the shape, as the raw type that the shape was read off.
pub(super) fn read<T: serde::de::DeserializeOwned>(shape: &Shape, at: &At<'_, '_>, faults: &mut Faults) -> Option<T> {
    let sound = shape.read(at, faults)?;
    Some(serde_json::from_value(sound).expect("the raw types take whatever has the shape of their own schema"))
}
