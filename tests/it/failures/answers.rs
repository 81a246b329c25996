//! Status line, headers and body, and what they mean.

use aws_iot_command_exporter::execution::FailureReason::{
    self, AccessDenied, Connect, Credentials, InvalidRequest, Malformed, NotFound, Server, Throttled, Timeout, Unknown,
};
use aws_iot_command_exporter::execution::{Origin, Snapshot, Status, Timestamp};
use aws_iot_command_exporter::simulator::{CANARY, Effect, Fault};
use aws_iot_command_exporter::source::Source;
use serde_json::json;

use super::{ID, LONG, SHORT, Site, TARGET, ask, key};

/// This answer, with the canary wherever a message has room for it.
pub(super) fn answer(status: u16, error_type: &str, body: &str) -> Effect {
    let headers = [("content-type", "application/json"), ("x-amzn-ErrorType", error_type)];
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Effect::Response { status, headers, body: body.replace("CANARY", CANARY).into() }
}

/// Errors of the service, of what stands before it, and what is no answer of it at all.
pub(super) fn failures() -> Vec<(Effect, FailureReason)> {
    let message = r#"{"message":"CANARY"}"#;
    let typed = |name: &str| format!(r#"{{"__type":"{name}","message":"CANARY"}}"#);
    let coded = |name: &str| format!(r#"{{"code":"{name}","message":"CANARY"}}"#);
    let html = "<!doctype html><title>CANARY</title><h1>Service Unavailable</h1>";
    let suffix = ":http://internal.amazon.com/coral/com.amazon.coral.service/";
    let of = |name: &str| format!("{name}{suffix}");
    let mut cases = vec![
        (answer(400, "ThrottlingException", message), Throttled),
        (answer(400, &of("ThrottlingException"), message), Throttled),
        (answer(400, &of("com.amazonaws.iot#ThrottlingException"), ""), Throttled),
        (answer(400, "ThrottlingException", html), Throttled),
        (answer(503, "ThrottlingException", html), Throttled),
        (answer(400, "", &typed("ThrottlingException")), Throttled),
        (answer(400, "", &typed("com.amazonaws.iot#ThrottlingException")), Throttled),
        (answer(400, "", &typed(&of("com.amazonaws.iot#ThrottlingException"))), Throttled),
        (answer(400, "", &coded("ThrottlingException")), Throttled),
        (answer(400, "", &coded(&of("com.amazonaws.iot#ThrottlingException"))), Throttled),
        (answer(400, "", &coded("Throttling")), Throttled),
        (answer(400, "", &typed("TooManyRequestsException")), Throttled),
        (answer(429, "", ""), Throttled),
        (answer(429, "", html), Throttled),
        (answer(429, "", message), Throttled),
        (answer(503, "", &typed("SlowDown")), Throttled),
        (answer(500, "InternalServerException", message), Server),
        (answer(500, "", &typed("InternalFailure")), Server),
        (answer(503, "", &typed("ServiceUnavailableException")), Server),
        (answer(500, "", ""), Server),
        (answer(502, "", html), Server),
        (answer(503, "", html), Server),
        (answer(504, "", message), Server),
        (answer(500, "", &typed("SomethingNewException")), Server),
        (answer(403, "AccessDeniedException", message), AccessDenied),
        (answer(403, "", &typed("AccessDeniedException")), AccessDenied),
        (answer(403, "", &coded("ForbiddenException")), AccessDenied),
        (answer(403, "", ""), AccessDenied),
        (answer(403, "", html), AccessDenied),
        (answer(401, "", ""), Credentials),
        (answer(401, "UnauthorizedException", message), AccessDenied),
        (answer(404, "ResourceNotFoundException", message), NotFound),
        (answer(404, "", &typed("ResourceNotFoundException")), NotFound),
        (answer(404, "", ""), NotFound),
        (answer(404, "", html), NotFound),
        (answer(404, "", &typed("UnknownOperationException")), NotFound),
        (answer(400, "ValidationException", message), InvalidRequest),
        (answer(400, "", &typed("ValidationException")), InvalidRequest),
        (answer(400, "", ""), InvalidRequest),
        (answer(400, "", r#"{"__type":7,"code":null,"message":["CANARY"]}"#), InvalidRequest),
        (answer(413, "", html), InvalidRequest),
        (answer(408, "", ""), Timeout),
        (answer(301, "", html), Unknown),
        (answer(304, "", ""), Unknown),
        (answer(200, "", html), Malformed),
        (answer(200, "", ""), Malformed),
        (answer(200, "", "{}"), Malformed),
        (answer(200, "", "[]"), Malformed),
        (answer(200, "", "null"), Malformed),
        (answer(200, "", message), Malformed),
        (answer(200, "", r#"{"status":"CREATED","createdAt":17320"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED"} CANARY"#), Malformed),
        (answer(200, "", r#"{"status":17,"createdAt":1732000000}"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED","createdAt":"CANARY"}"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED","createdAt":NaN}"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED","statusReason":"CANARY"}"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED","executionTimeoutSeconds":"CANARY"}"#), Malformed),
        (answer(200, "", r#"{"status":"CREATED","executionTimeoutSeconds":99999999999999999999}"#), Malformed),
        (answer(200, "", &format!(r#"{{"status":"CREATED","new":{}"#, "[".repeat(200_000))), Malformed),
        (answer(204, "", ""), Malformed),
        (Effect::Large { bytes: 10_000_000 }, Malformed),
        (Effect::MalformedJson, Malformed),
        (Effect::Html, Malformed),
        (Effect::Empty, Malformed),
        (Effect::WrongTypes, Malformed),
        (Effect::Throttle, Throttled),
        (Effect::TooManyRequests, Throttled),
        (Effect::Reset, Connect),
        (Effect::Close, Connect),
    ];
    let refused = [
        "ExpiredTokenException",
        "ExpiredToken",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "RequestExpired",
    ];
    for name in refused {
        cases.push((answer(403, &of(name), message), Credentials));
        cases.push((answer(403, "", &typed(name)), Credentials));
    }
    cases
}

/// A good answer, with what devices and operators may put into one.
pub(super) fn good() -> serde_json::Value {
    json!({
        "executionId": ID,
        "commandArn": "arn:aws:iot:eu-central-1:123456789012:command/reboot",
        "targetArn": TARGET,
        "status": "FAILED",
        "statusReason": { "reasonCode": "DEVICE_TOO_BUSY", "reasonDescription": CANARY },
        "result": { "url": { "s": CANARY } },
        "parameters": { "token": { "S": CANARY } },
        "executionTimeoutSeconds": 60,
        "createdAt": 1_732_000_000.123,
        "startedAt": 1_732_000_001,
        "lastUpdatedAt": 1_732_000_002.5,
        "completedAt": 1_732_000_002.5,
        "timeToLive": 1_747_552_000.0,
    })
}

#[tokio::test]
async fn whole_answers_have_their_reasons() {
    let site = Site::start(LONG).await;
    site.control.put(TARGET, ID, good());
    for (effect, reason) in failures() {
        site.control.clear_requests();
        site.control.fault(Fault::new(effect.clone()));
        let (outcome, logged) = ask(&site.iot).await;
        assert_eq!(outcome, Err(reason), "{effect:?}: {logged}");
        assert!(!logged.contains(CANARY), "{effect:?}: {logged}");
        assert!(logged.len() < 200, "{effect:?}: {logged}");
        assert_eq!(site.control.requests().len(), 1, "no retries: {effect:?}");
        site.control.clear_faults();
    }
    assert!(ask(&site.iot).await.0.is_ok(), "nothing of it lasts");
}

#[tokio::test]
async fn what_does_not_come_in_time_is_a_time_out() {
    let site = Site::start(SHORT).await;
    site.control.put(TARGET, ID, good());
    for effect in [Effect::Hang, Effect::Stall, Effect::Latency { millis: 60_000 }] {
        site.control.clear_requests();
        site.control.fault(Fault::new(effect.clone()));
        let asked = tokio::time::timeout(LONG, ask(&site.iot)).await;
        let (outcome, logged) = asked.unwrap_or_else(|_| panic!("{effect:?} is waited for"));
        assert_eq!(outcome, Err(Timeout), "{effect:?}: {logged}");
        assert_eq!(site.control.requests().len(), 1, "no retries: {effect:?}");
        site.control.clear_faults();
    }
}

#[tokio::test]
async fn good_answers_are_read_and_odd_ones_survive() {
    let site = Site::start(LONG).await;
    let at = |millis| Some(Timestamp::from_millis(millis));
    site.control.put(TARGET, ID, good());
    let whole = ask(&site.iot).await.0.expect("a good answer");
    assert_eq!(whole.command.as_ref().map(|arn| arn.id()), Some("reboot"));
    let reason = whole.reason.as_ref().map(|reason| (reason.code(), reason.origin()));
    assert_eq!(reason, Some(("DEVICE_TOO_BUSY", Origin::Device)));
    assert_eq!((whole.created, whole.completed), (at(1_732_000_000_123), at(1_732_000_002_500)));
    assert_eq!((whole.started, whole.last_updated), (at(1_732_000_001_000), at(1_732_000_002_500)));
    assert_eq!((whole.expiration, whole.timeout_seconds), (at(1_747_552_000_000), Some(60)));

    let bare = Snapshot::with_status;
    let created = |text: &str| format!(r#"{{"status":"CREATED","createdAt":{text}}}"#);
    let timeout = |text: &str| format!(r#"{{"status":"CREATED","executionTimeoutSeconds":{text}}}"#);
    let cases = [
        (r#"{"status":"PAUSED"}"#.to_owned(), bare(Status::Unknown)),
        (r#"{"status":""}"#.to_owned(), bare(Status::Unknown)),
        (
            r#"{"createdAt":1732000000}"#.to_owned(),
            Snapshot { created: at(1_732_000_000_000), ..bare(Status::Unknown) },
        ),
        (r#"{"status":"IN_PROGRESS"}"#.to_owned(), bare(Status::InProgress)),
        (r#"{"status":"CREATED","new":{"of":["tomorrow",{}]},"more":null}"#.to_owned(), bare(Status::Created)),
        (r#"{"status":"CREATED","createdAt":null,"statusReason":null}"#.to_owned(), bare(Status::Created)),
        (r#"{"status":"CREATED","commandArn":"no ARN at all"}"#.to_owned(), bare(Status::Created)),
        (created("-1.5"), Snapshot { created: at(-1_500), ..bare(Status::Created) }),
        (created("0"), Snapshot { created: at(0), ..bare(Status::Created) }),
        (created("-1e-20"), Snapshot { created: at(0), ..bare(Status::Created) }),
        (created("1732000000.0004"), Snapshot { created: at(1_732_000_000_000), ..bare(Status::Created) }),
        (created("1732000000.9999"), Snapshot { created: at(1_732_000_001_000), ..bare(Status::Created) }),
        (created("253402300800"), Snapshot { created: at(253_402_300_800_000), ..bare(Status::Created) }),
        (created("1e17"), bare(Status::Created)),
        (created("1e300"), bare(Status::Created)),
        (created("-1e300"), bare(Status::Created)),
        (timeout("9223372036854775807"), Snapshot { timeout_seconds: Some(i64::MAX), ..bare(Status::Created) }),
        (timeout("-5"), Snapshot { timeout_seconds: Some(-5), ..bare(Status::Created) }),
        (timeout("60.0"), Snapshot { timeout_seconds: Some(60), ..bare(Status::Created) }),
    ];
    for (body, snapshot) in cases {
        site.control.fault(Fault::new(answer(200, "", &body)).times(1));
        assert_eq!(ask(&site.iot).await.0, Ok(snapshot), "{body}");
    }
}

#[tokio::test]
async fn targets_arrive_as_they_are_configured_and_are_signed_for_their_region() {
    let site = Site::start(LONG).await;
    let names = [
        "thing/a:b:c",
        "client/a/b//c",
        "client/ a b ",
        "client/a#b",
        "client/a+b",
        "client/100%",
        "client/%2F%2f%25",
        "client/a?b=c&d=e;f",
        "client/größe/日本/🦀",
        "client/..",
        "client/../../commands",
        "client/\"quoted\"\\",
        "client/{a}[b]|^`~!*'()@$,<>",
        "client/\u{a0}\u{200b}\u{301}",
    ];
    let places = [
        ("aws", "eu-central-1", "123456789012"),
        ("aws", "us-east-1", "210987654321"),
        ("aws-cn", "cn-north-1", "345678901234"),
        ("aws-us-gov", "us-gov-west-1", "456789012345"),
    ];
    for (partition, region, account) in places {
        for name in names {
            let target = format!("arn:{partition}:iot:{region}:{account}:{name}");
            site.control.put(&target, ID, good());
            let outcome = site.iot.get_execution(&key(&target)).await;
            assert!(outcome.is_ok(), "{target}: {outcome:?}");
            let request = site.control.requests().pop().expect("it has arrived");
            assert_eq!(request.target.as_deref(), Some(&*target));
            assert_eq!(request.execution.as_deref(), Some(ID));
            assert_eq!((&*request.region, &*request.account), (region, account));
        }
    }
    assert_eq!(site.control.requests().len(), names.len() * places.len());
}
