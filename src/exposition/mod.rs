//! The text of `/metrics`, streamed: families contiguous, in the order of [`Family::ALL`], executions in the order in
//! which they are tracked, each shown as one poll left it.
//!
//! The labels of an execution lie in the state ready to be copied, times are integers, and a scrape is an iterator
//! over chunks of bounded size: the whole text is never in memory, no series allocates, and who reads slowly holds
//! up nobody. A family without samples is left out, head and all.

mod commands;
mod deflate;
mod executions;
mod gzip;
mod negotiate;
#[cfg(test)]
mod parser;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Config;
use crate::execution::{Reason, Status, Timestamp};
use crate::family::{self, Family, Labels};
use crate::store::View;
use crate::text::{self, Format};
use executions::Part;
pub use gzip::Gzip;
pub use negotiate::{accepts_gzip, format};

/// The size at which a chunk is given out; it may be larger by what one execution has in one family. Large enough that
/// few calls send a page, small enough that a core's own cache still has it when it is sent.
const CHUNK: usize = 256 << 10;

/// What the configuration says about the exposition, made ready once per load.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    max_staleness_millis: i64,
    /// The codes that may become label values, with the value escaped.
    reason_codes: BTreeMap<Box<str>, Box<str>>,
    families: Vec<Shown>,
}

/// A family that is not switched off.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    family: Family,
    /// Its name with the prefix.
    name: Box<str>,
    /// How its samples begin: the name and the brace.
    sample: Box<str>,
}

impl Settings {
    /// The settings of a configuration.
    pub fn new(config: &Config) -> Self {
        let wanted = |family: &Family| {
            !config.metrics.disabled.contains(family)
                && (config.metrics.per_execution || family.labels() == Labels::Command)
        };
        let codes = config.metrics.reason_codes.iter().map(String::as_str).chain([Reason::NO_RESPONSE]);
        Self {
            max_staleness_millis: i64::try_from(config.poll.max_staleness.as_millis()).unwrap_or(i64::MAX),
            reason_codes: codes.map(|code| (code.into(), escaped(code))).collect(),
            families: Family::ALL.into_iter().filter(wanted).map(Shown::new).collect(),
        }
    }
}

impl Shown {
    fn new(family: Family) -> Self {
        let name = format!("{}{}", family::PREFIX, family.name());
        Self { family, sample: format!("{name}{{").into(), name: name.into() }
    }
}

fn escaped(value: &str) -> Box<str> {
    let mut escaped = String::new();
    text::push_escaped(&mut escaped, value);
    escaped.into()
}

/// The text of all metrics at `now`: first `own`, the text of the exporter's own families in the same format, then
/// those about executions.
pub fn render(view: View, settings: Arc<Settings>, now: Timestamp, format: Format, own: impl Into<Bytes>) -> Scrape {
    Scrape { view, settings, now, format, own: own.into(), place: Place::default(), counts: None, ended: false }
}

/// The text of one scrape, chunk by chunk. It owns all that it reads, so it may wait for a slow reader for ever.
#[derive(Debug)]
pub struct Scrape {
    view: View,
    settings: Arc<Settings>,
    now: Timestamp,
    format: Format,
    own: Bytes,
    place: Place,
    /// Executions by command and status, counted when they are first asked for.
    counts: Option<Vec<[u64; Status::ALL.len()]>>,
    ended: bool,
}

/// How far a scrape has come.
#[derive(Debug, Default)]
struct Place {
    /// The family, as an index into the settings' list.
    family: usize,
    /// The page of executions, or the command.
    page: usize,
    /// The execution in the page.
    execution: usize,
    /// Whether the family's head is written.
    headed: bool,
}

impl Iterator for Scrape {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.own.is_empty() {
            return Some(std::mem::take(&mut self.own));
        }
        if self.ended {
            return None;
        }
        let settings = self.settings.clone();
        let mut out = Vec::with_capacity(CHUNK + CHUNK / 8);
        while out.len() < CHUNK {
            let Some(shown) = settings.families.get(self.place.family) else {
                self.ended = true;
                if self.format == Format::OpenMetrics100 {
                    out.extend_from_slice(b"# EOF\n");
                }
                break;
            };
            self.step(&mut out, &settings, shown);
        }
        (!out.is_empty()).then(|| out.into())
    }
}

impl Scrape {
    /// Writes what is next of a family: a page of executions, or a command, or as much of it as there is room for.
    fn step(&mut self, out: &mut Vec<u8>, settings: &Settings, shown: &Shown) {
        let pages = match shown.family.labels() {
            Labels::Command => self.view.command_places(),
            Labels::Identity | Labels::Data => self.view.pages(),
        };
        if self.place.page == pages {
            self.place = Place { family: self.place.family + 1, ..Place::default() };
            return;
        }
        let start = out.len();
        if !self.place.headed {
            text::push_head(out, self.format, &shown.name, shown.family.help(), shown.family.kind());
        }
        let headed = out.len();
        let left_at = self.push_page(out, settings, shown);
        if out.len() > headed {
            self.place.headed = true;
        } else {
            out.truncate(start);
        }
        match left_at {
            Some(execution) => self.place.execution = execution,
            None => (self.place.page, self.place.execution) = (self.place.page + 1, 0),
        }
    }

    /// Writes a page of a family; `Some` of the execution to go on with where the room ends.
    fn push_page(&mut self, out: &mut Vec<u8>, settings: &Settings, shown: &Shown) -> Option<usize> {
        let Self { view, now, place, counts, .. } = self;
        if shown.family.labels() == Labels::Command {
            if let Some(command) = view.command(place.page) {
                let counts = counts.get_or_insert_with(|| view.count_by_status(*now, settings.max_staleness_millis));
                commands::push(out, shown, command, &counts[place.page]);
            }
            return None;
        }
        let (page, from) = (place.page, place.execution);
        executions::push(out, &Part { settings, shown, view, page, from, now: *now })
    }
}
