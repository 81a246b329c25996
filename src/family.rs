//! The metric families about executions: their names, what they mean, and which labels they have.
//!
//! One table for the configuration (which may switch families off), the exposition (which writes them) and the
//! landing page, so that a family cannot be named in one place and missed in another.

/// What stands before the name of every family about executions.
pub const PREFIX: &str = "aws_iot_command_";

/// A metric family about executions, in the order in which the exposition writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "`help` says it, and the names are the contract's")]
pub enum Family {
    ExecutionPollSuccess,
    ExecutionPollFailure,
    ExecutionLastSuccessTimestampSeconds,
    ExecutionInfo,
    ExecutionStatus,
    ExecutionTerminal,
    ExecutionStatusReason,
    ExecutionCreatedTimestampSeconds,
    ExecutionStartedTimestampSeconds,
    ExecutionLastUpdatedTimestampSeconds,
    ExecutionCompletedTimestampSeconds,
    ExecutionDeadlineTimestampSeconds,
    ExecutionExpirationTimestampSeconds,
    ExecutionTimeoutSeconds,
    ExecutionDurationSeconds,
    ExecutionTimeoutMarginSeconds,
    Executions,
    ExecutionCompletionsTotal,
    ExecutionTimeoutsRevisedTotal,
    ExecutionCompletionDurationSeconds,
}

/// The type of a family, as Prometheus has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A count that only goes up.
    Counter,
    /// Counts in buckets.
    Histogram,
}

/// Which label set a family has, before labels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// `account_id, region, target, execution_id` and the declared labels: there from the start.
    Identity,
    /// The identity and `command`: there after the first success.
    Data,
    /// `account_id, region, command`.
    Command,
}

impl Family {
    /// Every family, in the order of the exposition.
    pub const ALL: [Self; 20] = [
        Self::ExecutionPollSuccess,
        Self::ExecutionPollFailure,
        Self::ExecutionLastSuccessTimestampSeconds,
        Self::ExecutionInfo,
        Self::ExecutionStatus,
        Self::ExecutionTerminal,
        Self::ExecutionStatusReason,
        Self::ExecutionCreatedTimestampSeconds,
        Self::ExecutionStartedTimestampSeconds,
        Self::ExecutionLastUpdatedTimestampSeconds,
        Self::ExecutionCompletedTimestampSeconds,
        Self::ExecutionDeadlineTimestampSeconds,
        Self::ExecutionExpirationTimestampSeconds,
        Self::ExecutionTimeoutSeconds,
        Self::ExecutionDurationSeconds,
        Self::ExecutionTimeoutMarginSeconds,
        Self::Executions,
        Self::ExecutionCompletionsTotal,
        Self::ExecutionTimeoutsRevisedTotal,
        Self::ExecutionCompletionDurationSeconds,
    ];

    /// The name without [`PREFIX`], as `metrics.disabled` has it.
    pub const fn name(self) -> &'static str {
        self.about().0
    }

    /// The HELP text. It says of every family that its values come from polling, since a scrape asks AWS nothing.
    pub const fn help(self) -> &'static str {
        self.about().1
    }

    /// The type.
    pub const fn kind(self) -> Kind {
        match self {
            Self::ExecutionCompletionsTotal | Self::ExecutionTimeoutsRevisedTotal => Kind::Counter,
            Self::ExecutionCompletionDurationSeconds => Kind::Histogram,
            _ => Kind::Gauge,
        }
    }

    /// The label set.
    pub const fn labels(self) -> Labels {
        match self {
            Self::ExecutionPollSuccess | Self::ExecutionPollFailure | Self::ExecutionLastSuccessTimestampSeconds => {
                Labels::Identity
            }
            Self::Executions
            | Self::ExecutionCompletionsTotal
            | Self::ExecutionTimeoutsRevisedTotal
            | Self::ExecutionCompletionDurationSeconds => Labels::Command,
            _ => Labels::Data,
        }
    }

    /// The family of this name, without [`PREFIX`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    const fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::ExecutionPollSuccess => {
                ("execution_poll_success", "Whether the last poll of the execution succeeded; 0 before the first poll.")
            }
            Self::ExecutionPollFailure => (
                "execution_poll_failure",
                "1 while polling the execution fails, with the reason; absent while it does not.",
            ),
            Self::ExecutionLastSuccessTimestampSeconds => (
                "execution_last_success_timestamp_seconds",
                "When a poll of the execution last succeeded, in seconds since the Unix epoch.",
            ),
            Self::ExecutionInfo => (
                "execution_info",
                "The ARNs of the execution's target and command, as last polled; the value is always 1.",
            ),
            Self::ExecutionStatus => {
                ("execution_status", "1 for the status of the execution as last polled, 0 for every other status.")
            }
            Self::ExecutionTerminal => (
                "execution_terminal",
                "Whether nothing can change the execution any more, as last polled. A time-out set by the service is not terminal.",
            ),
            Self::ExecutionStatusReason => (
                "execution_status_reason",
                "1 for the reason of the execution's status as last polled, by who named it; codes off the allow-list are other.",
            ),
            Self::ExecutionCreatedTimestampSeconds => (
                "execution_created_timestamp_seconds",
                "createdAt of the execution as last polled, in seconds since the Unix epoch.",
            ),
            Self::ExecutionStartedTimestampSeconds => (
                "execution_started_timestamp_seconds",
                "startedAt of the execution as last polled, in seconds since the Unix epoch; the service often leaves it out.",
            ),
            Self::ExecutionLastUpdatedTimestampSeconds => (
                "execution_last_updated_timestamp_seconds",
                "lastUpdatedAt of the execution as last polled, in seconds since the Unix epoch.",
            ),
            Self::ExecutionCompletedTimestampSeconds => (
                "execution_completed_timestamp_seconds",
                "completedAt of the execution as last polled, in seconds since the Unix epoch: the device's terminal report.",
            ),
            Self::ExecutionDeadlineTimestampSeconds => (
                "execution_deadline_timestamp_seconds",
                "When the execution times out (createdAt and its timeout) as last polled, in seconds since the Unix epoch.",
            ),
            Self::ExecutionExpirationTimestampSeconds => (
                "execution_expiration_timestamp_seconds",
                "timeToLive of the execution as last polled, in seconds since the Unix epoch: the service forgets it then.",
            ),
            Self::ExecutionTimeoutSeconds => {
                ("execution_timeout_seconds", "executionTimeoutSeconds of the execution as last polled.")
            }
            Self::ExecutionDurationSeconds => (
                "execution_duration_seconds",
                "Seconds from the creation of the execution to its end, or to this scrape while it is open as last polled.",
            ),
            Self::ExecutionTimeoutMarginSeconds => (
                "execution_timeout_margin_seconds",
                "Seconds left until the execution's deadline at its end, or at this scrape while it is open as last polled; negative is overdue.",
            ),
            Self::Executions => {
                ("executions", "How many executions of the command are tracked, by status as last polled.")
            }
            Self::ExecutionCompletionsTotal => (
                "execution_completions_total",
                "Ends of executions of the command that polling has seen, by the status they ended in.",
            ),
            Self::ExecutionTimeoutsRevisedTotal => (
                "execution_timeouts_revised_total",
                "Service time-outs that polling has seen revised by a late report of the device, by the status it reported.",
            ),
            Self::ExecutionCompletionDurationSeconds => (
                "execution_completion_duration_seconds",
                "Seconds from creation to end of the executions whose end polling has seen.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_round_trip_and_say_that_they_are_polled() {
        for (index, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(Family::from_name(family.name()), Some(family));
            assert_eq!(family as usize, index, "ALL is in the order of the exposition");
            assert!(family.help().contains("poll"), "{}", family.name());
        }
    }
}
