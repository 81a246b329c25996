//! The text of the exporter's own families, in either format: the `prometheus` crate writes 0.0.4 only.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::family::Kind;
use crate::text::{self, Format};

/// Appends one family whole.
pub(super) fn push_family(out: &mut Vec<u8>, format: Format, family: &MetricFamily) {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => Kind::Gauge,
    };
    if family.get_metric().is_empty() {
        return;
    }
    text::push_head(out, format, family.name(), family.help(), kind);
    for metric in family.get_metric() {
        let series = Series { name: family.name(), labels: escaped(metric.get_label()) };
        match kind {
            Kind::Counter => series.push(out, "", None, metric.get_counter().get_value()),
            Kind::Gauge => series.push(out, "", None, metric.get_gauge().get_value()),
            Kind::Histogram => push_histogram(out, &series, metric),
        }
    }
}

fn push_histogram(out: &mut Vec<u8>, series: &Series<'_>, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    for bucket in finite {
        series.push(out, "_bucket", Some(bucket.upper_bound()), bucket.cumulative_count() as f64);
    }
    series.push(out, "_bucket", Some(f64::INFINITY), count as f64);
    series.push(out, "_sum", None, histogram.get_sample_sum());
    series.push(out, "_count", None, count as f64);
}

struct Series<'a> {
    name: &'a str,
    labels: String,
}

impl Series<'_> {
    fn push(&self, out: &mut Vec<u8>, suffix: &str, bound: Option<f64>, value: f64) {
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        if !self.labels.is_empty() || bound.is_some() {
            out.push(b'{');
            out.extend_from_slice(self.labels.as_bytes());
            if let Some(bound) = bound {
                out.extend_from_slice(if self.labels.is_empty() { b"le=\"" } else { b",le=\"" });
                text::push_bound(out, bound);
                out.push(b'"');
            }
            out.push(b'}');
        }
        out.push(b' ');
        text::push_float(out, value);
        out.push(b'\n');
    }
}

fn escaped(labels: &[LabelPair]) -> String {
    let mut text = String::new();
    for label in labels {
        text::push_label(&mut text, label.name(), label.value());
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, TextEncoder};
    use proptest::prelude::*;

    use super::*;

    /// The crate's own text but for the bounds, which the crate writes without a decimal point.
    fn crates_text(families: &[MetricFamily]) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(families, &mut text).unwrap();
        String::from_utf8(text).unwrap().replace("le=\"1\"", "le=\"1.0\"")
    }

    proptest! {
        #[test]
        fn says_in_0_0_4_what_the_crate_says(
            value in "(\\PC|[\\\\\"\n]){0,20}",
            help in "(\\PC|[\\\\\"\n]){1,20}",
            number in proptest::num::f64::ANY,
            observed in proptest::collection::vec(0.0..3.0, 0..5),
        ) {
            let labels = ["one", "two"];
            let gauge = GaugeVec::new(Opts::new("a_seconds", &help), &labels).unwrap();
            gauge.with_label_values(&[&value, "x"]).set(number);
            gauge.with_label_values(&["", &value]).set(f64::INFINITY);
            let counter = CounterVec::new(Opts::new("b_total", &help), &labels).unwrap();
            counter.with_label_values(&[&value, &value]).inc_by(observed.iter().sum());
            let options = HistogramOpts::new("c_seconds", &help).buckets(vec![0.5, 1.0]);
            let histogram = HistogramVec::new(options, &labels[..1]).unwrap();
            for number in observed {
                histogram.with_label_values(&[&value]).observe(number);
            }
            let families: Vec<_> =
                [gauge.collect(), counter.collect(), histogram.collect()].concat().into_iter()
                    .filter(|family| !family.get_metric().is_empty()).collect();
            let mut ours = Vec::new();
            for family in &families {
                push_family(&mut ours, Format::Text004, family);
            }
            let theirs = crates_text(&families).replace(" inf\n", " +Inf\n").replace(" -inf\n", " -Inf\n");
            prop_assert_eq!(String::from_utf8(ours).unwrap(), theirs);
        }
    }
}
