//! Who an execution is: a pair, since an execution ID may be unique per target only.

use std::fmt;
use std::sync::Arc;

use super::TargetArn;

/// Why a text is not an execution ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an execution ID has 1 to 64 letters, digits, _ or -")]
pub struct ExecutionIdError;

/// `executionId`: 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(Arc<str>);

impl ExecutionId {
    /// Checks the form.
    ///
    /// # Errors
    /// [`ExecutionIdError`] where it is another.
    pub fn parse(text: &str) -> Result<Self, ExecutionIdError> {
        let ok =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if ok { Ok(Self(text.into())) } else { Err(ExecutionIdError) }
    }

    /// The ID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The pair that names one execution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionKey {
    /// The thing or client that it runs on.
    pub target: TargetArn,
    /// Its ID.
    pub id: ExecutionId,
}

impl fmt::Display for ExecutionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.target.as_str(), self.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_the_api() {
        assert!(ExecutionId::parse("07e4b780-7eca-4ffd-b772-b76358da5542").is_ok());
        for bad in ["", "a b", "é", &"a".repeat(65)] {
            assert_eq!(ExecutionId::parse(bad), Err(ExecutionIdError), "{bad}");
        }
    }
}
