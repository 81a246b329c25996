//! What a client asks for: the format by `Accept`, compression by `Accept-Encoding`.

use crate::text::Format;

/// The format that the header `Accept` wants most, the first of those it wants equally. 0.0.4 where there is no
/// header, and also where it wants nothing that there is: a page in the wrong format tells more than an error.
pub fn format(accept: Option<&str>) -> Format {
    let mut best = (Format::Text004, 0);
    for item in items(accept.unwrap_or_default()) {
        let version = item.parameter("version");
        let format = match item.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => Format::OpenMetrics100,
            "text/plain" if matches!(version, None | Some("0.0.4")) => Format::Text004,
            "text/*" | "*/*" => Format::Text004,
            _ => continue,
        };
        if item.weight() > best.1 {
            best = (format, item.weight());
        }
    }
    best.0
}

/// Whether the header `Accept-Encoding` allows gzip, by name or by `*`.
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let weight_of = |names: &[&str]| {
        let found = items(accept_encoding.unwrap_or_default())
            .find(|item| names.iter().any(|name| item.name.eq_ignore_ascii_case(name)));
        found.map(|item| item.weight())
    };
    weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"])).is_some_and(|weight| weight > 0)
}

/// One item of a list with its parameters: `name;parameter=value;q=0.5`.
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Item<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().trim_matches('"'))
    }

    /// `q` in thousandths, 1,000 where it is absent. One that is no number from 0 to 1 counts as a refusal.
    fn weight(&self) -> u16 {
        let Some(q) = self.parameter("q") else { return 1000 };
        match q.parse::<f32>() {
            Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
            _ => 0,
        }
    }
}

fn items(header: &str) -> impl Iterator<Item = Item<'_>> {
    header.split(',').map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        Item { name: name.trim(), parameters }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_format_wins_and_the_default_is_0_0_4() {
        use Format::{OpenMetrics100 as Open, Text004 as Text};
        for (accept, expected) in [
            // Prometheus 3 and 2.5x as they come out of the box, then with the order turned round.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Open,
            ),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Open,
            ),
            (
                "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.2",
                Text,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3",
                Text,
            ),
            // Browsers, curl, scripts.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("*/*", Text),
            ("", Text),
            ("application/openmetrics-text", Open),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", Open),
            ("application/openmetrics-text; version=0.0.1", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=2, text/plain;q=0.001", Text),
            ("text/plain, application/openmetrics-text", Text),
            ("application/openmetrics-text, text/plain", Open),
            (",;,=;q=,application/json", Text),
        ] {
            assert_eq!(format(Some(accept)), expected, "{accept}");
        }
        assert_eq!(format(None), Text);
    }

    #[test]
    fn gzip_is_taken_where_it_is_allowed() {
        for (accept, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0,*", false),
            ("*;q=0", false),
            ("identity", false),
            ("zstd, br", false),
            ("", false),
            ("gzipped", false),
        ] {
            assert_eq!(accepts_gzip(Some(accept)), expected, "{accept}");
        }
        assert!(!accepts_gzip(None));
    }
}
