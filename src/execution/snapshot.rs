//! One answer of the service about one execution, and what follows from it.

use super::{CommandArn, Status, Timestamp};

/// Who named the reason of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The service: its codes begin with `$`.
    Service,
    /// The device: free-form codes.
    Device,
}

impl Origin {
    /// Who named a reason with this code.
    pub fn of(code: &str) -> Self {
        if code.starts_with('$') { Self::Service } else { Self::Device }
    }

    /// The value of the label `origin`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Device => "device",
        }
    }
}

/// `reasonCode` of a `statusReason`. The description is the device's own data, may hold secrets and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    code: Box<str>,
}

impl Reason {
    /// The code that the service gives to a time-out of its own.
    pub const NO_RESPONSE: &'static str = "$NO_RESPONSE_FROM_DEVICE";

    /// More than the 64 characters that the API allows a device; what is longer is cut, since a code only has to be
    /// told from those on the allow-list.
    const MAX_BYTES: usize = 128;

    /// The reason with this code; `None` for an empty one, which gives no reason.
    pub fn new(code: &str) -> Option<Self> {
        let end = code.floor_char_boundary(Self::MAX_BYTES);
        (!code.is_empty()).then(|| Self { code: code[..end].into() })
    }

    /// The code as sent: unbounded in number, so never a label before it has met the allow-list.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Who named it.
    pub fn origin(&self) -> Origin {
        Origin::of(&self.code)
    }
}

/// What one `GetCommandExecution` has said. Every member of the response is optional, so every field but the status
/// is too; an absent status is [`Status::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `status`.
    pub status: Status,
    /// `commandArn`, where it is one.
    pub command: Option<CommandArn>,
    /// `statusReason.reasonCode`.
    pub reason: Option<Reason>,
    /// `executionTimeoutSeconds`.
    pub timeout_seconds: Option<i64>,
    /// `createdAt`: the moment at which the timer starts.
    pub created: Option<Timestamp>,
    /// `startedAt`: unreliable in the service's answers; reported, and nothing is built on it.
    pub started: Option<Timestamp>,
    /// `lastUpdatedAt`.
    pub last_updated: Option<Timestamp>,
    /// `completedAt`: the moment of the device's terminal report; a time-out set by the service has none.
    pub completed: Option<Timestamp>,
    /// `timeToLive`: the moment at which the service forgets the execution.
    pub expiration: Option<Timestamp>,
}

impl Snapshot {
    /// An answer that says nothing but a status.
    pub const fn with_status(status: Status) -> Self {
        Self {
            status,
            command: None,
            reason: None,
            timeout_seconds: None,
            created: None,
            started: None,
            last_updated: None,
            completed: None,
            expiration: None,
        }
    }

    /// Whether nothing can change it any more. A time-out set by the service can still be revised by a late report
    /// of the device; only one that the device has reported, and which therefore has `completedAt`, is final.
    pub fn is_terminal(&self) -> bool {
        match self.status {
            Status::Succeeded | Status::Failed | Status::Rejected => true,
            Status::TimedOut => self.completed.is_some(),
            Status::Created | Status::InProgress | Status::Unknown => false,
        }
    }

    /// Whether it has ended, for good or by the service's timer.
    pub fn is_ended(&self) -> bool {
        Status::ENDS.contains(&self.status)
    }

    /// `createdAt + executionTimeoutSeconds`: the service's timer starts at creation.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.created?.checked_add_seconds(self.timeout_seconds?)
    }

    /// When it ended: `completedAt`; else, for a time-out, `lastUpdatedAt`, or the deadline; else it is still open.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.completed.or_else(|| match self.status {
            Status::TimedOut => self.last_updated.or_else(|| self.deadline()),
            _ => None,
        })
    }

    /// Milliseconds from its creation to its end, or to `now` where no end is known.
    pub fn duration_millis(&self, now: Timestamp) -> Option<i64> {
        self.ended_at().unwrap_or(now).checked_since(self.created?)
    }

    /// Milliseconds that were left until the deadline at its end, or are left at `now`; negative is overdue.
    pub fn timeout_margin_millis(&self, now: Timestamp) -> Option<i64> {
        self.deadline()?.checked_since(self.ended_at().unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn created(status: Status) -> Snapshot {
        Snapshot {
            created: Some(Timestamp::from_millis(900_000)),
            timeout_seconds: Some(60),
            ..Snapshot::with_status(status)
        }
    }

    #[test]
    fn only_a_time_out_reported_by_the_device_is_terminal() {
        let by_service = Snapshot { reason: Reason::new(Reason::NO_RESPONSE), ..created(Status::TimedOut) };
        assert!(!by_service.is_terminal() && by_service.is_ended());
        let by_device = Snapshot { completed: Some(NOW), ..by_service };
        assert!(by_device.is_terminal(), "the code may linger: completedAt decides");
        for status in Status::ALL {
            let terminal = matches!(status, Status::Succeeded | Status::Failed | Status::Rejected);
            assert_eq!(Snapshot::with_status(status).is_terminal(), terminal, "{status:?}");
        }
    }

    #[test]
    fn open_executions_are_measured_to_now_and_go_negative() {
        let open = created(Status::InProgress);
        assert_eq!(open.duration_millis(NOW), Some(100_000));
        assert_eq!(open.timeout_margin_millis(NOW), Some(-40_000));
    }

    #[test]
    fn ended_executions_are_measured_to_their_end() {
        let done = Snapshot { completed: Some(Timestamp::from_millis(930_500)), ..created(Status::Succeeded) };
        assert_eq!(done.duration_millis(NOW), Some(30_500));
        assert_eq!(done.timeout_margin_millis(NOW), Some(29_500));
    }

    #[test]
    fn a_service_time_out_ends_at_its_last_update_or_at_the_deadline() {
        let bare = created(Status::TimedOut);
        assert_eq!(bare.ended_at(), Some(Timestamp::from_millis(960_000)));
        assert_eq!(bare.timeout_margin_millis(NOW), Some(0));
        let updated = Snapshot { last_updated: Some(Timestamp::from_millis(962_000)), ..bare };
        assert_eq!(updated.ended_at(), Some(Timestamp::from_millis(962_000)));
        assert_eq!(updated.timeout_margin_millis(NOW), Some(-2_000));
    }

    #[test]
    fn what_is_absent_stays_absent_and_nothing_overflows() {
        let bare = Snapshot::with_status(Status::Created);
        assert_eq!((bare.deadline(), bare.duration_millis(NOW), bare.timeout_margin_millis(NOW)), (None, None, None));
        let wild =
            Snapshot { created: Some(Timestamp::from_millis(i64::MIN)), timeout_seconds: Some(i64::MAX), ..bare };
        assert_eq!((wild.deadline(), wild.duration_millis(NOW), wild.timeout_margin_millis(NOW)), (None, None, None));
    }

    #[test]
    fn reasons_are_told_by_their_first_character_and_capped() {
        assert_eq!(Reason::new(""), None);
        assert_eq!(Reason::new("$X").map(|reason| reason.origin()), Some(Origin::Service));
        assert_eq!(Reason::new("200").map(|reason| reason.origin()), Some(Origin::Device));
        let long = Reason::new(&"ä".repeat(1000)).map(|reason| reason.code().len());
        assert_eq!(long, Some(Reason::MAX_BYTES));
    }
}
