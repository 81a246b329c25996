//! The status of an execution, as AWS names it.

/// `CommandExecutionStatus` of the AWS IoT API, open at the end: what AWS adds tomorrow is `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Made by the service, not yet picked up by the device.
    Created,
    /// The device has reported that it works on it.
    InProgress,
    /// The device has reported success.
    Succeeded,
    /// The device has reported a failure.
    Failed,
    /// The device has refused it.
    Rejected,
    /// The service's timer has run out, or the device has given up.
    TimedOut,
    /// Absent from the answer, or a value that this program does not know.
    Unknown,
}

impl Status {
    /// Every status, in the order in which series are written.
    pub const ALL: [Self; 7] =
        [Self::Created, Self::InProgress, Self::Succeeded, Self::Failed, Self::Rejected, Self::TimedOut, Self::Unknown];

    /// The statuses in which an execution has ended, the service's time-out included.
    pub const ENDS: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Rejected, Self::TimedOut];

    /// AWS's own name, also the value of the label `status`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
            Self::TimedOut => "TIMED_OUT",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status that AWS names so; `Unknown` for every other word.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.label() == name).unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_the_rest_is_unknown() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.label()), status);
        }
        assert_eq!(Status::from_name("PAUSED"), Status::Unknown);
        assert_eq!(Status::from_name("succeeded"), Status::Unknown);
    }
}
