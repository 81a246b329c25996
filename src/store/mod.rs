//! The latest observation of every tracked execution, compact.

/// Where an execution stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32, pub u32);
/// stub
pub struct Store;
use crate::execution::*;
#[allow(missing_docs)]
impl Store {
    pub fn track(&self, _: &ExecutionKey, _: &[(&str, &str)]) -> Slot {
        Slot(0, 0)
    }
    pub fn untrack(&self, _: Slot) {}
    pub fn record(&self, _: Slot, _: &Result<Snapshot, Failure>, _: Timestamp) {}
}
