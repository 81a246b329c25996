//! The four operations, for a call that has been admitted.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::books::{Page, moment_in};
use super::call::{Call, account_of, region_of};
use super::dice::fingerprint;
use super::life::{Execution, epoch_seconds};
use super::listing::{self, By, Cutter, Question, Rank, TimeKind};
use super::reply::{Refusal, Reply};
use super::service::Service;
use crate::execution::Timestamp;

/// The one parameter of every command and execution.
const PARAMETER: &str = "token";

impl Service {
    pub(super) fn get_execution(&self, call: &Call) -> Result<Reply, Refusal> {
        let id = checked_id(call)?;
        let target = call.target.as_deref().ok_or_else(|| Refusal::validation("targetArn must not be null"))?;
        check_target(target)?;
        let with_result = match call.parameter("includeResult") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Refusal::validation("includeResult must be true or false")),
        };
        let missing = || Refusal::not_found("Command execution not found for the given target and execution id");
        if region_of(target) != call.region.as_deref() {
            return Err(missing());
        }
        let now = self.clock.now();
        match self.books.get(target, id) {
            Some(Page::Fixed(body)) => Ok(Reply::json(&body)),
            Some(Page::Gone) => Err(missing()),
            Some(Page::Scripted(execution)) => execution_reply(&execution, with_result, now).ok_or_else(missing),
            None => {
                let execution = self.fleet.execution(target, id);
                execution.and_then(|execution| execution_reply(execution, with_result, now)).ok_or_else(missing)
            }
        }
    }

    pub(super) fn list_executions(&self, call: &Call) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        let question = Question::read(call, now)?;
        let knobs = self.listing();
        let seen = Timestamp::from_millis(now.millis().saturating_sub(knobs.lag_millis));
        let cutter = Cutter::new(call, question.order, knobs.empty_pages, &[&call.body.to_string()])?;
        let arn = match question.by {
            By::Command(arn) => arn,
            By::Target(arn) => check_target(arn).map(|()| arn)?,
        };
        let here = region_of(arn) == call.region.as_deref() && !question.fleetwise;
        let items = if here { self.summaries(&question, seen) } else { Vec::new() };
        if let By::Command(arn) = question.by
            && !(here && self.commands().contains(arn))
            && !question.fleetwise
        {
            return Err(Refusal::not_found("Command not found"));
        }
        let page = cutter.cut(items, call.parameter("nextToken"))?;
        Ok(page_reply("commandExecutions", page.items, page.next_token))
    }

    /// What the question takes, as it stood at `seen`.
    fn summaries(&self, question: &Question<'_>, seen: Timestamp) -> Vec<(Rank, Value)> {
        let books = self.books.all();
        let overruled = |execution: &Execution| {
            !books.is_empty() && books.contains_key(&(execution.target.to_string(), execution.id.to_string()))
        };
        let of_fleet: Box<dyn Iterator<Item = &Execution>> = match question.by {
            By::Command(arn) => Box::new(self.fleet.of_command(arn)),
            By::Target(arn) => Box::new(self.fleet.of_target(arn)),
        };
        let of_fleet = of_fleet.filter(|execution| !overruled(execution));
        let of_books = books.iter().filter_map(|((target, id), page)| match page {
            Page::Scripted(execution) => {
                asked_for(question, &execution.command, target).then(|| summary(execution, question, seen)).flatten()
            }
            Page::Fixed(body) => {
                let command = body.get("commandArn").and_then(Value::as_str).unwrap_or_default();
                asked_for(question, command, target).then(|| fixed_summary(body, target, id, question)).flatten()
            }
            Page::Gone => None,
        });
        of_fleet.filter_map(|execution| summary(execution, question, seen)).chain(of_books).collect()
    }

    pub(super) fn list_commands(&self, call: &Call) -> Result<Reply, Refusal> {
        let order = listing::order(call.parameter("sortOrder"))?;
        let fleetwise = listing::fleetwise(call.parameter("namespace"))?;
        let parameter = call.parameter("commandParameterName").unwrap_or(PARAMETER);
        let account = call.account.as_deref().unwrap_or_default();
        let region = call.region.as_deref().unwrap_or_default();
        let cutter = Cutter::new(call, order, self.listing().empty_pages, &[account, region, parameter])?;
        let items = self.commands_of(call).filter(|_| !fleetwise && parameter == PARAMETER);
        let items = items.map(|arn| {
            let summary = self.command(
                &arn,
                &[
                    "commandArn",
                    "commandId",
                    "displayName",
                    "deprecated",
                    "createdAt",
                    "lastUpdatedAt",
                    "pendingDeletion",
                ],
            );
            ((self.command_birth(&arn).millis(), fingerprint(&[&arn])), summary)
        });
        let page = cutter.cut(items.collect(), call.parameter("nextToken"))?;
        Ok(page_reply("commands", page.items, page.next_token))
    }

    pub(super) fn get_command(&self, call: &Call) -> Result<Reply, Refusal> {
        let id = checked_id(call)?;
        let arn = self.commands_of(call).find(|arn| command_id(arn) == id);
        let arn = arn.ok_or_else(|| Refusal::not_found("Command not found"))?;
        Ok(Reply::json(&self.command(&arn, &[])))
    }

    /// The ARNs of all commands, everywhere.
    pub(super) fn commands(&self) -> BTreeSet<String> {
        let mut arns = self.books.commands();
        arns.extend(self.fleet.commands().map(str::to_owned));
        arns
    }

    /// Those of the caller's account and Region.
    fn commands_of(&self, call: &Call) -> impl Iterator<Item = String> {
        let (account, region) = (call.account.clone(), call.region.clone());
        let arns = self.commands().into_iter();
        arns.filter(move |arn| account_of(arn) == account.as_deref() && region_of(arn) == region.as_deref())
    }

    /// A command's record; only these members of it, or all where none is named.
    pub(super) fn command(&self, arn: &str, members: &[&str]) -> Value {
        let id = command_id(arn);
        let created = self.command_birth(arn);
        let mut record = json!({
            "commandId": id,
            "commandArn": arn,
            "namespace": "AWS-IoT",
            "displayName": id.replace('-', " "),
            "description": format!("Simulated command {id}"),
            "mandatoryParameters": [{ "name": PARAMETER, "description": "Whatever the device asks for" }],
            // {"action":"simulated"}
            "payload": { "content": "eyJhY3Rpb24iOiJzaW11bGF0ZWQifQ==", "contentType": "application/json" },
            "createdAt": epoch_seconds(created),
            "lastUpdatedAt": epoch_seconds(created),
            "deprecated": id == "factory-reset",
            "pendingDeletion": false,
        });
        if let Value::Object(record) = &mut record
            && !members.is_empty()
        {
            record.retain(|name, _| members.contains(&name.as_str()));
        }
        record
    }

    /// Some time in the three months before the start, always the same for a command.
    fn command_birth(&self, arn: &str) -> Timestamp {
        let age = fingerprint(&[arn]) % (90 * 24 * 3_600_000);
        Timestamp::from_millis(self.fleet.origin().millis().saturating_sub(i64::try_from(age).unwrap_or_default()))
    }
}

fn execution_reply(execution: &Execution, with_result: bool, now: Timestamp) -> Option<Reply> {
    let mut record = execution.at(now)?;
    if !with_result {
        record.result = None;
    }
    Some(Reply::json(&record))
}

fn page_reply(member: &str, items: Vec<Value>, next_token: Option<String>) -> Reply {
    let mut body = Map::new();
    body.insert(member.to_owned(), Value::Array(items));
    body.extend(next_token.map(|token| ("nextToken".to_owned(), Value::String(token))));
    Reply::json(&body)
}

fn asked_for(question: &Question<'_>, command: &str, target: &str) -> bool {
    match question.by {
        By::Command(arn) => arn == command,
        By::Target(arn) => arn == target,
    }
}

/// `CommandExecutionSummary`. Its `startedAt` is the creation, as in AWS's own samples.
fn summary(execution: &Execution, question: &Question<'_>, seen: Timestamp) -> Option<(Rank, Value)> {
    let standing = execution.standing(seen)?;
    let time = match question.kind {
        TimeKind::Started => Some(execution.created),
        TimeKind::Completed => standing.completed,
    };
    if !question.takes(time) || question.status.is_some_and(|status| status != standing.status) {
        return None;
    }
    let mut item = json!({
        "commandArn": &*execution.command,
        "executionId": &*execution.id,
        "targetArn": &*execution.target,
        "status": standing.status.label(),
        "createdAt": epoch_seconds(execution.created),
        "startedAt": epoch_seconds(execution.created),
    });
    if let Some(completed) = standing.completed {
        item["completedAt"] = json!(epoch_seconds(completed));
    }
    Some(((time?.millis(), fingerprint(&[&execution.target, &execution.id])), item))
}

/// The summary of a body that a test has given.
fn fixed_summary(body: &Value, target: &str, id: &str, question: &Question<'_>) -> Option<(Rank, Value)> {
    let time = match question.kind {
        TimeKind::Started => moment_in(body, "startedAt").or_else(|| moment_in(body, "createdAt")),
        TimeKind::Completed => moment_in(body, "completedAt"),
    };
    let wanted = question.status.map(|status| Value::from(status.label()));
    if !question.takes(time) || wanted.is_some_and(|status| body.get("status") != Some(&status)) {
        return None;
    }
    let members = ["commandArn", "executionId", "targetArn", "status", "createdAt", "startedAt", "completedAt"];
    let item: Map<String, Value> =
        members.into_iter().filter_map(|name| Some((name.to_owned(), body.get(name)?.clone()))).collect();
    Some(((time?.millis(), fingerprint(&[target, id])), Value::Object(item)))
}

fn command_id(arn: &str) -> &str {
    arn.rsplit_once('/').map_or("", |(_, id)| id)
}

fn checked_id(call: &Call) -> Result<&str, Refusal> {
    let id = call.execution.as_deref().unwrap_or_default();
    let ok = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if ok {
        Ok(id)
    } else {
        Err(Refusal::validation("The ID must match [a-zA-Z0-9_-]+ and have at most 64 characters"))
    }
}

fn check_target(arn: &str) -> Result<(), Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let named =
        |kind| parts.last().and_then(|resource| resource.strip_prefix(kind)).is_some_and(|name: &str| !name.is_empty());
    let ok = arn.chars().count() <= 2048
        && matches!(parts.as_slice(), ["arn", _, "iot", _, _, _])
        && (named("thing/") || named("client/"));
    if ok { Ok(()) } else { Err(Refusal::validation("targetArn must be the ARN of a thing or client")) }
}
