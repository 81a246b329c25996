//! The simulator's clock: the wall clock, moved by an offset, or standing still.

use std::sync::Mutex;

use crate::clock;
use crate::execution::Timestamp;

/// What `now` means to the simulated service. Quotas and latencies do not follow it: they run in real time.
#[derive(Debug, Default)]
pub(super) struct Clock {
    setting: Mutex<Setting>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    offset_millis: i64,
    frozen: Option<Timestamp>,
}

impl Clock {
    /// The present simulated moment.
    pub(super) fn now(&self) -> Timestamp {
        let setting = self.setting();
        let base = setting.frozen.unwrap_or_else(clock::now);
        Timestamp::from_millis(base.millis().saturating_add(setting.offset_millis))
    }

    /// Stands still at the present moment.
    pub(super) fn freeze(&self) {
        let now = self.now();
        *self.lock() = Setting { offset_millis: 0, frozen: Some(now) };
    }

    /// Stands still at this moment.
    pub(super) fn freeze_at(&self, moment: Timestamp) {
        *self.lock() = Setting { offset_millis: 0, frozen: Some(moment) };
    }

    /// Runs on from the moment at which it stood.
    pub(super) fn resume(&self) {
        let offset = self.now().millis().saturating_sub(clock::now().millis());
        *self.lock() = Setting { offset_millis: offset, frozen: None };
    }

    /// Moves by this much, backwards where negative; whether running or not.
    pub(super) fn advance(&self, millis: i64) {
        let mut setting = self.lock();
        setting.offset_millis = setting.offset_millis.saturating_add(millis);
    }

    /// Whether it stands still.
    pub(super) fn is_frozen(&self) -> bool {
        self.setting().frozen.is_some()
    }

    fn setting(&self) -> Setting {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Setting> {
        self.setting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_moves_and_runs_on() {
        let clock = Clock::default();
        clock.freeze_at(Timestamp::from_millis(5_000));
        clock.advance(1_500);
        assert_eq!(clock.now(), Timestamp::from_millis(6_500));
        clock.freeze();
        assert_eq!(clock.now(), Timestamp::from_millis(6_500), "freezing twice moves nothing");
        clock.resume();
        assert!(!clock.is_frozen());
        let run = clock.now().millis();
        assert!((6_500..66_500).contains(&run), "runs on from where it stood, not from the wall clock: {run}");
    }
}
