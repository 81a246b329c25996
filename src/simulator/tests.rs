//! The simulator as its clients see it: over real sockets, by hand and through the real SDK.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_iot::Client;
use aws_sdk_iot::config::retry::RetryConfig;
use aws_sdk_iot::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_iot::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_iot::types::{CommandExecutionSummary, SortOrder, TimeFilter};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::*;
use crate::execution::{Status, Timestamp};

const TARGET: &str = "arn:aws:iot:eu-central-1:123456789012:thing/pump-7";
const COMMAND: &str = "arn:aws:iot:eu-central-1:123456789012:command/reboot";
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-central-1/iot/aws4_request, SignedHeaders=host, Signature=0";
/// No test may wait for longer.
const BOUND: Duration = Duration::from_secs(30);

struct Running {
    url: String,
    address: SocketAddr,
    control: Control,
    _stop: DropGuard,
}

async fn start(options: Options) -> Running {
    let simulator = Simulator::bind("127.0.0.1:0", &options).await.expect("a free port");
    let shutdown = CancellationToken::new();
    let running = Running {
        url: simulator.url(),
        address: simulator.local_addr(),
        control: simulator.control(),
        _stop: shutdown.clone().drop_guard(),
    };
    running.control.freeze();
    tokio::spawn(simulator.run(shutdown));
    running
}

fn unlimited(executions: usize) -> Options {
    let fleet = FleetOptions { executions, places: Place::world(), ..FleetOptions::default() };
    Options { fleet, quotas: Quotas::OFF, ..Options::default() }
}

impl Running {
    fn client(&self, region: &str) -> Client {
        self.client_of("AKIDEXAMPLE", region)
    }

    fn client_of(&self, key: &str, region: &str) -> Client {
        let config = aws_sdk_iot::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(key, "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&self.url)
            .build();
        Client::from_conf(config)
    }

    /// One request on a connection of its own; everything that came back, and whether the end was orderly.
    async fn raw(&self, request: &str) -> (String, bool) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("it listens");
            stream.write_all(request.as_bytes()).await.expect("it reads");
            let mut bytes = Vec::new();
            let orderly = stream.read_to_end(&mut bytes).await.is_ok();
            (String::from_utf8_lossy(&bytes).into_owned(), orderly)
        };
        timeout(BOUND, exchange).await.expect("an end in time")
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        self.request_as(SIGNED, method, path, body).await
    }

    async fn request_as(&self, authorization: &str, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {authorization}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (text, _) = self.raw(&request).await;
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn get_path(target: &str, id: &str) -> String {
    format!("/command-executions/{id}?targetArn={}", escape(target))
}

fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).expect("an ARN")
}

/// The service's resolution is the millisecond; what a float adds below is rounded away.
fn millis(time: Option<&aws_sdk_iot::primitives::DateTime>) -> Option<i64> {
    time.map(|time| (time.as_nanos() + 500_000).div_euclid(1_000_000) as i64)
}

fn json_millis(record: &Value, member: &str) -> Option<i64> {
    record.get(member).and_then(Value::as_f64).map(|seconds| (seconds * 1000.0).round() as i64)
}

#[tokio::test]
async fn the_sdk_reads_every_record_as_it_is() {
    let running = start(unlimited(120)).await;
    let records = running.control.records();
    assert_eq!(records.len(), 120);
    let clients: BTreeMap<&str, Client> = ["eu-central-1", "us-east-1", "cn-north-1", "us-gov-west-1"]
        .map(|region| (region, running.client(region)))
        .into_iter()
        .collect();
    for record in &records {
        let text = |member: &str| record.get(member).and_then(Value::as_str);
        let (target, id) = (text("targetArn").expect("there"), text("executionId").expect("there"));
        let get = clients[region_of(target)].get_command_execution().target_arn(target).execution_id(id);
        let answer = get.include_result(true).send().await.unwrap_or_else(|error| panic!("{target}: {error:?}"));
        assert_eq!((answer.target_arn(), answer.execution_id()), (Some(target), Some(id)));
        assert_eq!(answer.command_arn(), text("commandArn"));
        assert_eq!(answer.status().map(|status| status.as_str()), text("status"));
        let code = answer.status_reason().map(|reason| reason.reason_code());
        assert_eq!(code, record.pointer("/statusReason/reasonCode").and_then(Value::as_str));
        assert_eq!(answer.execution_timeout_seconds(), record["executionTimeoutSeconds"].as_i64());
        for (time, member) in [
            (answer.created_at(), "createdAt"),
            (answer.started_at(), "startedAt"),
            (answer.last_updated_at(), "lastUpdatedAt"),
            (answer.completed_at(), "completedAt"),
            (answer.time_to_live(), "timeToLive"),
        ] {
            assert_eq!(millis(time), json_millis(record, member), "{member} of {target}");
        }
        assert_eq!(answer.result().is_some(), record.get("result").is_some());
        let parameter = answer.parameters().and_then(|all| all.get("token")).and_then(|token| token.s());
        assert!(parameter.is_some_and(|text| text.contains(CANARY)));
    }
}

#[tokio::test]
async fn the_result_is_there_only_when_asked_for() {
    let running = start(unlimited(0)).await;
    let created = running.control.now();
    let mut done = Execution::new(TARGET, "e-1", COMMAND, created, 10);
    done.reports = vec![Report::new(1, Status::Succeeded)];
    running.control.add(done);
    running.control.advance_millis(5);
    let (_, _, plain) = running.request("GET", &get_path(TARGET, "e-1"), "").await;
    let (_, _, full) = running.request("GET", &format!("{}&includeResult=true", get_path(TARGET, "e-1")), "").await;
    assert_eq!((plain["status"].as_str(), plain.get("result")), (Some("SUCCEEDED"), None));
    assert!(full["result"]["output"]["S"].as_str().is_some_and(|text| text.contains(CANARY)));
    assert_eq!(Some(full), running.control.record(TARGET, "e-1"));
}

async fn list_all(client: &Client, command: &str, page: i32) -> (Vec<CommandExecutionSummary>, usize) {
    let filter = TimeFilter::builder().after("2000-01-01T00:00").build();
    let list = client.list_command_executions().command_arn(command).started_time_filter(filter);
    let mut pages = list.into_paginator().page_size(page).send();
    let (mut items, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        items.extend(page.expect("a page").command_executions.unwrap_or_default());
        count += 1;
    }
    (items, count)
}

#[tokio::test]
async fn the_sdk_pages_through_a_listing_empty_pages_included() {
    let running = start(unlimited(300)).await;
    let client = running.client("eu-central-1");
    let records = running.control.records();
    let expected: BTreeMap<&str, &Value> = records
        .iter()
        .filter(|record| record["commandArn"] == COMMAND)
        .map(|record| (record["executionId"].as_str().expect("there"), record))
        .collect();
    assert!(expected.len() > 7, "{}", expected.len());
    for empty_pages in [false, true] {
        running.control.set_listing(Listing { empty_pages, ..Listing::default() });
        let (items, pages) = list_all(&client, COMMAND, 7).await;
        let full = expected.len().div_ceil(7);
        assert_eq!((items.len(), pages), (expected.len(), if empty_pages { 2 * full } else { full }));
        for item in &items {
            let record = expected[item.execution_id().expect("there")];
            assert_eq!(item.status().map(|status| status.as_str()), record["status"].as_str());
            assert_eq!(millis(item.completed_at()), json_millis(record, "completedAt"));
        }
        let times: Vec<_> = items.iter().map(|item| millis(item.created_at())).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "the newest first");
    }
}

#[tokio::test]
async fn a_listing_lags_behind_and_knows_no_service_time_outs_by_completion() {
    let running = start(unlimited(0)).await;
    let control = &running.control;
    control.add(Execution::new(TARGET, "e-1", COMMAND, control.now(), 1));
    control.advance_millis(10_000);
    control.set_listing(Listing { lag_millis: 9_000, ..Listing::default() });
    let list = async |filter: &str| {
        let body = json!({ "targetArn": TARGET, filter: { "after": "2000-01-01T00:00" } }).to_string();
        running.request("POST", "/command-executions", &body).await.2["commandExecutions"].clone()
    };
    assert_eq!(control.record(TARGET, "e-1").expect("there")["status"], "TIMED_OUT");
    assert_eq!(list("startedTimeFilter").await[0]["status"], "CREATED");
    control.set_listing(Listing::default());
    assert_eq!(list("startedTimeFilter").await[0]["status"], "TIMED_OUT");
    assert_eq!(list("completedTimeFilter").await, json!([]));
}

#[tokio::test]
async fn ends_are_listed_in_their_order_and_one_between_two_pages_comes_last() {
    let running = start(unlimited(0)).await;
    let control = &running.control;
    // In the middle of a minute, since filters have whole ones.
    control.freeze_at(Timestamp::from_millis(1_732_098_630_000));
    let began = control.now();
    // The later it is created, the sooner it ends; the last is in the minute before the filter.
    for (number, after) in [(0, 200_000), (1, 150_000), (2, 120_000), (3, 90_000), (4, 20_000)] {
        let created = Timestamp::from_millis(began.millis() + number);
        let mut execution = Execution::new(TARGET, &format!("e-{number}"), COMMAND, created, 600);
        execution.reports = vec![Report::new(after - number, Status::Succeeded)];
        control.add(execution);
    }
    control.add(Execution::new(TARGET, "silent", COMMAND, began, 60));
    control.add(Execution::new(TARGET, "open", COMMAND, began, 600));
    control.advance_millis(160_000);
    let client = running.client("eu-central-1");
    let page = async |token: Option<String>| {
        let filter = TimeFilter::builder().after("2024-11-20T10:31").build();
        let list = client.list_command_executions().command_arn(COMMAND).completed_time_filter(filter);
        let page = list.sort_order(SortOrder::Ascending).max_results(2).set_next_token(token).send().await;
        let page = page.expect("a page");
        let ids = page.command_executions().iter().filter_map(|item| item.execution_id().map(str::to_owned));
        (ids.collect::<Vec<_>>(), page.next_token)
    };
    let (ids, token) = page(None).await;
    assert_eq!(ids, ["e-3", "e-2"]);
    control.advance_millis(60_000);
    assert_eq!(control.record(TARGET, "silent").expect("there")["status"], "TIMED_OUT");
    let (ids, token) = page(Some(token.expect("another page"))).await;
    assert_eq!((ids, token), (vec!["e-1".to_owned(), "e-0".to_owned()], None));
}

#[tokio::test]
async fn commands_are_listed_in_the_callers_account_and_region() {
    let accounts = HashMap::from([("AKIDOTHER".to_owned(), "210987654321".to_owned())]);
    let running = start(Options { accounts, ..unlimited(50) }).await;
    let ids = async |client: &Client| {
        let mut pages = client.list_commands().into_paginator().page_size(4).send();
        let mut arns = Vec::new();
        while let Some(page) = pages.next().await {
            arns.extend(page.expect("a page").commands.unwrap_or_default().into_iter().filter_map(|c| c.command_arn));
        }
        arns
    };
    let own = ids(&running.client("eu-central-1")).await;
    assert_eq!(own.len(), 6);
    assert!(own.iter().all(|arn| arn.starts_with("arn:aws:iot:eu-central-1:123456789012:command/")));
    let other = ids(&running.client_of("AKIDOTHER", "eu-central-1")).await;
    assert!(other.len() == 6 && other.iter().all(|arn| arn.contains(":210987654321:")));
    let command = running.client("us-east-1").get_command().command_id("factory-reset").send().await.expect("known");
    assert_eq!(command.command_arn(), Some("arn:aws:iot:us-east-1:123456789012:command/factory-reset"));
    assert_eq!((command.deprecated(), command.payload().is_some()), (Some(true), true));
    let foreign = running.client_of("AKIDOTHER", "eu-central-1").get_command_execution();
    let refused = foreign.target_arn(TARGET).execution_id("e-1").send().await;
    assert_eq!(
        refused.err().and_then(|error| error.code().map(str::to_owned)).as_deref(),
        Some("AccessDeniedException")
    );
}

#[tokio::test]
async fn refusals_are_typed_in_header_and_body() {
    let running = start(unlimited(1)).await;
    let good = get_path(TARGET, "e-1");
    let cases = [
        (SIGNED, "GET", good.as_str(), "", 404, "ResourceNotFoundException"),
        ("", "GET", &good, "", 403, "MissingAuthenticationTokenException"),
        ("Bearer x", "GET", &good, "", 403, "MissingAuthenticationTokenException"),
        (&SIGNED.replace("/iot/", "/s3/"), "GET", &good, "", 403, "InvalidSignatureException"),
        (SIGNED, "GET", "/command-executions/e-1", "", 400, "ValidationException"),
        (SIGNED, "GET", "/command-executions/e-1?targetArn=pump", "", 400, "ValidationException"),
        (SIGNED, "GET", "/command-executions/e%20?targetArn=x", "", 400, "ValidationException"),
        (SIGNED, "GET", "/command-executions/e-1?targetArn=%FF", "", 400, "ValidationException"),
        (SIGNED, "GET", "/commands?maxResults=101", "", 400, "ValidationException"),
        (SIGNED, "GET", "/commands?nextToken=abc", "", 400, "ValidationException"),
        (SIGNED, "GET", "/commands/none", "", 404, "ResourceNotFoundException"),
        (SIGNED, "POST", "/command-executions", "{}", 400, "ValidationException"),
        (SIGNED, "POST", "/command-executions", "{", 400, "SerializationException"),
        (SIGNED, "GET", "/jobs", "", 404, "UnknownOperationException"),
    ];
    for (authorization, method, path, body, status, code) in cases {
        let (got, head, body) = running.request_as(authorization, method, path, body).await;
        assert_eq!((got, body["__type"].as_str()), (status, Some(code)), "{method} {path}");
        assert!(head.contains(&format!("x-amzn-errortype: {code}:http")), "{head}");
    }
}

#[tokio::test]
async fn a_pair_exists_in_its_own_region_only() {
    let running = start(unlimited(0)).await;
    running.control.add(Execution::new(TARGET, "e-1", COMMAND, running.control.now(), 10));
    let get = |region| running.client(region).get_command_execution().target_arn(TARGET).execution_id("e-1").send();
    assert!(get("eu-central-1").await.is_ok());
    let error = get("us-east-1").await.expect_err("another Region");
    assert!(error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()), "{error:?}");
    running.control.remove(TARGET, "e-1");
    assert!(get("eu-central-1").await.is_err());
}

#[tokio::test]
async fn the_real_quotas_throttle_with_status_400() {
    let options = Options { quotas: Quotas { get_command: Some(1e-6), ..Quotas::OFF }, ..unlimited(0) };
    let running = start(options).await;
    let client = running.client("eu-central-1");
    assert!(client.get_command().command_id("reboot").send().await.is_ok());
    let error = client.get_command().command_id("reboot").send().await.expect_err("the bucket is empty");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(400));
    assert!(error.as_service_error().is_some_and(|error| error.is_throttling_exception()));
    let other = running.client("us-east-1").get_command().command_id("reboot").send().await;
    assert!(other.is_ok(), "another Region has a bucket of its own");
    assert_eq!(running.control.counts()[&Operation::GetCommand]["ThrottlingException"], 1);
}

#[tokio::test]
async fn faults_look_to_the_sdk_as_they_should() {
    let running = start(unlimited(0)).await;
    running.control.add(Execution::new(TARGET, "e-1", COMMAND, running.control.now(), 10));
    let client = running.client("eu-central-1");
    let kind = async |effect: Effect| {
        running.control.fault(Fault::new(effect).on(TARGET, "e-1").times(1));
        let call = client.get_command_execution().target_arn(TARGET).execution_id("e-1").send();
        match timeout(BOUND, call).await.expect("an answer") {
            Ok(answer) => format!("ok {:?}", answer.status().map(|status| status.as_str().to_owned())),
            Err(SdkError::ServiceError(error)) => {
                format!("{} {}", error.raw().status().as_u16(), error.err().code().unwrap_or("without a code"))
            }
            Err(SdkError::ResponseError(_)) => "broken response".to_owned(),
            Err(SdkError::DispatchFailure(_)) => "no response".to_owned(),
            Err(other) => format!("{other:?}"),
        }
    };
    let error = |status, code: &str| Effect::Error { status, code: code.to_owned() };
    assert_eq!(kind(Effect::Latency { millis: 1 }).await, "ok Some(\"CREATED\")");
    assert_eq!(kind(Effect::Throttle).await, "400 ThrottlingException");
    assert_eq!(kind(Effect::TooManyRequests).await, "429 without a code");
    assert_eq!(kind(error(500, "InternalServerException")).await, "500 InternalServerException");
    assert_eq!(kind(error(403, "ExpiredTokenException")).await, "403 ExpiredTokenException");
    assert_eq!(kind(Effect::Empty).await, "ok None");
    assert_eq!(kind(Effect::Close).await, "no response");
    assert_eq!(kind(Effect::Reset).await, "broken response");
    for effect in [Effect::MalformedJson, Effect::Html, Effect::WrongTypes] {
        let answer = kind(effect.clone()).await;
        assert!(!answer.starts_with("ok") && !answer.starts_with("no response"), "{effect:?}: {answer}");
    }
    assert_eq!(kind(Effect::Large { bytes: 2_000_000 }).await, "ok None");
    let page = Effect::Response {
        status: 503,
        headers: vec![("x-amzn-errortype".to_owned(), "ServiceUnavailable".to_owned())],
        body: "{}".into(),
    };
    assert_eq!(kind(page).await, "503 ServiceUnavailable");
    assert_eq!(kind(Effect::Latency { millis: 0 }).await, "ok Some(\"CREATED\")", "all are over");
}

#[tokio::test]
async fn a_reset_is_a_reset_and_half_the_body_came_before() {
    let running = start(unlimited(0)).await;
    running.control.put(TARGET, "e-1", json!({ "status": "CREATED" }));
    running.control.fault(Fault::new(Effect::Reset));
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\nauthorization: {SIGNED}\r\n\r\n", get_path(TARGET, "e-1"));
    let (text, orderly) = running.raw(&request).await;
    assert!(text.contains("content-length: 20\r\n") && text.ends_with("\r\n\r\n{\"status\":"), "{text}");
    assert!(!orderly, "the connection is reset, not closed");
}

#[tokio::test]
async fn hanging_calls_never_end_and_are_noted_as_abandoned() {
    let running = start(unlimited(0)).await;
    for effect in [Effect::Hang, Effect::Stall] {
        running.control.fault(Fault::new(effect).times(1));
        let client = running.client("eu-central-1");
        let call = client.get_command_execution().target_arn(TARGET).execution_id("e-1").send();
        assert!(timeout(Duration::from_millis(300), call).await.is_err());
    }
    let noted = async {
        while running.control.counts().get(&Operation::GetCommandExecution).is_none_or(|c| !c.contains_key("abandoned"))
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, noted).await.expect("the client went away");
}

#[tokio::test]
async fn a_fixed_body_is_served_as_it_is_and_listed_as_a_summary() {
    let running = start(unlimited(0)).await;
    let body = json!({
        "targetArn": TARGET, "executionId": "e-9", "commandArn": COMMAND, "status": "PAUSED",
        "createdAt": 1_000_000_000.25, "statusReason": { "reasonCode": "X" }, "tomorrow": [1, 2],
    });
    running.control.put(TARGET, "e-9", body.clone());
    assert_eq!(running.request("GET", &get_path(TARGET, "e-9"), "").await.2, body);
    let question = json!({ "commandArn": COMMAND, "startedTimeFilter": { "after": "2001-01-01T00:00" } }).to_string();
    let listed = running.request("POST", "/command-executions", &question).await.2;
    let summary = json!({
        "targetArn": TARGET, "executionId": "e-9", "commandArn": COMMAND, "status": "PAUSED", "createdAt": 1_000_000_000.25,
    });
    assert_eq!(listed, json!({ "commandExecutions": [summary] }));
}

#[tokio::test]
async fn the_control_path_switches_from_outside() {
    let running = start(unlimited(30)).await;
    let control = async |method: &str, path: &str, body: &str| {
        let (status, _, answer) = running.request_as("", method, &format!("/_simulator/{path}"), body).await;
        (status, answer)
    };
    let record = control("GET", "executions", "").await.1;
    assert_eq!(record["executions"], Value::Array(running.control.records()));
    assert_eq!(control("GET", "pairs", "").await.1.as_array().map(Vec::len), Some(30));
    let before = record["now"].as_f64().expect("a number");
    assert_eq!(
        control("POST", "clock", r#"{"advanceSeconds":60}"#).await.1,
        json!({ "now": before + 60.0, "frozen": true })
    );
    let fault = r#"{"count":1,"effect":{"kind":"response","status":418,"headers":[["x-tea","pot"]],"body":"tea"}}"#;
    assert_eq!(control("POST", "faults", fault).await.0, 200);
    let (status, head, _) = running.request("GET", "/commands", "").await;
    assert!(status == 418 && head.contains("x-tea: pot") && !head.contains("x-amzn"), "{head}");
    assert_eq!(control("GET", "faults", "").await.1, json!([]), "it is used up");
    assert_eq!(control("GET", "requests", "").await.1["counts"], json!({ "ListCommands": { "418": 1 } }));
    control("POST", "quotas", r#"{"get_command":0.5}"#).await;
    assert_eq!(control("GET", "quotas", "").await.1["get_command_execution"], json!(20.0));
    control("POST", "executions", &json!({ "targetArn": TARGET, "executionId": "new" }).to_string()).await;
    assert!(running.control.record(TARGET, "new").is_some());
    control("DELETE", "executions", &json!({ "targetArn": TARGET, "executionId": "new" }).to_string()).await;
    assert_eq!(running.control.record(TARGET, "new"), None);
    for (method, path, body) in [("POST", "clock", "{}x"), ("POST", "faults", "{}"), ("GET", "nothing", "")] {
        assert!(control(method, path, body).await.0 >= 400, "{method} {path}");
    }
}

#[tokio::test]
async fn unborn_executions_answer_404_until_they_are_born() {
    let fleet = FleetOptions { executions: 60, births: Births::Around, ..FleetOptions::default() };
    let running = start(Options { fleet, quotas: Quotas::OFF, ..Options::default() }).await;
    let unborn = running.control.fleet().executions().iter().find(|e| e.created > running.control.now());
    let unborn = unborn.cloned().expect("a third of them");
    let path = get_path(&unborn.target, &unborn.id);
    assert_eq!(running.request("GET", &path, "").await.0, 404);
    running.control.freeze_at(Timestamp::from_millis(unborn.created.millis()));
    assert_eq!(running.request("GET", &path, "").await.2["status"], "CREATED");
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_every_connection() {
    let simulator = Simulator::bind("127.0.0.1:0", &unlimited(0)).await.expect("a free port");
    let (address, shutdown) = (simulator.local_addr(), CancellationToken::new());
    let task = tokio::spawn(simulator.run(shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    shutdown.cancel();
    timeout(BOUND, task).await.expect("in time").expect("no panic");
    let mut rest = Vec::new();
    let _ = timeout(BOUND, stream.read_to_end(&mut rest)).await.expect("closed");
    assert!(rest.is_empty() && TcpStream::connect(address).await.is_err());
}
