//! The control path, `/_simulator/…`: the service's own record, and its switches, for tests and people outside of the
//! process. It needs no signature and suffers no faults.
//!
//! | Path | GET | POST | DELETE |
//! |---|---|---|---|
//! | `executions` | `{"now", "executions": […]}`: every execution that exists, as `GetCommandExecution` with `includeResult` shows it | an execution as it is to be answered, `{"targetArn", "executionId", …}` | `{"targetArn", "executionId"}`: answers 404 from now on |
//! | `pairs` | `[{"targetArn", "executionId"}]`, the unborn included | | |
//! | `commands` | every command, as `GetCommand` shows it | | |
//! | `requests` | `{"mostInFlight", "counts", "log"}` | | forgets them |
//! | `faults` | those that are on | one or a list, see [`super::Fault`] | all off |
//! | `clock` | `{"now", "frozen"}` | `{"freeze": true}`, `{"freeze": false}`, `{"advanceSeconds": 60}` | |
//! | `quotas` | [`super::Quotas`] | the same; null is off, a missing one AWS's own | AWS's own again |
//! | `listing` | [`super::Listing`] | the same | |

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::books::Page;
use super::fault::Fault;
use super::life::epoch_seconds;
use super::quota::Quotas;
use super::reply::{Refusal, Reply};
use super::service::Service;

/// What the control path begins with.
pub(super) const PREFIX: &str = "/_simulator/";

/// Answers a request on the control path.
pub(super) fn answer(service: &Service, method: &Method, path: &str, body: &[u8]) -> Reply {
    let answer = match (method.as_str(), path) {
        ("GET", "executions") => json(&json!({ "now": now(service), "executions": service.records() })),
        ("POST", "executions") => read(body).and_then(|execution| put(service, &execution)),
        ("DELETE", "executions") => read(body).and_then(|execution| remove(service, &execution)),
        ("GET", "pairs") => json(&pairs(service)),
        ("GET", "commands") => {
            json(&service.commands().iter().map(|arn| service.command(arn, &[])).collect::<Vec<_>>())
        }
        ("GET", "requests") => json(&requests(service)),
        ("DELETE", "requests") => done(|| service.journal.clear()),
        ("GET", "faults") => json(&service.faults.list()),
        ("POST", "faults") => read(body).map(|faults| add_faults(service, faults)),
        ("DELETE", "faults") => done(|| service.faults.clear()),
        ("GET", "clock") => json(&clock(service)),
        ("POST", "clock") => read(body).map(|change| set_clock(service, change)),
        ("GET", "quotas") => json(&service.buckets.quotas()),
        ("POST", "quotas") => read(body).map(|wanted| {
            service.buckets.set(wanted);
            Reply::json(&service.buckets.quotas())
        }),
        ("DELETE", "quotas") => done(|| service.buckets.set(Quotas::REAL)),
        ("GET", "listing") => json(&service.listing()),
        ("POST", "listing") => read(body).and_then(|wanted| done(|| service.set_listing(wanted))),
        _ => Err(Refusal::typed(404, "UnknownSwitch", "No such switch; see the simulator's documentation")),
    };
    answer.unwrap_or_else(|refusal| Reply::refusal(&refusal))
}

type Answer = Result<Reply, Refusal>;

fn json(value: &impl Serialize) -> Answer {
    Ok(Reply::json(value))
}

fn done(switch: impl FnOnce()) -> Answer {
    switch();
    Ok(Reply::json(&json!({})))
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::typed(400, "BadSwitch", &error.to_string()))
}

fn now(service: &Service) -> f64 {
    epoch_seconds(service.clock.now())
}

fn pair_of(execution: &Value) -> Result<(&str, &str), Refusal> {
    let member = |name| execution.get(name).and_then(Value::as_str);
    member("targetArn")
        .zip(member("executionId"))
        .ok_or_else(|| Refusal::typed(400, "BadSwitch", "an execution needs the strings targetArn and executionId"))
}

fn put(service: &Service, execution: &Value) -> Answer {
    let (target, id) = pair_of(execution)?;
    done(|| service.books.set(target, id, Page::Fixed(execution.clone())))
}

fn remove(service: &Service, execution: &Value) -> Answer {
    let (target, id) = pair_of(execution)?;
    done(|| service.books.set(target, id, Page::Gone))
}

fn pairs(service: &Service) -> Vec<Value> {
    service.fleet.pairs().map(|(target, id)| json!({ "targetArn": target, "executionId": id })).collect()
}

fn requests(service: &Service) -> Value {
    json!({
        "mostInFlight": service.journal.most_in_flight(),
        "counts": service.journal.counts(),
        "log": service.journal.entries(),
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<Fault>),
    One(Box<Fault>),
}

fn add_faults(service: &Service, faults: OneOrMore) -> Reply {
    let faults = match faults {
        OneOrMore::One(fault) => vec![*fault],
        OneOrMore::More(faults) => faults,
    };
    for fault in faults {
        service.faults.add(fault);
    }
    Reply::json(&service.faults.list())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClockChange {
    freeze: Option<bool>,
    advance_seconds: Option<f64>,
}

fn clock(service: &Service) -> Value {
    json!({ "now": now(service), "frozen": service.clock.is_frozen() })
}

#[expect(clippy::cast_possible_truncation, reason = "saturating is good enough")]
fn set_clock(service: &Service, change: ClockChange) -> Reply {
    match change.freeze {
        Some(true) => service.clock.freeze(),
        Some(false) => service.clock.resume(),
        None => {}
    }
    if let Some(seconds) = change.advance_seconds {
        service.clock.advance((seconds * 1000.0).round() as i64);
    }
    Reply::json(&clock(service))
}
