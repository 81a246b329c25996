//! What Prometheus's two text formats share: their names, the escaping of label values, the head of a family, and
//! numbers. The state prepares its labels with it, the exposition and the exporter's own metrics write with it.

use std::borrow::Cow;

use crate::family::Kind;

/// A text format of `/metrics`. Names and labels are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text format 0.0.4: the default.
    Text004,
    /// OpenMetrics 1.0.0.
    OpenMetrics100,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Text004, Self::OpenMetrics100];

    /// The `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Appends HELP and TYPE of a family, and UNIT where OpenMetrics is to be told one. `name` is the name of its
/// samples: OpenMetrics wants counters headed without `_total` and has a type of its own for `_info`.
pub fn push_head(out: &mut Vec<u8>, format: Format, name: &str, help: &str, kind: Kind) {
    let (name, kind) = match format {
        Format::Text004 => (name, kind_name(kind)),
        Format::OpenMetrics100 => open_metrics_name(name, kind),
    };
    let mut line = |keyword: &str, text: &str| push_all(out, ["# ", keyword, " ", name, " ", text, "\n"]);
    line("HELP", &escape_help(help, format));
    line("TYPE", kind);
    if format == Format::OpenMetrics100 && name.ends_with("_seconds") {
        line("UNIT", "seconds");
    }
}

/// Appends `name="value"`, escaped, after a comma where something precedes it.
pub fn push_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    push_escaped(out, value);
    out.push('"');
}

/// Appends a label value as the formats want it between quotes: `\`, `"` and the line feed escaped.
pub fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// A label value out of its escaped form.
pub fn unescaped(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return Cow::Borrowed(escaped);
    }
    let mut value = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    Cow::Owned(value)
}

/// Appends pieces of text one after the other, with one look at the room for all of them.
#[inline]
pub fn push_all<const N: usize>(out: &mut Vec<u8>, parts: [&str; N]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A short text with room after it: it is copied with its room and then cut, because a copy whose length the compiler
/// knows is a few instructions and no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padded<const N: usize> {
    text: [u8; N],
    len: usize,
}

impl<const N: usize> Padded<N> {
    /// Two texts, one after the other.
    ///
    /// # Panics
    /// Where they are longer than `N` bytes together.
    pub const fn new(first: &str, second: &str) -> Self {
        let (first, second) = (first.as_bytes(), second.as_bytes());
        let (mut text, mut len) = ([0; N], 0);
        while len < first.len() + second.len() {
            text[len] = if len < first.len() { first[len] } else { second[len - first.len()] };
            len += 1;
        }
        Self { text, len }
    }

    /// Appends it.
    #[inline(always)]
    pub fn push(&self, out: &mut Vec<u8>) {
        let begun = out.len();
        out.extend_from_slice(&self.text);
        out.truncate(begun + self.len);
    }
}

/// The numbers from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let (mut pairs, mut number) = ([[0; 2]; 100], 0);
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Ends the labels of a sample, and appends milliseconds as seconds and the line feed.
pub fn push_millis_value(out: &mut Vec<u8>, millis: i64) {
    // Room for the longest, which is cut to what was used: one step, of a length that the compiler knows.
    const ROOM: usize = 32;
    let begun = out.len();
    out.extend_from_slice(b"} -.............................");
    let text: &mut [u8; ROOM] = out.last_chunk_mut().expect("it was just appended");
    let magnitude = millis.unsigned_abs();
    let (seconds, fraction) = (magnitude / 1000, magnitude % 1000);
    let start = 2 + usize::from(millis < 0);
    let point = start + 1 + seconds.checked_ilog10().unwrap_or(0) as usize;
    let (mut at, mut rest) = (point, seconds);
    while at > start + 1 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if at > start {
        text[start] = b'0' + rest as u8;
    }
    text[point] = b'.';
    text[point + 1] = b'0' + (fraction / 100) as u8;
    text[point + 2..point + 4].copy_from_slice(&PAIRS[(fraction % 100) as usize]);
    let zeros = usize::from(fraction % 10 == 0) + usize::from(fraction % 100 == 0) + 2 * usize::from(fraction == 0);
    let end = point + 4 - zeros;
    text[end] = b'\n';
    out.truncate(begun + end + 1);
}

/// Appends an integer.
pub fn push_integer(out: &mut Vec<u8>, integer: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
}

/// Appends a float by the shortest digits that read back as the same number.
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    let text = match value {
        value if value == f64::INFINITY => "+Inf".into(),
        value if value == f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends the bound of a bucket, the value of `le`, in the one form that OpenMetrics allows (`1.0`, not `1`): in
/// both formats, so that the label is the same in both.
pub fn push_bound(out: &mut Vec<u8>, bound: f64) {
    let start = out.len();
    push_float(out, bound);
    if bound.is_finite() && !out[start..].contains(&b'.') {
        out.extend_from_slice(b".0");
    }
}

fn open_metrics_name(name: &str, kind: Kind) -> (&str, &'static str) {
    match (kind, name.strip_suffix("_total"), name.strip_suffix("_info")) {
        (Kind::Counter, Some(base), _) => (base, "counter"),
        (Kind::Gauge, _, Some(base)) => (base, "info"),
        _ => (name, kind_name(kind)),
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

/// 0.0.4 leaves quotes in HELP as they are, OpenMetrics escapes them.
fn escape_help(help: &str, format: Format) -> Cow<'_, str> {
    let special = |c| c == '\\' || c == '\n' || (c == '"' && format == Format::OpenMetrics100);
    if !help.contains(special) {
        return Cow::Borrowed(help);
    }
    let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
    Cow::Owned(if format == Format::OpenMetrics100 { escaped.replace('"', "\\\"") } else { escaped })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn head(format: Format, name: &str, kind: Kind) -> String {
        text(|out| push_head(out, format, name, "A \"word\"\\\n.", kind))
    }

    #[test]
    fn heads_are_those_of_each_format() {
        let plain = "# HELP a_total A \"word\"\\\\\\n.\n# TYPE a_total counter\n";
        assert_eq!(head(Format::Text004, "a_total", Kind::Counter), plain);
        let open = "# HELP a A \\\"word\\\"\\\\\\n.\n# TYPE a counter\n";
        assert_eq!(head(Format::OpenMetrics100, "a_total", Kind::Counter), open);
        assert!(head(Format::OpenMetrics100, "a_info", Kind::Gauge).ends_with("# TYPE a info\n"));
        assert!(head(Format::Text004, "a_info", Kind::Gauge).ends_with("# TYPE a_info gauge\n"));
        let unit = "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n";
        assert!(head(Format::OpenMetrics100, "a_seconds", Kind::Histogram).ends_with(unit));
        assert!(!head(Format::Text004, "a_seconds", Kind::Gauge).contains("UNIT"));
    }

    #[test]
    fn milliseconds_become_seconds() {
        for (millis, seconds) in [
            (0, "0"),
            (1, "0.001"),
            (10, "0.01"),
            (100, "0.1"),
            (101, "0.101"),
            (110, "0.11"),
            (-1, "-0.001"),
            (-1500, "-1.5"),
            (1_732_000_000_120, "1732000000.12"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(text(|out| push_millis_value(out, millis)), format!("}} {seconds}\n"));
        }
    }

    #[test]
    fn room_is_not_part_of_a_padded_text() {
        for (first, second) in [("", ""), ("a", ""), ("", "b"), ("ab", "cd")] {
            assert_eq!(text(|out| Padded::<4>::new(first, second).push(out)), format!("{first}{second}"));
        }
    }

    #[test]
    fn floats_are_prometheus_floats_and_bounds_canonical() {
        for (value, plain, bound) in [
            (0.005, "0.005", "0.005"),
            (1.0, "1", "1.0"),
            (86_400.0, "86400", "86400.0"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(text(|out| push_float(out, value)), plain);
            assert_eq!(text(|out| push_bound(out, value)), bound);
        }
    }

    proptest! {
        #[test]
        fn escaping_round_trips_and_leaves_nothing_that_ends_a_value(value in "(\\PC|[\\\\\"\n])*") {
            let mut escaped = String::new();
            push_escaped(&mut escaped, &value);
            prop_assert_eq!(unescaped(&escaped), value);
            let without = escaped.replace("\\\\", "").replace("\\\"", "").replace("\\n", "");
            prop_assert!(!without.contains(['\\', '"', '\n']), "{}", escaped);
        }

        #[test]
        fn milliseconds_read_back_as_the_nearest_float(millis in -(1_i64 << 50)..(1_i64 << 50)) {
            let value = text(|out| push_millis_value(out, millis));
            let parsed: f64 = value.strip_prefix("} ").unwrap().strip_suffix('\n').unwrap().parse().unwrap();
            prop_assert_eq!(parsed, millis as f64 / 1000.0);
        }
    }
}
