//! What has been asked, and what was answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::call::{Call, Operation};

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Real time since the simulator's start.
    #[serde(serialize_with = "as_seconds")]
    pub at: Duration,
    /// What was asked.
    pub operation: Operation,
    /// The account that it was counted against.
    pub account: String,
    /// The Region that it was signed for; empty without a signature.
    pub region: String,
    /// The access key ID.
    pub access_key: String,
    /// The target's ARN, where there is one.
    pub target: Option<String>,
    /// The execution's (or the command's) ID, where there is one.
    pub execution: Option<String>,
    /// The HTTP status of the answer; `None` while there is none, or for ever where the client went away.
    pub status: Option<u16>,
    /// The type of the error that the service answered.
    pub error: Option<String>,
}

fn as_seconds<S: serde::Serializer>(at: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(at.as_secs_f64())
}

/// How many answers there were, by operation, then by error type or HTTP status: `{"GetCommand": {"200": 7}}`.
pub type Counts = BTreeMap<Operation, BTreeMap<String, u64>>;

/// The last requests, and counts of all.
#[derive(Debug)]
pub(super) struct Journal {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The number of the first entry that is still there.
    first: u64,
    counts: Counts,
    in_flight: usize,
    most_in_flight: usize,
}

/// A request under way. Dropped without an answer, it counts as one that the client gave up.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    journal: &'a Journal,
    operation: Operation,
    number: u64,
    answered: bool,
}

impl Journal {
    /// A journal that remembers so many requests.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Mutex::default() }
    }

    pub(super) fn arrive(&self, at: Duration, call: &Call) -> UnderWay<'_> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let entry = Entry {
            at,
            operation: call.operation,
            account: text(&call.account),
            region: text(&call.region),
            access_key: text(&call.access_key),
            target: call.target.clone(),
            execution: call.execution.clone(),
            status: None,
            error: None,
        };
        let mut state = self.lock();
        if state.entries.len() >= self.most {
            state.entries.pop_front();
            state.first += 1;
        }
        let number = state.first + state.entries.len() as u64;
        state.entries.push_back(entry);
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        UnderWay { journal: self, operation: call.operation, number, answered: false }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.iter().cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.lock().most_in_flight
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.first += state.entries.len() as u64;
        state.entries.clear();
        state.counts.clear();
        state.most_in_flight = state.in_flight;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// Notes the answer.
    pub(super) fn answer(mut self, status: u16, error: Option<&str>) {
        self.answered = true;
        let mut state = self.journal.lock();
        let index = self.number.checked_sub(state.first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| state.entries.get_mut(index)) {
            entry.status = Some(status);
            entry.error = error.map(str::to_owned);
        }
        let name = error.map_or_else(|| status.to_string(), str::to_owned);
        *state.counts.entry(self.operation).or_default().entry(name).or_default() += 1;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.journal.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if !self.answered {
            *state.counts.entry(self.operation).or_default().entry("abandoned".to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_requests_and_counts_all() {
        let journal = Journal::new(2);
        let call = Call::of(Operation::GetCommand);
        for status in [200, 200, 404] {
            let under_way = journal.arrive(Duration::from_secs(u64::from(status)), &call);
            under_way.answer(status, (status == 404).then_some("ResourceNotFoundException"));
        }
        drop(journal.arrive(Duration::ZERO, &call));
        let statuses: Vec<_> = journal.entries().into_iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [Some(404), None]);
        let counts = &journal.counts()[&Operation::GetCommand];
        let counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, [("200", 2), ("ResourceNotFoundException", 1), ("abandoned", 1)]);
    }

    #[test]
    fn an_answer_after_the_entry_was_forgotten_is_still_counted() {
        let journal = Journal::new(1);
        let call = Call::of(Operation::GetCommand);
        let (first, second) = (journal.arrive(Duration::ZERO, &call), journal.arrive(Duration::ZERO, &call));
        first.answer(500, None);
        assert_eq!(journal.entries()[0].status, None, "the entry is the second request's");
        second.answer(200, None);
        assert_eq!((journal.entries()[0].status, journal.most_in_flight()), (Some(200), 2));
    }
}
