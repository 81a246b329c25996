//! The executions that discovery has found, and until when they stay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::execution::Timestamp;
use crate::store::Slot;

/// Found executions of one account and Region. Configured ones are none of these, whoever finds them too.
#[derive(Debug, Default)]
pub(super) struct Found {
    retain: HashMap<Slot, Duration>,
    /// By the time at which they leave; one that ended twice is here twice.
    leaving: BinaryHeap<Reverse<(Timestamp, Slot)>>,
}

impl Found {
    /// An execution is found; it stays for `retain` after its end.
    pub(super) fn add(&mut self, slot: Slot, retain: Duration) {
        self.retain.insert(slot, retain);
    }

    /// It has become a configured one, or is gone.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        self.retain.remove(&slot).is_some()
    }

    /// It has ended then.
    pub(super) fn ended(&mut self, slot: Slot, at: Timestamp) {
        if let Some(retain) = self.retain.get(&slot) {
            self.leaving.push(Reverse((leaves(at, *retain), slot)));
        }
    }

    /// Those that leave now.
    pub(super) fn leave(&mut self, now: Timestamp) -> Vec<Slot> {
        let mut gone = Vec::new();
        while let Some(Reverse((at, slot))) = self.leaving.peek().copied()
            && at <= now
        {
            self.leaving.pop();
            gone.extend(self.retain.remove(&slot).map(|_| slot));
        }
        gone
    }

    /// All of them.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.retain.keys().copied()
    }
}

/// When an execution that ended then has been shown for long enough.
pub(super) fn leaves(ended: Timestamp, retain: Duration) -> Timestamp {
    Timestamp::from_millis(ended.millis().saturating_add(i64::try_from(retain.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stay_for_a_while_after_their_end() {
        let at = Timestamp::from_millis;
        let (one, other) = (Slot::new(1, 0), Slot::new(2, 0));
        let mut found = Found::default();
        found.add(one, Duration::from_secs(10));
        found.add(other, Duration::from_secs(10));
        found.ended(one, at(0));
        found.ended(one, at(5_000));
        assert_eq!(found.leave(at(9_999)), []);
        assert_eq!(found.leave(at(15_000)), [one], "once");
        assert_eq!(found.slots().collect::<Vec<_>>(), [other], "an open one stays for ever");
        found.ended(other, at(0));
        assert!(found.remove(other));
        assert_eq!(found.leave(at(60_000)), []);
    }
}
