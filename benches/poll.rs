//! What a poll costs: CPU time of the whole path (schedule, rate limit, SDK, store) against the bare SDK client, the
//! same server, the same pace, the same run, in turns. The server is a process of its own, so that its time does not count.
//!
//! `cargo bench --bench poll` (`-- --short` for a quick look at whether it works)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::config::{Config, ConfiguredExecution};
use aws_iot_command_exporter::execution::{ExecutionId, ExecutionKey, TargetArn, Timestamp};
use aws_iot_command_exporter::iot::{Iot, Settings};
use aws_iot_command_exporter::plan::Plan;
use aws_iot_command_exporter::poller::Poller;
use aws_iot_command_exporter::shard::Shard;
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use aws_sdk_iot::config::{BehaviorVersion, Credentials, Region};
use cpu_time::ProcessTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const AT_ONCE: usize = 16;

/// Of both: an idle runtime that wakes up for each call costs more than one that never rests.
const CALLS_PER_SECOND: f64 = 1000.0;

/// The simulator as a process.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(executions: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aws-iot-command-exporter"));
        command.args(["simulate", "--executions", &executions.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program was built with this benchmark");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the first line");
        let address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
        let server = Self { child, address };
        let off = "{\"get_command_execution\":null,\"list_command_executions\":null,\"list_commands\":null,\"get_command\":null}";
        server.ask("POST", "/_simulator/quotas", off);
        server
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: s\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    fn pairs(&self) -> Vec<ExecutionKey> {
        let pairs: serde_json::Value = serde_json::from_str(&self.ask("GET", "/_simulator/pairs", "")).expect("JSON");
        let list = pairs.as_array().or_else(|| pairs["pairs"].as_array()).expect("a list").clone();
        let text = |pair: &serde_json::Value, name: &str| pair[name].as_str().expect("a text").to_owned();
        let key = |pair| ExecutionKey {
            target: TargetArn::parse(&text(pair, "targetArn")).expect("an ARN"),
            id: ExecutionId::parse(&text(pair, "executionId")).expect("an ID"),
        };
        list.iter().map(key).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of the bare client.
async fn bare(url: &str, keys: &[ExecutionKey]) -> f64 {
    let config = aws_sdk_iot::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "bench"))
        .endpoint_url(url)
        .build();
    let client = aws_sdk_iot::Client::from_conf(config);
    let start = ProcessTime::now();
    let mut calls = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.05 / CALLS_PER_SECOND));
    for key in keys {
        pace.tick().await;
        if calls.len() >= AT_ONCE {
            calls.join_next().await;
        }
        let call = client.get_command_execution().execution_id(key.id.as_str()).target_arn(key.target.as_str());
        calls.spawn(async move { call.send().await.expect("every pair exists") });
    }
    calls.join_all().await;
    start.elapsed().as_secs_f64()
}

/// CPU seconds of the exporter's way.
async fn whole(url: &str, keys: &[ExecutionKey]) -> f64 {
    let mut config = Config::default();
    config.limits.get_requests_per_second = CALLS_PER_SECOND;
    config.limits.concurrency = AT_ONCE;
    let executions =
        keys.iter().map(|key| ConfiguredExecution { key: key.clone(), interval: None, labels: Box::default() });
    config.executions = executions.collect();
    let settings = Settings {
        endpoint_url: Some(url.to_owned()),
        anonymous: true,
        timeout: Duration::from_secs(10),
        ..Settings::default()
    };
    let iot = Arc::new(Iot::connect(&settings, Some("eu-central-1")).await.expect("loopback"));
    let store = Arc::new(Store::new(Timestamp::from_millis(0)));
    let (mut poller, progress) = Poller::new(iot, Arc::clone(&store), Arc::new(Telemetry::new(Build::THIS)), true);
    let (_plans, planned) = mpsc::channel(1);
    let start = ProcessTime::now();
    poller.apply(Plan::new(&config, std::iter::empty(), Shard::WHOLE));
    let polling = tokio::spawn(poller.run(planned, CancellationToken::new()));
    progress.first_pass().await;
    polling.abort();
    let spent = start.elapsed().as_secs_f64();
    let answered = store.view().all().filter(|execution| execution.snapshot().is_some()).count();
    assert_eq!(answered, keys.len(), "every poll succeeds");
    spent
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (executions, rounds) = if short { (100, 1) } else { (2_000, 5) };
    let server = Server::start(executions);
    let url = format!("http://{}", server.address);
    let keys = server.pairs();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let per_poll = 1e6 / keys.len() as f64;
    let (mut bare_times, mut whole_times) = (Vec::new(), Vec::new());
    // The first round warms up, and does not count.
    for round in 0..=rounds {
        let spent = (runtime.block_on(bare(&url, &keys)), runtime.block_on(whole(&url, &keys)));
        if round > 0 || short {
            bare_times.push(spent.0 * per_poll);
            whole_times.push(spent.1 * per_poll);
        }
    }
    let (bare, whole) = (median(bare_times), median(whole_times));
    println!("CPU microseconds a poll, median of {rounds} rounds of {} polls:", keys.len());
    println!("  bare SDK client  {bare:8.1}");
    println!("  whole exporter   {whole:8.1}   {:.2} x", whole / bare);
}
