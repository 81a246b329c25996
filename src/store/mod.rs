//! The latest observation of every tracked execution, compact.

/// Where an execution stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32, pub u32);
