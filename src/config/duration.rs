//! Durations as Prometheus writes them: `30s`, `1h30m`, `500ms`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not Prometheus's syntax.
    #[error(
        "must be a duration such as 30s, 1h30m or 500ms: whole numbers with the units y, w, d, h, m, s, ms, \
         largest first, each once"
    )]
    Form,
    /// More milliseconds than 64 bits hold.
    #[error("is a longer duration than can be counted")]
    TooLong,
}

/// The units, largest first, in milliseconds. A year has 365 days, as for Prometheus.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 60 * 60 * 1000),
    ("w", 7 * 24 * 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// The same as a regular expression, for the schema.
pub(super) const PATTERN: &str =
    "^(0|(?=[0-9])([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

/// Parses `30s`, `1h30m`, `1d12h`, or a bare `0`.
///
/// # Errors
/// [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis = 0_u64;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        // `find` goes on from the unit before: none comes twice, none out of order.
        let factor = units.find(|(name, _)| *name == unit).ok_or(DurationError::Form)?.1;
        if number.is_empty() {
            return Err(DurationError::Form);
        }
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        let part = number.checked_mul(factor).ok_or(DurationError::TooLong)?;
        millis = millis.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration so that [`parse`] reads it back; parts of a millisecond are dropped.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        // Years and weeks only where they say it exactly: 90d, not 12w6d.
        let exact = factor <= UNITS[2].1 || millis % factor == 0;
        if millis >= factor && exact {
            text.push_str(&format!("{}{unit}", millis / factor));
            millis %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prometheus_syntax_and_nothing_else() {
        let good = [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("090s", 90_000),
        ];
        for (text, millis) in good {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        let bad = [
            "", "30", "s", "1.5h", "-1s", "+1s", "30 s", " 30s", "30s ", "30S", "1m1h", "1s1s", "1h1h", "1us", "1sm",
            "00", "é",
        ];
        for text in bad {
            assert_eq!(parse(text), Err(DurationError::Form), "{text}");
        }
        for text in ["999999999999999999999s", "999999999999999y", "584942417y1y"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("18446744073709551615ms"), Ok(Duration::from_millis(u64::MAX)));
        assert_eq!(parse("18446744073709551616ms"), Err(DurationError::TooLong));
        assert_eq!(parse("18446744073709551s999ms"), Err(DurationError::TooLong));
    }

    #[test]
    fn written_as_people_write_them() {
        for text in ["30s", "10m", "24h", "1h30m", "90d", "500ms", "1y", "0s"] {
            let text_again = format(parse(text).expect(text));
            assert_eq!(parse(&text_again), parse(text), "{text}");
        }
        assert_eq!(format(Duration::from_secs(90 * 86_400)), "90d");
        assert_eq!(format(Duration::from_secs(14 * 86_400)), "2w");
        assert_eq!(format(Duration::from_secs(5_400)), "1h30m");
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_back(millis: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        /// The oracle is the sum of its parts, written down by the test.
        #[test]
        fn parts_add_up(parts in proptest::array::uniform7(0_u64..500)) {
            let text: String = parts.iter().zip(UNITS).filter(|(n, _)| **n > 0).map(|(n, (unit, _))| format!("{n}{unit}")).collect();
            let sum = parts.iter().zip(UNITS).map(|(n, (_, factor))| n * factor).sum();
            prop_assume!(!text.is_empty());
            prop_assert_eq!(parse(&text), Ok(Duration::from_millis(sum)));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9ywdhms .-]{0,20}|.{0,10}") {
            let _ = parse(&text);
        }
    }
}
