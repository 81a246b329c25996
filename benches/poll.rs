//! What a poll costs: CPU time of the whole path (schedule, rate limit, SDK, store, metrics) against the bare SDK
//! client as its documentation sets it up, the same server, the same run, in turns. The server is a process of its own,
//! so that its time does not count.
//!
//! Twice: at an even pace, where most of the time goes into sleeping and waking up, and as fast as 16 calls at once get
//! through. Both sides run as a task of the runtime and sleep equally long from call to call: a loop outside of the
//! runtime's workers pays for one more thread to be woken, and one that makes up for late wake-ups makes twice as many
//! calls a second, each of them the cheaper for it.
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
use aws_iot_command_exporter::logging::{self, LogFormat, LogLevel};
use aws_iot_command_exporter::plan::Plan;
use aws_iot_command_exporter::poller::Poller;
use aws_iot_command_exporter::shard::Shard;
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use aws_sdk_iot::config::{BehaviorVersion, Credentials, Region};
use cpu_time::ProcessTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const AT_ONCE: usize = 16;

/// Of the even pace: the timers' resolution leaves about half of it.
const CALLS_PER_SECOND: f64 = 1000.0;

/// How much further than the rate alone asks for `rate` spaces calls.
const SPACING: f64 = 1.05;

/// How fast calls may follow one another.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So many a second at most; timers wake up to a millisecond late, and that is not made up for.
    Even(f64),
    /// As fast as [`AT_ONCE`] calls at once get through.
    Full,
}

/// What some polls took, in seconds.
#[derive(Clone, Copy, Debug)]
struct Spent {
    cpu: f64,
    wall: f64,
}

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

fn bare_client(url: &str) -> aws_sdk_iot::Client {
    let config = aws_sdk_iot::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "bench"))
        .endpoint_url(url)
        .build();
    aws_sdk_iot::Client::from_conf(config)
}

/// The bare client's way.
async fn bare(client: aws_sdk_iot::Client, keys: Arc<[ExecutionKey]>, pace: Pace) -> Spent {
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let mut calls = JoinSet::new();
    for key in &*keys {
        if let Pace::Even(per_second) = pace {
            tokio::time::sleep(Duration::from_secs_f64(SPACING / per_second)).await;
        }
        if calls.len() >= AT_ONCE {
            calls.join_next().await;
        }
        let call = client.get_command_execution().execution_id(key.id.as_str()).target_arn(key.target.as_str());
        calls.spawn(async move { call.send().await.expect("every pair exists") });
    }
    calls.join_all().await;
    Spent { cpu: cpu.elapsed().as_secs_f64(), wall: wall.elapsed().as_secs_f64() }
}

/// The exporter's way, the tracking of the executions included.
async fn whole(iot: Arc<Iot>, keys: Arc<[ExecutionKey]>, pace: Pace) -> Spent {
    let mut config = Config::default();
    config.limits.get_requests_per_second = match pace {
        Pace::Even(per_second) => per_second,
        Pace::Full => 1e9,
    };
    config.limits.concurrency = AT_ONCE;
    let executions =
        keys.iter().map(|key| ConfiguredExecution { key: key.clone(), interval: None, labels: Box::default() });
    config.executions = executions.collect();
    let store = Arc::new(Store::new(Timestamp::from_millis(0)));
    let (mut poller, progress) = Poller::new(iot, Arc::clone(&store), Arc::new(Telemetry::new(Build::THIS)), true);
    let (_plans, planned) = mpsc::channel(1);
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    poller.apply(Plan::new(&config, std::iter::empty(), Shard::WHOLE));
    let polling = tokio::spawn(poller.run(planned, CancellationToken::new()));
    progress.first_pass().await;
    polling.abort();
    let spent = Spent { cpu: cpu.elapsed().as_secs_f64(), wall: wall.elapsed().as_secs_f64() };
    let answered = store.view().all().filter(|execution| execution.snapshot().is_some()).count();
    assert_eq!(answered, keys.len(), "every poll succeeds");
    spent
}

/// What both ways took, round by round.
async fn compare(url: String, keys: Arc<[ExecutionKey]>, pace: Pace, rounds: usize) -> Vec<(Spent, Spent)> {
    let settings = Settings {
        endpoint_url: Some(url.clone()),
        anonymous: true,
        timeout: Duration::from_secs(10),
        ..Settings::default()
    };
    let iot = Arc::new(Iot::connect(&settings, Some("eu-central-1")).await.expect("loopback"));
    let client = bare_client(&url);
    let mut all = Vec::new();
    // The first round connects and warms up.
    for round in 0..=rounds {
        let ours = || whole(Arc::clone(&iot), Arc::clone(&keys), pace);
        let theirs = || bare(client.clone(), Arc::clone(&keys), pace);
        // Whoever comes second finds the caches as the first has left them.
        let spent = if round % 2 == 0 {
            let theirs = theirs().await;
            (theirs, ours().await)
        } else {
            let ours = ours().await;
            (theirs().await, ours)
        };
        all.push(spent);
    }
    all.split_off(1)
}

fn print(name: &str, polls: usize, rounds: &[(Spent, Spent)]) {
    let of = |value: fn(&(Spent, Spent)) -> f64| median(rounds.iter().map(value).collect());
    let micros = 1e6 / polls as f64;
    let (bare, whole) = (of(|round| round.0.cpu) * micros, of(|round| round.1.cpu) * micros);
    let rates = (polls as f64 / of(|round| round.0.wall), polls as f64 / of(|round| round.1.wall));
    let ratio = of(|round| round.1.cpu / round.0.cpu);
    println!("| {name} | {bare:.0} us | {whole:.0} us | {ratio:.2} | {:.0} / {:.0} |", rates.0, rates.1);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // As the program does: what logs cost, and cost not, is part of a poll.
    logging::start(LogLevel::Info, LogFormat::Logfmt);
    let short = std::env::args().any(|argument| argument == "--short");
    let (polls, rounds) = if short { (100, 1) } else { (200, 50) };
    let server = Server::start(polls);
    let url = format!("http://{}", server.address);
    let keys: Arc<[ExecutionKey]> = server.pairs().into();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("CPU time a poll, medians of {rounds} rounds of {polls} polls:\n");
    println!(
        "| Pace | bare SDK client | whole exporter | ratio | calls a second, bare / whole |\n|---|---|---|---|---|"
    );
    for (name, pace) in [("even", Pace::Even(CALLS_PER_SECOND)), ("16 at once", Pace::Full)] {
        let compared = runtime.spawn(compare(url.clone(), Arc::clone(&keys), pace, rounds));
        print(name, polls, &runtime.block_on(compared).expect("every poll succeeds"));
    }
}
