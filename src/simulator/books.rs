//! What the service knows beside its fleet: executions that a test has added, changed or taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::life::Execution;
use crate::execution::Timestamp;

/// One pair that is not, or no more, as the fleet has it.
#[derive(Clone, Debug)]
pub(super) enum Page {
    /// An execution with a script.
    Scripted(Execution),
    /// Exactly this body, at any time.
    Fixed(Value),
    /// Unknown to the service.
    Gone,
}

/// The pairs that overrule the fleet.
#[derive(Debug, Default)]
pub(super) struct Books {
    pages: Mutex<BTreeMap<(String, String), Page>>,
}

impl Books {
    pub(super) fn set(&self, target: &str, id: &str, page: Page) {
        self.lock().insert((target.to_owned(), id.to_owned()), page);
    }

    /// What overrules the fleet about this pair.
    pub(super) fn get(&self, target: &str, id: &str) -> Option<Page> {
        let pages = self.lock();
        if pages.is_empty() {
            return None;
        }
        pages.get(&(target.to_owned(), id.to_owned())).cloned()
    }

    /// All pages, by pair.
    pub(super) fn all(&self) -> BTreeMap<(String, String), Page> {
        self.lock().clone()
    }

    /// The ARNs of the commands that are named here.
    pub(super) fn commands(&self) -> BTreeSet<String> {
        let pages = self.lock();
        let arns = pages.values().filter_map(|page| match page {
            Page::Scripted(execution) => Some(&*execution.command),
            Page::Fixed(body) => body.get("commandArn").and_then(Value::as_str),
            Page::Gone => None,
        });
        arns.map(str::to_owned).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment in this member of a fixed body.
#[expect(clippy::cast_possible_truncation, reason = "saturating is good enough for a test's own body")]
pub(super) fn moment_in(body: &Value, member: &str) -> Option<Timestamp> {
    body.get(member).and_then(Value::as_f64).map(|seconds| Timestamp::from_millis((seconds * 1000.0).round() as i64))
}
