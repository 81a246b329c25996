//! Exit codes (0 asked to stop, 1 failed, 2 bad flags or configuration), standard output for results only, signals.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;

use crate::http;
use crate::page::Page;
use crate::program::{BOUND, Program, command, eventually, finish};

/// The commands of the program.
const COMMANDS: [&str; 6] = ["run", "once", "check-config", "config-schema", "simulate", "demo"];

/// A configuration that is right, of one execution.
const GOOD: &str = "\
executions:
  - target_arn: arn:aws:iot:eu-central-1:123456789012:thing/pump-7
    execution_id: 07e4b780-7eca-4ffd-b772-b76358da5542
";

fn ended(output: &Output, code: i32) {
    let (stdout, stderr) = (out(output), err(output));
    assert_eq!(output.status.code(), Some(code), "standard output:\n{stdout}\nstandard error:\n{stderr}");
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with `exporter.yaml` in it, and the flag that names the file.
fn configured(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("exporter.yaml");
    fs::write(&file, text).expect("a writable folder");
    (folder, format!("--config.file={}", file.display()))
}

/// `demo` with a page far larger than what two sockets hold between them, so that a scrape that nobody reads cannot be
/// over, and the address it serves on.
fn demo_with_a_large_page() -> (Program, SocketAddr) {
    let mut program = demo(&["--executions=40000"]);
    let address = program.address();
    // Linux lets a sender queue 4 MiB at the most, and a receiver that has read nothing 128 KiB.
    let large = || (http::get(address, "/metrics").body.len() > 6 << 20).then_some(());
    eventually(BOUND, large).expect("a page that the sockets' buffers cannot hold");
    (program, address)
}

/// `demo` on a port of its own.
fn demo(more: &[&str]) -> Program {
    let arguments = ["demo", "--web.listen-address=127.0.0.1:0"].iter().chain(more);
    Program::start(command(arguments))
}

#[test]
fn version_and_help_go_to_standard_output() {
    let version = finish(["--version"]);
    ended(&version, 0);
    assert!(out(&version).contains(env!("CARGO_PKG_VERSION")), "{}", out(&version));
    let help = finish(["--help"]);
    ended(&help, 0);
    for name in COMMANDS {
        assert!(out(&help).contains(name), "--help does not name {name}:\n{}", out(&help));
        let help = finish([name, "--help"]);
        ended(&help, 0);
        assert!(out(&help).contains("Usage") && err(&help).is_empty(), "{name} --help:\n{}", out(&help));
    }
}

#[test]
fn bad_flags_exit_with_2_and_say_which() {
    let cases: [&[&str]; 8] = [
        &["--no-such-flag"],
        &["no-such-command"],
        &["run"],
        &["once"],
        &["run", "--config.file=x", "--log.level=loud"],
        &["run", "--config.file=x", "--web.listen-address=nowhere"],
        &["run", "--config.file=x", "--shard=3/3"],
        &["simulate", "--executions=many"],
    ];
    for arguments in cases {
        let output = finish(arguments);
        ended(&output, 2);
        assert!(out(&output).is_empty(), "{arguments:?}: {}", out(&output));
        assert!(!err(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_configuration_exits_with_2_and_names_the_place() {
    let (_folder, flag) = configured("poll:\n  intervall: 30s\n");
    for name in ["run", "once"] {
        let output = finish([name, &flag]);
        ended(&output, 2);
        let said = err(&output);
        assert!(said.contains("exporter.yaml:2:") && said.contains("intervall"), "{name}: {said}");
        assert!(out(&output).is_empty(), "{name}: {}", out(&output));
    }
    let file = flag.trim_start_matches("--config.file=");
    ended(&finish(["check-config", file]), 2);
    ended(&finish(["check-config", "/nonexistent/exporter.yaml"]), 2);
    ended(&finish(["run", "--config.file=/nonexistent/exporter.yaml"]), 2);
}

#[test]
fn a_good_configuration_is_called_good() {
    let (_folder, flag) = configured(GOOD);
    ended(&finish(["check-config", flag.trim_start_matches("--config.file=")]), 0);
}

#[test]
fn the_configuration_in_the_readme_is_good() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a readable README");
    let block =
        readme.split("```yaml\n").find(|block| block.starts_with("poll:")).and_then(|rest| rest.split("```").next());
    let (_folder, flag) = configured(block.expect("a configuration"));
    ended(&finish(["check-config", flag.trim_start_matches("--config.file=")]), 0);
}

#[test]
fn the_schema_is_json_on_standard_output() {
    let output = finish(["config-schema"]);
    ended(&output, 0);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert!(schema["$schema"].is_string() && schema["properties"]["executions"].is_object(), "{schema}");
}

#[test]
fn once_exits_with_1_where_a_poll_fails_and_still_prints_the_page() {
    let (_folder, flag) = configured(GOOD);
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let mut once = command(["once", &flag]);
    once.env("AWS_ENDPOINT_URL_IOT", format!("http://{closed}"));
    let output = Program::start(once).output();
    ended(&output, 1);
    let page = Page::parse(&out(&output));
    let failed: Vec<_> = page.named("aws_iot_command_execution_poll_failure").collect();
    assert_eq!(failed.len(), 1, "{}", out(&output));
    assert_eq!(failed[0].labels["reason"], "connect");
}

#[test]
fn a_port_in_use_ends_the_start_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = finish(["demo", &format!("--web.listen-address={address}")]);
    ended(&output, 1);
    assert!(err(&output).contains(&address), "{}", err(&output));
}

#[test]
fn sigterm_and_sigint_stop_with_0() {
    for signal in ["TERM", "INT"] {
        let mut program = demo(&[]);
        let address = program.address();
        program.signal(signal);
        assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0), "{}", program.log());
        assert!(http::try_get(address, "/-/healthy").is_err(), "still answering");
    }
}

#[test]
fn sigterm_in_mid_scrape_lets_the_scrape_finish() {
    let (mut program, address) = demo_with_a_large_page();
    let scrape = http::send(address, "GET", "/metrics", "").expect("a request");
    let mut first = [0; 1];
    scrape.peek(&mut first).expect("the beginning of the page");
    program.signal("TERM");
    let refused = || http::try_get(address, "/-/healthy").is_err().then_some(());
    eventually(BOUND, refused).expect("no new connections once it drains");
    assert!(!program.has_ended(), "it drains: the scrape is not read");
    let answer = http::receive(scrape).expect("the whole page");
    assert_eq!(answer.status, 200);
    Page::parse(&answer.body);
    assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0), "{}", program.log());
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let (mut program, address) = demo_with_a_large_page();
    let mut scrape = http::send(address, "GET", "/metrics", "").expect("a request");
    scrape.read_exact(&mut [0; 1]).expect("the beginning of the page");
    program.signal("TERM");
    let refused = || http::try_get(address, "/-/healthy").is_err().then_some(());
    eventually(BOUND, refused).expect("no new connections once it drains");
    assert!(!program.has_ended(), "it drains: the scrape is not read");
    program.signal("TERM");
    let status = program.wait(Duration::from_secs(2));
    assert_ne!(status.code(), Some(0), "an end before its time is no success");
}

#[test]
fn standard_output_of_a_daemon_holds_no_log() {
    let mut program = demo(&["--log.level=debug"]);
    program.address();
    program.signal("TERM");
    let output = program.output();
    for line in out(&output).lines() {
        assert!(!line.contains("level="), "a log line on standard output: {line}");
    }
    assert!(err(&output).contains("level="), "{}", err(&output));
}
