//! Why a poll did not succeed.

use std::fmt;

/// The closed list behind the label `reason` of `execution_poll_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FailureReason {
    /// The service, or a proxy before it, asks for fewer calls.
    Throttled,
    /// No whole answer within `poll.timeout`.
    Timeout,
    /// No connection: name resolution, refusal, TLS, or a connection that broke.
    Connect,
    /// The service failed (5xx).
    Server,
    /// The credentials are good and may not do this.
    AccessDenied,
    /// There are no credentials, or the service does not accept them.
    Credentials,
    /// 404: wrong id or pair, deleted, past retention, or not visible yet.
    NotFound,
    /// The service calls the request invalid.
    InvalidRequest,
    /// An answer that is not the service's format.
    Malformed,
    /// Anything else.
    Unknown,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Throttled,
        Self::Timeout,
        Self::Connect,
        Self::Server,
        Self::AccessDenied,
        Self::Credentials,
        Self::NotFound,
        Self::InvalidRequest,
        Self::Malformed,
        Self::Unknown,
    ];

    /// The value of the label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Server => "server",
            Self::AccessDenied => "access_denied",
            Self::Credentials => "credentials",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }
}

/// A poll that did not succeed: data, not an error that ends anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub reason: FailureReason,
    /// For the log alone: an error code or the kind of a network fault, never anything out of a response body.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.label(), self.detail)
    }
}
