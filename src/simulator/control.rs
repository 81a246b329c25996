//! The switches of a running simulator, for the process that it runs in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::books::Page;
use super::fault::Fault;
use super::journal::{Counts, Entry};
use super::life::Execution;
use super::quota::Quotas;
use super::service::Service;
use super::{Fleet, Listing};
use crate::execution::Timestamp;

/// Switches and the record of a simulator. Clones are the same.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) service: Arc<Service>,
}

impl Control {
    /// The fleet it began with.
    pub fn fleet(&self) -> &Fleet {
        &self.service.fleet
    }

    /// The present moment of the simulated service.
    pub fn now(&self) -> Timestamp {
        self.service.clock.now()
    }

    /// The service's time stands still.
    pub fn freeze(&self) {
        self.service.clock.freeze();
    }

    /// The service's time stands still at this moment.
    pub fn freeze_at(&self, moment: Timestamp) {
        self.service.clock.freeze_at(moment);
    }

    /// The service's time runs on from where it stood.
    pub fn resume(&self) {
        self.service.clock.resume();
    }

    /// Moves the service's time by so many milliseconds, standing still or not.
    pub fn advance_millis(&self, millis: i64) {
        self.service.clock.advance(millis);
    }

    /// Adds an execution with a script, or replaces the one of the same pair.
    pub fn add(&self, execution: Execution) {
        let (target, id) = (Arc::clone(&execution.target), Arc::clone(&execution.id));
        self.service.books.set(&target, &id, Page::Scripted(execution));
    }

    /// From now on exactly this body answers `GetCommandExecution` for the pair; listings show what a summary would.
    pub fn put(&self, target: &str, id: &str, body: Value) {
        self.service.books.set(target, id, Page::Fixed(body));
    }

    /// From now on the pair is unknown.
    pub fn remove(&self, target: &str, id: &str) {
        self.service.books.set(target, id, Page::Gone);
    }

    /// The service's own record of a pair now, as `GetCommandExecution` with `includeResult` shows it; `None` where it
    /// answers 404.
    pub fn record(&self, target: &str, id: &str) -> Option<Value> {
        self.service.record(target, id)
    }

    /// Every record that exists now.
    pub fn records(&self) -> Vec<Value> {
        self.service.records()
    }

    /// Switches a fault on. Of several that hit a call, the first added counts; latencies add up.
    pub fn fault(&self, fault: Fault) {
        self.service.faults.add(fault);
    }

    /// The faults that are on.
    pub fn faults(&self) -> Vec<Fault> {
        self.service.faults.list()
    }

    /// Switches all faults off. Calls that hang already go on hanging.
    pub fn clear_faults(&self) {
        self.service.faults.clear();
    }

    /// Other quotas; all buckets are full again.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.service.buckets.set(quotas);
    }

    /// Other habits of listings.
    pub fn set_listing(&self, listing: Listing) {
        self.service.set_listing(listing);
    }

    /// The last requests, oldest first; the control path's own are not among them.
    pub fn requests(&self) -> Vec<Entry> {
        self.service.journal.entries()
    }

    /// How many answers there were, by operation and by error type or HTTP status.
    pub fn counts(&self) -> Counts {
        self.service.journal.counts()
    }

    /// How many requests were under way at once, at most.
    pub fn most_in_flight(&self) -> usize {
        self.service.journal.most_in_flight()
    }

    /// Forgets requests and counts.
    pub fn clear_requests(&self) {
        self.service.journal.clear();
    }

    /// Real time since the simulator's start: the time base of [`Entry::at`].
    pub fn uptime(&self) -> Duration {
        self.service.uptime()
    }
}
