//! The simulated service: from a request to an answer, without a socket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use serde_json::Value;
use tokio::time::Instant;

use super::books::{Books, Page};
use super::breakage::broken;
use super::call::{Call, Operation};
use super::clock::Clock;
use super::dice::Dice;
use super::fault::{Effect, Faults};
use super::fleet::Fleet;
use super::journal::Journal;
use super::life::Execution;
use super::quota::Buckets;
use super::reply::{Refusal, Reply};
use super::{Listing, Options, switchboard};
use crate::execution::Timestamp;

/// All that a connection needs.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) fleet: Arc<Fleet>,
    pub(super) clock: Clock,
    pub(super) books: Books,
    pub(super) buckets: Buckets,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) listing: Mutex<Listing>,
    accounts: HashMap<String, String>,
    default_account: String,
    began: Instant,
    answers: AtomicU64,
}

impl Service {
    pub(super) fn new(fleet: Arc<Fleet>, options: &Options) -> Self {
        Self {
            fleet,
            clock: Clock::default(),
            books: Books::default(),
            buckets: Buckets::new(options.quotas),
            faults: Faults::new(options.fleet.seed),
            journal: Journal::new(options.remembered_requests),
            listing: Mutex::new(options.listing),
            accounts: options.accounts.clone(),
            default_account: options.default_account.clone(),
            began: Instant::now(),
            answers: AtomicU64::new(0),
        }
    }

    /// Answers any request.
    pub(super) async fn answer(&self, parts: &Parts, body: &[u8]) -> Reply {
        if let Some(path) = parts.uri.path().strip_prefix(switchboard::PREFIX) {
            return switchboard::answer(self, &parts.method, path, body);
        }
        let Some(mut call) = Call::read(parts, body) else {
            return Reply::refusal(&Refusal::typed(404, "UnknownOperationException", "No such operation"));
        };
        let signer = call.access_key.as_deref().and_then(|key| self.accounts.get(key));
        let foreign = signer.is_some_and(|own| call.account.as_ref().is_some_and(|account| account != own));
        call.account.get_or_insert_with(|| signer.unwrap_or(&self.default_account).clone());

        let under_way = self.journal.arrive(self.began.elapsed(), &call);
        let blow = self.faults.strike(&call);
        let admitted = if foreign {
            Err(Refusal::typed(403, "AccessDeniedException", "The caller belongs to another account"))
        } else {
            self.admit(&call)
        };
        if blow.latency_millis > 0 {
            tokio::time::sleep(Duration::from_millis(blow.latency_millis)).await;
        }
        let given = matches!(blow.effect, Some(Effect::Response { .. }));
        let truth = || admitted.and_then(|()| self.truth(&call));
        let answer = match blow.effect {
            None => truth(),
            Some(Effect::Hang) => std::future::pending().await,
            Some(effect) => broken(&effect, truth),
        };
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        let (mut reply, error) = match answer {
            Ok(reply) => (reply, None),
            Err(refusal) => (Reply::refusal(&refusal), Some(refusal.code)),
        };
        under_way.answer(reply.status.as_u16(), error.as_deref());
        if !given {
            reply.set_header("x-amzn-requestid", &request_id(number));
        }
        reply
    }

    /// Real time since the start.
    pub(super) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// The service's own record of every execution that exists now, with results.
    pub(super) fn records(&self) -> Vec<Value> {
        let now = self.clock.now();
        let books = self.books.all();
        let overruled = |execution: &Execution| {
            !books.is_empty() && books.contains_key(&(execution.target.to_string(), execution.id.to_string()))
        };
        let of_fleet = self.fleet.executions().iter().filter(|execution| !overruled(execution));
        let of_fleet = of_fleet.filter_map(|execution| execution.at(now)).map(|record| record.to_json());
        of_fleet.chain(books.values().filter_map(|page| page_at(page, now))).collect()
    }

    /// The service's own record of this pair now, with its result.
    pub(super) fn record(&self, target: &str, id: &str) -> Option<Value> {
        let now = self.clock.now();
        match self.books.get(target, id) {
            Some(page) => page_at(&page, now),
            None => self.fleet.record(target, id, now).map(|record| record.to_json()),
        }
    }

    /// Who asks, and whether there is quota left.
    fn admit(&self, call: &Call) -> Result<(), Refusal> {
        let (Some(region), Some(service), Some(_)) = (&call.region, &call.service, &call.access_key) else {
            return Err(Refusal::typed(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
        };
        if service != "iot" {
            let message = "Credential should be scoped to correct service: 'iot'.";
            return Err(Refusal::typed(403, "InvalidSignatureException", message));
        }
        let account = call.account.as_deref().unwrap_or_default();
        let admitted = self.buckets.take(call.operation, account, region, Instant::now());
        if admitted { Ok(()) } else { Err(Refusal::throttling()) }
    }

    fn truth(&self, call: &Call) -> Result<Reply, Refusal> {
        if let Some(fault) = &call.fault {
            return Err(fault.clone());
        }
        match call.operation {
            Operation::GetCommandExecution => self.get_execution(call),
            Operation::ListCommandExecutions => self.list_executions(call),
            Operation::ListCommands => self.list_commands(call),
            Operation::GetCommand => self.get_command(call),
        }
    }

    pub(super) fn listing(&self) -> Listing {
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_listing(&self, listing: Listing) {
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = listing;
    }
}

fn page_at(page: &Page, now: Timestamp) -> Option<Value> {
    match page {
        Page::Scripted(execution) => execution.at(now).map(|record| record.to_json()),
        Page::Fixed(body) => Some(body.clone()),
        Page::Gone => None,
    }
}

/// A request ID in the form of AWS's, by the number of the answer.
fn request_id(number: u64) -> String {
    let mut dice = Dice::new(number, 0x1d);
    format!("{:08x}-0000-4000-8000-{:012x}", dice.throw() >> 32, dice.throw() >> 16)
}
