//! `rate_limit`: so many requests at once, then one per interval.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket of `burst` requests that gets one more per `interval`.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again.
    full: Mutex<Instant>,
}

impl Throttle {
    /// A full bucket.
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full: Mutex::new(Instant::now()) }
    }

    /// Takes a request out of the bucket; says whether there was one.
    pub(super) fn admit(&self) -> bool {
        let now = Instant::now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now) + self.interval;
        let admitted = next - now <= self.interval.saturating_mul(self.burst);
        if admitted {
            *full = next;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_one_per_interval() {
        let throttle = Throttle::new(Duration::from_secs(10), 3);
        let admitted = |times: usize| (0..times).filter(|_| throttle.admit()).count();
        assert_eq!(admitted(5), 3);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(admitted(5), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(5), 1);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(admitted(5), 3, "never more than the burst");
    }
}
