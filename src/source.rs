//! Where executions come from: the one trait, so that a fake can stand in for AWS.

use crate::execution::{CommandArn, ExecutionKey, Failure, Scope, Snapshot, Status, TargetArn, Timestamp};

/// What can be listed: by command, or by target. The service takes exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListBy {
    /// Every execution of a command.
    Command(CommandArn),
    /// Every execution on a target.
    Target(TargetArn),
}

impl ListBy {
    /// The account and Region to ask.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Command(arn) => arn.scope(),
            Self::Target(arn) => arn.scope(),
        }
    }
}

/// Which executions a listing shows, in the order of the time that it looks at, the oldest first. The service takes
/// exactly one of the two filters, in whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// `startedTimeFilter`: those created since then.
    Started(Timestamp),
    /// `completedTimeFilter`: those that a device has ended since then; a time-out of the service has no such time.
    Completed(Timestamp),
}

/// One page of a listing. `next_token` may be there although `items` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What the page holds.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next_token: Option<String>,
}

/// `CommandExecutionSummary`: no reason, no timeout, no time of the last update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which execution.
    pub key: ExecutionKey,
    /// `commandArn`, where it is one.
    pub command: Option<CommandArn>,
    /// `status`.
    pub status: Status,
    /// `createdAt`.
    pub created: Option<Timestamp>,
    /// `completedAt`.
    pub completed: Option<Timestamp>,
}

/// The control plane, as far as this program asks it. One call is one request: no retries, each within a timeout of
/// its own, and a failure is an answer like any other.
pub trait Source: Send + Sync {
    /// `GetCommandExecution`.
    fn get_execution(&self, key: &ExecutionKey) -> impl Future<Output = Result<Snapshot, Failure>> + Send;

    /// One page of `ListCommandExecutions`.
    fn list_executions(
        &self,
        by: &ListBy,
        since: Since,
        next_token: Option<&str>,
    ) -> impl Future<Output = Result<Page<Summary>, Failure>> + Send;

    /// One page of `ListCommands`.
    fn list_commands(
        &self,
        scope: &Scope,
        next_token: Option<&str>,
    ) -> impl Future<Output = Result<Page<CommandArn>, Failure>> + Send;
}
