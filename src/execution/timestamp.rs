//! A moment on the service's clock.

/// Milliseconds since the Unix epoch: the service's own resolution, and an integer, so that a scrape never formats
/// a float. Every operation is checked, because devices and clocks can be arbitrarily wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch and nanoseconds past them, to the nearest millisecond; `None` where that
    /// does not fit. Rounded and not cut: on the wire `.123` is a float, and the SDK reads it as 122,999,9xx ns.
    pub fn from_parts(seconds: i64, nanos: u32) -> Option<Self> {
        let millis = (i64::from(nanos) + 500_000) / 1_000_000;
        seconds.checked_mul(1000)?.checked_add(millis).map(Self)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment and `seconds` more; `None` where that does not fit.
    pub fn checked_add_seconds(self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds.checked_mul(1000)?).map(Self)
    }

    /// Milliseconds from `earlier` to this moment, negative where `earlier` is later; `None` where that does not fit.
    pub fn checked_since(self, earlier: Self) -> Option<i64> {
        self.0.checked_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_milliseconds_and_refuses_what_does_not_fit() {
        assert_eq!(Timestamp::from_parts(1_732_000_000, 122_999_906), Some(Timestamp(1_732_000_000_123)));
        assert_eq!(Timestamp::from_parts(-1, 500_000_000), Some(Timestamp(-500)));
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), None);
        assert_eq!(Timestamp(0).checked_add_seconds(i64::MAX), None);
        assert_eq!(Timestamp(i64::MIN).checked_since(Timestamp(1)), None);
    }
}
