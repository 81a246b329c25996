//! What is wrong with a file: every fault at once, each on one line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::tree::{At, Place};

/// One fault and its place. Written as
/// `FILE:LINE:COLUMN: KEY: VALUE: RULE`, without `KEY: ` where it concerns the file as a whole, and without `VALUE: `
/// where there is no value, such as for a missing or an unknown key:
///
/// ```text
/// exporter.yaml:12:15: executions[0].interval: "0s": must be longer than zero
/// ```
///
/// A value that may be a secret is written as `(hidden)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named to the program.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The path of the key, such as `executions[3].labels.site`; empty for the file as a whole.
    pub key: String,
    /// The value as written, on one line and shortened; text in quotes.
    pub value: Option<String>,
    /// What should be instead.
    pub rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value}: ")?;
        }
        f.write_str(&self.rule)
    }
}

/// How many faults are kept; of more, only the number.
const KEPT: usize = 1000;

/// The faults of one file, in its order. Displayed one a line, without a line feed at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    file: Arc<str>,
    kept: Vec<Fault>,
    /// Beyond those that are kept.
    more: usize,
}

impl Faults {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.into(), kept: Vec::new(), more: 0 }
    }

    /// The faults in the order of the file, a thousand at the most.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fault> {
        self.kept.iter()
    }

    /// How many there are, those included that were not kept.
    pub fn count(&self) -> usize {
        self.kept.len() + self.more
    }

    /// About the value. Rules are made into text only where they are kept: a huge file may break them a million times.
    pub(super) fn value(&mut self, at: &At<'_, '_>, rule: impl fmt::Display) {
        self.push(at.place, Some(at), |at| at.node().map(|node| node.shown()), rule);
    }

    /// About the value, which may be a secret.
    pub(super) fn hidden(&mut self, at: &At<'_, '_>, rule: impl fmt::Display) {
        self.push(at.place, Some(at), |_| Some("(hidden)".to_owned()), rule);
    }

    /// About the key, whatever its value.
    pub(super) fn key(&mut self, at: &At<'_, '_>, rule: impl fmt::Display) {
        self.push(at.key_place, Some(at), |_| None, rule);
    }

    /// About the text as such.
    pub(super) fn text(&mut self, place: Place, rule: impl fmt::Display) {
        self.push(place, None, |_| None, rule);
    }

    fn push(
        &mut self,
        place: Place,
        at: Option<&At<'_, '_>>,
        value: impl FnOnce(&At<'_, '_>) -> Option<String>,
        rule: impl fmt::Display,
    ) {
        if self.kept.len() == KEPT {
            self.more += 1;
            return;
        }
        let key = at.map(At::to_string).unwrap_or_default();
        let (file, Place { line, column }) = (Arc::clone(&self.file), place);
        self.kept.push(Fault { file, line, column, key, value: at.and_then(value), rule: rule.to_string() });
    }

    /// `value`, if there are no faults; else the faults in order.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.kept.is_empty() {
            return Ok(value);
        }
        self.kept.sort_by_key(|fault| (fault.line, fault.column));
        Err(self)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.kept.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\n{}: {} more faults", self.file, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why; part of the message, hence not its source.
        error: io::Error,
    },
    /// It is larger than this program reads.
    #[error("{}: the file is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size.
        limit: u64,
    },
    /// It could be read, but not as a configuration.
    #[error(transparent)]
    Faults(#[from] Faults),
}
