//! The nouns of an AWS IoT command execution, as pure values: who it is ([`ExecutionKey`]), how it stands
//! ([`Snapshot`]) and why it could not be asked ([`Failure`]). No I/O, no clock: the time of the moment comes in
//! as a [`Timestamp`].

mod arn;
mod failure;
mod key;
mod snapshot;
mod status;
mod timestamp;

pub use arn::{ArnError, CommandArn, Partition, Scope, TargetArn};
pub use failure::{Failure, FailureReason};
pub use key::{ExecutionId, ExecutionIdError, ExecutionKey};
pub use snapshot::{Origin, Reason, Snapshot};
pub use status::Status;
pub use timestamp::Timestamp;
