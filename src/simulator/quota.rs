//! The service's quotas: a token bucket for each operation in each account and Region.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::call::Operation;

/// Calls a second for each operation, in each account and Region; `None` is no limit. A bucket holds one second's worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "named by the operations")]
pub struct Quotas {
    pub get_command_execution: Option<f64>,
    pub list_command_executions: Option<f64>,
    pub list_commands: Option<f64>,
    pub get_command: Option<f64>,
}

impl Quotas {
    /// No limits.
    pub const OFF: Self =
        Self { get_command_execution: None, list_command_executions: None, list_commands: None, get_command: None };

    /// The default quotas of AWS.
    pub const REAL: Self = Self {
        get_command_execution: Some(20.0),
        list_command_executions: Some(10.0),
        list_commands: Some(10.0),
        get_command: Some(15.0),
    };

    fn of(&self, operation: Operation) -> Option<f64> {
        match operation {
            Operation::GetCommandExecution => self.get_command_execution,
            Operation::ListCommandExecutions => self.list_command_executions,
            Operation::ListCommands => self.list_commands,
            Operation::GetCommand => self.get_command,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::REAL
    }
}

type Lane = (Operation, Box<str>, Box<str>);

/// The buckets, filled in real time.
#[derive(Debug)]
pub(super) struct Buckets {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    quotas: Quotas,
    /// What is left, and when that was so. Bounded by [`Buckets::MOST`].
    left: HashMap<Lane, (f64, Instant)>,
}

impl Buckets {
    /// Accounts come from requests: never remember an unlimited number of them.
    const MOST: usize = 10_000;

    pub(super) fn new(quotas: Quotas) -> Self {
        Self { state: Mutex::new(State { quotas, left: HashMap::new() }) }
    }

    pub(super) fn quotas(&self) -> Quotas {
        self.lock().quotas
    }

    /// Other quotas from now on; all buckets are full again.
    pub(super) fn set(&self, quotas: Quotas) {
        *self.lock() = State { quotas, left: HashMap::new() };
    }

    /// Takes one call out of the bucket; false where it is empty.
    pub(super) fn take(&self, operation: Operation, account: &str, region: &str, now: Instant) -> bool {
        let mut state = self.lock();
        let Some(rate) = state.quotas.of(operation) else { return true };
        if state.left.len() >= Self::MOST {
            state.left.clear();
        }
        let most = rate.max(1.0);
        let (left, at) = state.left.entry((operation, account.into(), region.into())).or_insert((most, now));
        *left = (*left + now.saturating_duration_since(*at).as_secs_f64() * rate).min(most);
        *at = now;
        let enough = *left >= 1.0;
        if enough {
            *left -= 1.0;
        }
        enough
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_fills_again_and_belongs_to_one_lane() {
        let buckets = Buckets::new(Quotas::REAL);
        let start = Instant::now();
        let take = |operation, account: &str, after| {
            buckets.take(operation, account, "eu-central-1", start + Duration::from_millis(after))
        };
        let get = Operation::GetCommandExecution;
        assert_eq!((0..30).filter(|_| take(get, "1", 0)).count(), 20);
        assert_eq!((0..30).filter(|_| take(get, "1", 500)).count(), 10);
        assert_eq!((0..30).filter(|_| take(get, "2", 500)).count(), 20, "another account");
        assert_eq!((0..30).filter(|_| take(Operation::ListCommandExecutions, "1", 500)).count(), 10);
        assert_eq!((0..99).filter(|_| take(get, "1", 60_000)).count(), 20, "never more than a second's worth");
        buckets.set(Quotas::OFF);
        assert!((0..1000).all(|_| take(get, "1", 0)));
    }
}
