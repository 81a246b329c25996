//! Debian's Prometheus scrapes the running binary every second and answers PromQL about it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use aws_iot_command_exporter::clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::Fleet;
use crate::http;
use crate::page::Labels;
use crate::program::{BOUND, Program, command, eventually};

/// Executions of the fleet: enough of every kind, few enough for a fast first pass.
const EXECUTIONS: usize = 200;

#[test]
fn prometheus_scrapes_and_answers() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "prometheus is not on the PATH, and in CI nothing is skipped");
        eprintln!("SKIPPED: prometheus is not on the PATH (Debian: apt-get install prometheus)");
        return;
    }
    let fleet = Fleet::standing_still(EXECUTIONS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut exporter, address) = exporter(&fleet, folder.path());
    let before = clock::now().millis() as f64 / 1000.0;
    let prometheus = Prometheus::start(address);

    let polled = "count(aws_iot_command_execution_poll_success == 1)";
    let all = eventually(BOUND, || (prometheus.value(polled)? == EXECUTIONS as f64).then_some(()));
    all.unwrap_or_else(|| panic!("{polled} is {:?}\n{}", prometheus.value(polled), exporter.log()));
    // Two scrapes more, so that what only goes wrong from one to the next has had its chance.
    eventually(BOUND, || (prometheus.value("count_over_time(up[1m])")? >= 4.0).then_some(())).expect("four scrapes");

    healthy(&prometheus);
    no_sample_lost(&prometheus);
    values_are_the_records(&prometheus, &fleet, before);
    types_and_help(&prometheus);
    documented_queries(&prometheus);
}

/// `run` against the fleet.
fn exporter(fleet: &Fleet, folder: &Path) -> (Program, SocketAddr) {
    let file = folder.join("exporter.yaml");
    fs::write(&file, fleet.configuration()).expect("a writable folder");
    let config = format!("--config.file={}", file.display());
    let mut run = command(["run", &config, "--web.listen-address=127.0.0.1:0"]);
    fleet.serve(&mut run);
    let mut program = Program::start(run);
    let address = program.address();
    (program, address)
}

fn healthy(prometheus: &Prometheus) {
    assert_eq!(prometheus.value("min_over_time(up{job=\"exporter\"}[1m])"), Some(1.0));
    assert!(prometheus.value("scrape_samples_scraped").is_some_and(|count| count > 16.0 * EXECUTIONS as f64));
    let targets = prometheus.api("/api/v1/targets?state=active");
    let [target] = targets["activeTargets"].as_array().expect("a list").as_slice() else { panic!("{targets}") };
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
}

/// Prometheus's own counters of samples that it had to throw away.
fn no_sample_lost(prometheus: &Prometheus) {
    let own = http::get(prometheus.address, "/metrics").body;
    let counters = [
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_bounds_total",
        "prometheus_target_scrapes_sample_out_of_order_total",
        "prometheus_target_scrapes_exceeded_sample_limit_total",
        "prometheus_target_scrapes_exceeded_body_size_limit_total",
    ];
    for name in counters {
        assert!(own.lines().any(|line| line == format!("{name} 0")), "{name} is not 0");
    }
    assert_eq!(
        prometheus.value("scrape_samples_scraped - scrape_samples_post_metric_relabeling"),
        Some(0.0),
        "samples are dropped between page and store"
    );
}

/// Every series of every execution, asked for by PromQL.
fn values_are_the_records(prometheus: &Prometheus, fleet: &Fleet, before: f64) {
    let expected = fleet.expected(before - 60.0, clock::now().millis() as f64 / 1000.0 + 60.0);
    let mut found = BTreeMap::new();
    for name in expected.keys().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>() {
        for (mut labels, value) in prometheus.query(name) {
            for foreign in ["__name__", "job", "instance"] {
                labels.remove(foreign);
            }
            found.insert((name.clone(), labels), value);
        }
    }
    for (series, range) in &expected {
        let value = found.remove(series).unwrap_or_else(|| panic!("Prometheus does not have {series:?}"));
        assert!((range.0 - 0.002..=range.1 + 0.002).contains(&value), "{value}, not in {range:?}: {series:?}");
    }
    assert!(found.is_empty(), "Prometheus has more: {:?}", found.first_key_value());
    let one_each = "max(sum without (status) (aws_iot_command_execution_status)) == 1";
    assert_eq!(prometheus.value(one_each), Some(1.0));
    // The margin of what is still open is that of the moment of the scrape, and falls by a second a second.
    let falling = "count(deriv(aws_iot_command_execution_timeout_margin_seconds[1m]) < -0.9)";
    let open = "count(aws_iot_command_execution_status{status=~\"CREATED|IN_PROGRESS\"} == 1)";
    assert!(prometheus.value(open).is_some_and(|count| count > 0.0), "the fleet has nothing open");
    assert_eq!(prometheus.value(falling), prometheus.value(open));
}

fn types_and_help(prometheus: &Prometheus) {
    let metadata = prometheus.api("/api/v1/metadata");
    for (name, kind) in [
        ("aws_iot_command_execution_status", "gauge"),
        ("aws_iot_command_execution_timeout_margin_seconds", "gauge"),
        ("aws_iot_command_exporter_api_requests_total", "counter"),
        ("aws_iot_command_exporter_scrape_duration_seconds", "histogram"),
    ] {
        // Prometheus asks for OpenMetrics, where the family of a counter is called without its suffix.
        let family = if metadata[name].is_null() { name.trim_end_matches("_total") } else { name };
        let entry = &metadata[family][0];
        assert_eq!(entry["type"], kind, "{name}: {entry}");
        assert!(entry["help"].as_str().is_some_and(|help| help.len() > 10), "{name}: {entry}");
    }
}

/// Whatever README and docs tell people to ask is PromQL that Prometheus understands.
fn documented_queries(prometheus: &Prometheus) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut asked = 0;
    for document in ["README.md", "docs/troubleshooting.md"] {
        let text = fs::read_to_string(root.join(document)).expect("a readable document");
        for block in text.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for query in block.split("\n\n") {
                prometheus.query(query);
                asked += 1;
            }
        }
    }
    assert!(asked >= 8, "only {asked} queries were found");
}

/// A running Prometheus with one target.
struct Prometheus {
    _program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n  - job_name: exporter\n    \
             static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        fs::write(&config, text).expect("a writable folder");
        // It cannot choose a port by itself, so another program may be faster once in a while.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={free}"))
                .args(["--log.level=warn"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut program = Program::start(command);
            let ready = eventually(BOUND, || {
                let up = http::try_get(free, "/-/ready").is_ok_and(|answer| answer.status == 200);
                (up || program.has_ended()).then_some(up)
            });
            if ready == Some(true) {
                return Self { _program: program, _folder: folder, address: free };
            }
        }
        panic!("prometheus does not start");
    }

    /// `data` of an answer of its HTTP API.
    fn api(&self, path: &str) -> Value {
        let answer = http::get(self.address, path);
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {}", answer.body));
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// An instant query's vector.
    fn query(&self, query: &str) -> Vec<(Labels, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.api(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(data["resultType"], "vector", "{query}: {data}");
        let sample = |sample: &Value| {
            let labels = serde_json::from_value(sample["metric"].clone()).expect("labels");
            (labels, sample["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number"))
        };
        data["result"].as_array().expect("a list").iter().map(sample).collect()
    }

    /// The value of a query with one result; `None` while there is none.
    fn value(&self, query: &str) -> Option<f64> {
        match self.query(query).as_slice() {
            [] => None,
            [(_, value)] => Some(*value),
            more => panic!("{query} has {} results", more.len()),
        }
    }
}
