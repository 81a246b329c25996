//! Which executions of a lane fail, so that the log tells of beginnings and ends and not of every poll.

use std::collections::{BTreeMap, HashMap};

use crate::execution::{Failure, FailureReason, Scope};
use crate::store::Slot;

/// The executions of one account and Region whose last poll failed.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: HashMap<Slot, FailureReason>,
    counts: BTreeMap<FailureReason, u32>,
}

impl Health {
    /// Takes in the outcome of a poll, and logs what has begun or ended with it. `name` names the execution, where a
    /// line is written.
    pub(super) fn polled(&mut self, scope: &Scope, slot: Slot, failure: Option<&Failure>, name: impl Fn() -> String) {
        let before = self.failing.get(&slot).copied();
        match failure {
            Some(failure) if before == Some(failure.reason) => {}
            Some(failure) => self.began(scope, failure, name),
            None if before.is_some_and(concerns_one) => {
                tracing::info!(execution = name(), "the execution is polled again")
            }
            None => {}
        }
        self.set(scope, slot, failure.map(|failure| failure.reason));
    }

    /// An execution is not tracked any more.
    pub(super) fn forget(&mut self, scope: &Scope, slot: Slot) {
        self.set(scope, slot, None);
    }

    fn began(&self, scope: &Scope, failure: &Failure, name: impl Fn() -> String) {
        let (reason, error) = (failure.reason.label(), &failure.detail);
        if concerns_one(failure.reason) {
            tracing::warn!(execution = name(), reason, error, "the execution cannot be polled");
        } else if !self.counts.contains_key(&failure.reason) {
            let (account_id, region) = (&*scope.account_id, &*scope.region);
            tracing::warn!(account_id, region, reason, error, execution = name(), "polls begin to fail");
        }
    }

    fn set(&mut self, scope: &Scope, slot: Slot, reason: Option<FailureReason>) {
        let before = match reason {
            Some(reason) => self.failing.insert(slot, reason),
            None => self.failing.remove(&slot),
        };
        if before == reason {
            return;
        }
        if let Some(reason) = reason {
            *self.counts.entry(reason).or_default() += 1;
        }
        if let Some(before) = before {
            self.ended(scope, before);
        }
    }

    fn ended(&mut self, scope: &Scope, reason: FailureReason) {
        let left = self.counts.entry(reason).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.counts.remove(&reason);
            if !concerns_one(reason) {
                let (account_id, region) = (&*scope.account_id, &*scope.region);
                tracing::info!(account_id, region, reason = reason.label(), "no poll fails for this reason any more");
            }
        }
    }
}

/// Whether a failure is about one execution, and not about the way to its account and Region.
fn concerns_one(reason: FailureReason) -> bool {
    use FailureReason::{InvalidRequest, Malformed, NotFound, Unknown};
    matches!(reason, NotFound | InvalidRequest | Malformed | Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_as_executions_come_and_go() {
        let scope = Scope::new("123456789012", "eu-central-1").expect("well-formed");
        let mut health = Health::default();
        let failure = |reason| Some(Failure::new(reason, ""));
        let steps = [
            (0, failure(FailureReason::Timeout), vec![(FailureReason::Timeout, 1)]),
            (0, failure(FailureReason::Timeout), vec![(FailureReason::Timeout, 1)]),
            (1, failure(FailureReason::Timeout), vec![(FailureReason::Timeout, 2)]),
            (0, failure(FailureReason::NotFound), vec![(FailureReason::Timeout, 1), (FailureReason::NotFound, 1)]),
            (1, None, vec![(FailureReason::NotFound, 1)]),
            (1, None, vec![(FailureReason::NotFound, 1)]),
        ];
        for (slot, failure, counts) in steps {
            health.polled(&scope, Slot::new(slot, 0), failure.as_ref(), String::new);
            assert_eq!(health.counts.clone().into_iter().collect::<Vec<_>>(), counts);
        }
        health.forget(&scope, Slot::new(0, 0));
        assert!(health.counts.is_empty() && health.failing.is_empty());
    }
}
