//! How many calls a second one operation of one account and Region may make: evenly paced, lowered when the
//! service throttles, raised again slowly.
//!
//! The quota is shared with the console and every other client of the account, so the limit is a ceiling for every
//! single second and never an average: there is no burst to save up. Pure: time comes in as a [`Duration`] since
//! some start.

use std::time::Duration;

/// Pacing of one operation.
#[derive(Clone, Debug)]
pub struct RateLimit {
    configured: f64,
    current: f64,
    /// When the last call started, or, after a throttled one, from when on the next is spaced.
    last: Option<Duration>,
    /// Up to when the increase has been credited.
    credited: Duration,
    decreased: Option<Duration>,
}

impl RateLimit {
    /// Calls are this much further apart than the rate alone asks for, so that jitter on their way does not push one
    /// call more into somebody's second: at 1.02, a busy machine was seen to bring 11 calls of 10 into one.
    const HEADROOM: f64 = 1.05;

    /// What is left of the rate after a throttled call.
    const DECREASE: f64 = 0.7;

    /// The share of the configured rate that comes back every second. A neighbour that holds half the quota then
    /// costs one throttled call in some hundreds.
    const INCREASE_PER_SECOND: f64 = 0.005;

    /// The rate never falls below this share of the configured one: the next poll is also the probe.
    const FLOOR: f64 = 0.05;

    /// Several calls in flight meet the same shortage: they lower the rate once.
    const ONE_DECREASE_IN: Duration = Duration::from_secs(1);

    /// At most `per_second` calls in any second; more than 0.
    pub fn new(per_second: f64) -> Self {
        Self { configured: per_second, current: per_second, last: None, credited: Duration::ZERO, decreased: None }
    }

    /// No two calls are further apart than this, however low the rate: schedules stay within what a clock can say.
    const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

    /// A new ceiling, from a changed configuration. It holds for the pause that is under way, too.
    pub fn configure(&mut self, per_second: f64) {
        self.current = (self.current * per_second / self.configured).min(per_second);
        self.configured = per_second;
    }

    /// The configured ceiling, in calls a second.
    pub fn configured(&self) -> f64 {
        self.configured
    }

    /// The rate in force, in calls a second.
    pub fn current(&self) -> f64 {
        self.current
    }

    /// When the next call may start.
    pub fn ready_at(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last.saturating_add(self.pause()))
    }

    /// A call starts. The next is spaced from it, and not from when it was allowed: what was not used is lost.
    pub fn take(&mut self, now: Duration) {
        self.last = Some(now.max(self.ready_at()));
    }

    /// The service has throttled a call.
    pub fn throttled(&mut self, now: Duration) {
        if self.decreased.is_none_or(|before| now >= before + Self::ONE_DECREASE_IN) {
            self.current = (self.current * Self::DECREASE).max(self.configured * Self::FLOOR);
            self.last = self.last.max(Some(now));
            self.decreased = Some(now);
        }
        self.credited = now;
    }

    /// The service has answered without throttling.
    pub fn accepted(&mut self, now: Duration) {
        if self.current < self.configured && now > self.credited {
            let gained = self.configured * Self::INCREASE_PER_SECOND * (now - self.credited).as_secs_f64();
            self.current = (self.current + gained).min(self.configured);
            self.credited = now;
        }
    }

    fn pause(&self) -> Duration {
        let pause = Duration::try_from_secs_f64(Self::HEADROOM / self.current);
        pause.map_or(Self::LONGEST_PAUSE, |pause| pause.min(Self::LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_throttled_call_lowers_the_rate_once_and_it_recovers() {
        let mut rate = RateLimit::new(10.0);
        for _ in 0..5 {
            rate.throttled(seconds(1.0));
        }
        assert_eq!(rate.current(), 7.0);
        let mut now = 1.0;
        while rate.current() < 10.0 {
            now += 1.0;
            rate.accepted(seconds(now));
        }
        assert!((60.0..65.0).contains(&now), "3 of 10 come back at 0.05 a second: {now}");
        for second in 0..100 {
            rate.throttled(seconds(now + 2.0 * f64::from(second)));
        }
        assert_eq!(rate.current(), 0.5, "the floor");
    }

    #[test]
    fn a_neighbour_with_half_the_quota_costs_one_call_in_a_hundred_at_most() {
        // The service allows 10 a second to us, in a bucket of 10; we are configured for 20.
        let (mut rate, mut bucket, mut now, mut last) =
            (RateLimit::new(20.0), 10.0_f64, Duration::ZERO, Duration::ZERO);
        let (mut calls, mut throttled) = (0_u32, 0_u32);
        while now < Duration::from_secs(3600) {
            now = rate.ready_at();
            rate.take(now);
            bucket = (bucket + 10.0 * (now - last).as_secs_f64()).min(10.0);
            last = now;
            calls += 1;
            if bucket >= 1.0 {
                bucket -= 1.0;
                rate.accepted(now);
            } else {
                throttled += 1;
                rate.throttled(now);
            }
        }
        assert!(f64::from(throttled) <= 0.01 * f64::from(calls), "{throttled} of {calls}");
        assert!(f64::from(calls) > 0.7 * 36_000.0, "and most of what is free is used: {calls}");
    }

    #[test]
    fn a_changed_ceiling_holds_for_the_pause_under_way() {
        let mut rate = RateLimit::new(0.01);
        rate.take(seconds(5.0));
        assert!(rate.ready_at() > seconds(100.0));
        rate.configure(10.0);
        assert_eq!(rate.ready_at(), seconds(5.105));
        rate.configure(1.0);
        assert_eq!(rate.ready_at(), seconds(6.05));
    }

    #[test]
    fn no_rate_is_too_small_for_the_clock() {
        for tiny in [1e-9, 1e-30, f64::MIN_POSITIVE, f64::from_bits(1)] {
            let mut rate = RateLimit::new(tiny);
            rate.take(seconds(1.0));
            rate.throttled(seconds(2.0));
            rate.take(seconds(3.0));
            assert!(rate.ready_at() <= seconds(3.0 * 24.0 * 3600.0), "{tiny}");
        }
    }

    proptest! {
        #[test]
        fn no_second_holds_more_calls_than_the_limit(
            limit in 1_u32..50,
            idle in proptest::collection::vec(0.0_f64..3.0, 1..200),
        ) {
            let mut rate = RateLimit::new(f64::from(limit));
            let mut starts: Vec<Duration> = Vec::new();
            let mut now = Duration::ZERO;
            for pause in idle {
                now += seconds(pause / f64::from(limit));
                now = now.max(rate.ready_at());
                rate.take(now);
                starts.push(now);
            }
            for (index, start) in starts.iter().enumerate() {
                let within = starts[index..].iter().take_while(|other| **other - *start <= Duration::from_secs(1)).count();
                prop_assert!(within <= limit as usize, "{within} calls within a second of {start:?}");
            }
        }
    }
}
