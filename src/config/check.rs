//! From the configuration as written to the configuration as meant: values, and what they must be to one another.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::executions::Executions;
use super::fault::Faults;
use super::shape::did_you_mean;
use super::tree::{At, Place};
use super::{Account, Config, Limits, Metrics, Poll, account, discovery, duration, raw};
use crate::family::{Family, PREFIX};

/// No interval, timeout or age is longer. AWS keeps executions for half a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Requests a second: fifty times AWS's default quota.
const FASTEST: f64 = 1000.0;
const MOST_CONCURRENT: i64 = 1000;
const MOST_EXECUTIONS: i64 = 10_000_000;
const MOST_LABELS: usize = 32;
const MOST_REASON_CODES: usize = 1000;
const MOST_FILES: usize = 1000;

/// Label names that the exporter or Prometheus itself uses.
const RESERVED_LABELS: [&str; 15] = [
    "account_id",
    "region",
    "target",
    "execution_id",
    "command",
    "status",
    "reason",
    "origin",
    "code",
    "target_arn",
    "command_arn",
    "le",
    "quantile",
    "job",
    "instance",
];

/// Checks everything; what has a fault is left out or has its default, so that the rest can be checked.
pub(super) fn config(raw: raw::Config, hash: String, at: &At<'_, '_>, faults: &mut Faults) -> Config {
    let poll = poll(raw.poll.unwrap_or_default(), &at.key("poll"), faults);
    let limits = limits(raw.limits.unwrap_or_default(), &at.key("limits"), faults);
    let accounts = account::check(raw.accounts.unwrap_or_default(), &at.key("accounts"), faults);
    let raw_metrics = raw.metrics.unwrap_or_default();
    // Faulty names count as declared: their fault is reported where they are declared, once.
    let declared: Vec<String> = raw_metrics.labels.iter().flatten().flatten().cloned().collect();
    let metrics = metrics(raw_metrics, &at.key("metrics"), faults);

    let mut partitions = account::Partitions::new(&accounts);
    let mut executions = Executions::new(&declared, raw.executions.as_ref().map_or(0, Vec::len));
    let list = at.key("executions");
    for (index, raw) in raw.executions.into_iter().flatten().enumerate() {
        if let Some(raw) = raw {
            executions.check(raw, &list.index(index), &mut partitions, faults);
        }
    }
    let executions = executions.into_vec();
    let execution_files = files(raw.execution_files.unwrap_or_default(), &at.key("execution_files"), faults);
    let discovery = discovery::check(raw.discovery.unwrap_or_default(), &at.key("discovery"), &mut partitions, faults);
    Config { poll, limits, accounts, executions, execution_files, discovery, metrics, hash }
}

fn poll(raw: raw::Poll, at: &At<'_, '_>, faults: &mut Faults) -> Poll {
    let default = Poll::default();
    let mut read = |raw, default, key| duration_or(raw, default, &at.key(key), faults).unwrap_or(default);
    Poll {
        interval: read(raw.interval, default.interval, "interval"),
        timeout: read(raw.timeout, default.timeout, "timeout"),
        max_staleness: read(raw.max_staleness, default.max_staleness, "max_staleness"),
    }
}

fn limits(raw: raw::Limits, at: &At<'_, '_>, faults: &mut Faults) -> Limits {
    let default = Limits::default();
    let mut rate = |raw: Option<f64>, default: f64, key: &str| match raw {
        Some(rate) if rate > 0.0 && rate <= FASTEST => rate,
        Some(_) => {
            faults.value(&at.key(key), format_args!("must be above 0 and at most {FASTEST}"));
            default
        }
        None => default,
    };
    let get_requests_per_second =
        rate(raw.get_requests_per_second, default.get_requests_per_second, "get_requests_per_second");
    let list_requests_per_second =
        rate(raw.list_requests_per_second, default.list_requests_per_second, "list_requests_per_second");
    let mut count = |raw: Option<i64>, default: usize, key: &str, range: RangeInclusive<i64>| match raw {
        Some(count) if range.contains(&count) => usize::try_from(count).unwrap_or(default),
        Some(_) => {
            faults.value(&at.key(key), format_args!("must be from {} to {}", range.start(), range.end()));
            default
        }
        None => default,
    };
    Limits {
        get_requests_per_second,
        list_requests_per_second,
        concurrency: count(raw.concurrency, default.concurrency, "concurrency", 1..=MOST_CONCURRENT),
        executions: count(raw.executions, default.executions, "executions", 1..=MOST_EXECUTIONS),
    }
}

fn files(raw: Vec<Option<String>>, at: &At<'_, '_>, faults: &mut Faults) -> Vec<String> {
    list(raw, at, MOST_FILES, faults, |glob| match glob::Pattern::new(&glob) {
        _ if glob.is_empty() => Err("must not be empty".to_owned()),
        Err(error) => Err(format!("is not a glob: {} (at character {})", error.msg, error.pos + 1)),
        Ok(_) => Ok(glob),
    })
}

fn metrics(raw: raw::Metrics, at: &At<'_, '_>, faults: &mut Faults) -> Metrics {
    Metrics {
        labels: list(raw.labels.unwrap_or_default(), &at.key("labels"), MOST_LABELS, faults, label_name),
        reason_codes: list(
            raw.reason_codes.unwrap_or_default(),
            &at.key("reason_codes"),
            MOST_REASON_CODES,
            faults,
            reason_code,
        ),
        per_execution: raw.per_execution.unwrap_or(Metrics::default().per_execution),
        disabled: list(raw.disabled.unwrap_or_default(), &at.key("disabled"), Family::ALL.len(), faults, family),
    }
}

fn label_name(name: String) -> Result<String, String> {
    let form = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !form {
        return Err("must be a label name: letters, digits and _, no digit first".to_owned());
    }
    if name.starts_with("__") {
        return Err("must not begin with __, which Prometheus keeps for itself".to_owned());
    }
    if RESERVED_LABELS.contains(&name.as_str()) {
        return Err("is a label of the exporter or of Prometheus itself; choose another name".to_owned());
    }
    Ok(name)
}

fn reason_code(code: String) -> Result<String, String> {
    let form = (1..=64).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if form { Ok(code) } else { Err("must be a reason code: 1 to 64 of A-Z, 0-9, _ and -".to_owned()) }
}

fn family(name: String) -> Result<Family, String> {
    if let Some(family) = Family::from_name(&name) {
        return Ok(family);
    }
    let short = name.strip_prefix(PREFIX).unwrap_or(&name);
    Err(match did_you_mean(short, Family::ALL.iter().map(|family| family.name())) {
        Some(meant) => format!("is not the name of a family without its prefix, did you mean {meant}?"),
        None => format!("is not the name of a family without its prefix {PREFIX}"),
    })
}

/// A list without repetitions, each item checked; of one that is too long, as many as it may have.
fn list<T>(
    raw: Vec<Option<String>>,
    at: &At<'_, '_>,
    most: usize,
    faults: &mut Faults,
    check: impl Fn(String) -> Result<T, String>,
) -> Vec<T> {
    if raw.len() > most {
        faults.value(at, format_args!("must have at most {most} items"));
    }
    let mut firsts = Firsts::default();
    let mut checked = Vec::new();
    for (index, text) in raw.into_iter().take(most).enumerate() {
        let at = at.index(index);
        let Some(text) = text else { continue };
        if let Some(first) = firsts.of(text.clone(), at.place) {
            faults.value(&at, repeats(first));
            continue;
        }
        match check(text) {
            Ok(item) => checked.push(item),
            Err(rule) => faults.value(&at, rule),
        }
    }
    checked
}

/// Where things stood first.
pub(super) struct Firsts<T>(HashMap<T, Place>);

impl<T> Default for Firsts<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Firsts<T> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(HashMap::with_capacity(capacity))
    }

    /// Where the same stood before, if it did.
    pub(super) fn of(&mut self, thing: T, place: Place) -> Option<Place> {
        match self.0.entry(thing) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(place);
                None
            }
        }
    }
}

/// The rule that a repetition breaks.
pub(super) fn repeats(first: Place) -> String {
    format!("is already at line {}, column {}", first.line, first.column)
}

/// The duration of a key: the default where nothing is written, `None` where that has a fault.
pub(super) fn duration_or(
    raw: Option<raw::Duration>,
    default: Duration,
    at: &At<'_, '_>,
    faults: &mut Faults,
) -> Option<Duration> {
    match raw {
        Some(raw) => written_duration(&raw, at, faults),
        // Written, but not as text: reported already.
        None if at.is_written() => None,
        None => Some(default),
    }
}

/// A duration that is written.
pub(super) fn written_duration(raw: &raw::Duration, at: &At<'_, '_>, faults: &mut Faults) -> Option<Duration> {
    match duration::parse(&raw.0) {
        Ok(duration) if duration.is_zero() => faults.value(at, "must be longer than zero"),
        Ok(duration) if duration > LONGEST => faults.value(at, "must be at most 1y"),
        Ok(duration) => return Some(duration),
        Err(error) => faults.value(at, error),
    }
    None
}

/// The value of a key through its own parser.
pub(super) fn parsed<T, E: Display>(
    raw: Option<String>,
    parse: impl Fn(&str) -> Result<T, E>,
    at: &At<'_, '_>,
    faults: &mut Faults,
) -> Option<T> {
    parse(&raw?).map_err(|rule| faults.value(at, rule)).ok()
}

/// The accounts, for those that must agree with them.
pub(super) type Accounts = BTreeMap<String, Account>;
