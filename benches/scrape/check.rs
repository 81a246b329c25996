//! Whether the contenders are comparable: all show the same samples, and what is sent is what was rendered.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::thread;

use aws_iot_command_exporter::exposition::Gzip;
use flate2::bufread::GzDecoder;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::contender::finished;
use super::fleet::{self, SERIES};
use super::http::{Client, listen, serve_until};
use super::others::{PrometheusClient, PrometheusCrate, parse};

/// Panics where they are not.
pub(crate) fn all(executions: usize) {
    let text = finished(executions);
    let ours = samples(&text);
    assert_eq!(ours.len(), executions * SERIES, "as many series as the figures are divided by");
    assert_eq!(samples(&PrometheusCrate::new(executions).page()), ours, "the `prometheus` crate shows the same");
    assert_eq!(samples(PrometheusClient::new(executions).page().as_bytes()), ours, "and so does `prometheus-client`");

    let (store, _) = fleet::store(executions);
    let compressed: Vec<u8> = Gzip::new(fleet::scrape(&store, &fleet::settings())).flatten().collect();
    assert!(decoded(&compressed) == text, "gzip decodes to the text");

    let (listener, address) = listen();
    let shutdown = CancellationToken::new();
    thread::scope(|scope| {
        scope.spawn(|| serve_until(Builder::new_current_thread(), listener, Arc::new(store), || {}, shutdown.clone()));
        // The exporter's own families come first, and those of the process change.
        assert!(Client::new(address, false).body().ends_with(&text), "the server sends the text");
        assert!(decoded(&Client::new(address, true).body()).ends_with(&text), "and the same compressed");
        shutdown.cancel();
    });
    println!(
        "{executions} executions: every contender shows the same {} samples; gzip decodes to the text",
        ours.len()
    );
}

/// Every sample, in whichever order they and their labels come.
fn samples(page: &[u8]) -> BTreeSet<String> {
    let page = std::str::from_utf8(page).expect("UTF-8");
    let samples = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut sample = parse(line);
        sample.labels.sort_unstable();
        format!("{} {:?} {}", sample.name, sample.labels, sample.value)
    });
    samples.collect()
}

fn decoded(compressed: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut decoded).expect("a gzip member");
    decoded
}
