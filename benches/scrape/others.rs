//! The same series in the crates that an exporter would use otherwise, read from our own text.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use prometheus::{Encoder, GaugeVec, Opts, Registry, TextEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::fleet;

/// One sample of our text.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// Every sample of the fleet, without ever holding all of the text.
fn each_sample(executions: usize, mut each: impl FnMut(Sample)) {
    let (store, _) = fleet::store(executions);
    let mut rest = String::new();
    for chunk in fleet::scrape(&store, &fleet::settings()) {
        rest.push_str(std::str::from_utf8(&chunk).expect("chunks end with a line"));
        rest.lines().filter(|line| !line.starts_with('#')).map(parse).for_each(&mut each);
        rest.clear();
    }
}

/// The fleet's labels need no unescaping.
pub(crate) fn parse(line: &str) -> Sample {
    let (name, rest) = line.split_once('{').expect("every sample has labels");
    let (labels, value) = rest.split_once("} ").expect("every sample has a value");
    let labels = labels.split("\",").map(|label| label.trim_end_matches('"').split_once("=\"").expect("a label"));
    Sample {
        name: name.into(),
        labels: labels.map(|(name, value)| (name.into(), value.into())).collect(),
        value: value.parse().expect("a number"),
    }
}

pub(crate) struct PrometheusCrate(Registry);

impl PrometheusCrate {
    pub(crate) fn new(executions: usize) -> Self {
        let registry = Registry::new();
        let mut families: HashMap<String, GaugeVec> = HashMap::new();
        each_sample(executions, |Sample { name, labels, value }| {
            let family = families.entry(name).or_insert_with_key(|name| {
                let labels: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
                let family = GaugeVec::new(Opts::new(name, "help"), &labels).expect("valid");
                registry.register(Box::new(family.clone())).expect("registered once");
                family
            });
            let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
            family.with_label_values(&values).set(value);
        });
        Self(registry)
    }

    pub(crate) fn page(&self) -> Vec<u8> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut out).expect("encodes");
        out
    }
}

type ClientFamily = Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>;

pub(crate) struct PrometheusClient(prometheus_client::registry::Registry);

impl PrometheusClient {
    pub(crate) fn new(executions: usize) -> Self {
        let mut registry = prometheus_client::registry::Registry::default();
        let mut families: HashMap<String, ClientFamily> = HashMap::new();
        each_sample(executions, |Sample { name, labels, value }| {
            let family = families.entry(name).or_insert_with_key(|name| {
                let family = ClientFamily::default();
                registry.register(name, "help", family.clone());
                family
            });
            family.get_or_create(&labels).set(value);
        });
        Self(registry)
    }

    pub(crate) fn page(&self) -> String {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.0).expect("encodes");
        out
    }
}
