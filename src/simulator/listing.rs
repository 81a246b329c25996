//! Pages: what a listing takes, the rules it refuses by, and the tokens between its pages.

use serde_json::Value;

use super::call::Call;
use super::dice::fingerprint;
use super::reply::Refusal;
use crate::execution::{Status, Timestamp};

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// Whose executions are listed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    Command(&'a str),
    Target(&'a str),
}

/// Which of an execution's times a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeKind {
    Started,
    Completed,
}

/// A valid `ListCommandExecutions`.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) by: By<'a>,
    pub(super) kind: TimeKind,
    pub(super) after: Option<Timestamp>,
    pub(super) before: Option<Timestamp>,
    pub(super) status: Option<Status>,
    pub(super) order: Order,
    pub(super) fleetwise: bool,
}

impl<'a> Question<'a> {
    /// Checks the body of a call by the service's rules.
    pub(super) fn read(call: &'a Call, now: Timestamp) -> Result<Self, Refusal> {
        check_strings(&call.body)?;
        let by = match (call.body_text("commandArn"), call.body_text("targetArn")) {
            (Some(arn), None) => By::Command(arn),
            (None, Some(arn)) => By::Target(arn),
            _ => return Err(Refusal::validation("Exactly one of commandArn and targetArn must be given")),
        };
        let (kind, filter) = match (time_filter(call, "startedTimeFilter"), time_filter(call, "completedTimeFilter")) {
            (Some(filter), None) => (TimeKind::Started, filter),
            (None, Some(filter)) => (TimeKind::Completed, filter),
            _ => {
                let rule = "Exactly one of startedTimeFilter and completedTimeFilter must be given";
                return Err(Refusal::validation(rule));
            }
        };
        let status = call.body_text("status").map(known_status).transpose()?;
        if status.is_some() && matches!(by, By::Command(_)) {
            return Err(Refusal::validation("status cannot be combined with commandArn"));
        }
        Ok(Self {
            by,
            kind,
            after: moment(filter, "after", now)?,
            before: moment(filter, "before", now)?,
            status,
            order: order(call.body_text("sortOrder"))?,
            fleetwise: fleetwise(call.body_text("namespace"))?,
        })
    }

    /// Whether a time passes the filter; one that is absent does not.
    pub(super) fn takes(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| {
            self.after.is_none_or(|after| time >= after) && self.before.is_none_or(|before| time <= before)
        })
    }
}

fn check_strings(body: &Value) -> Result<(), Refusal> {
    let Value::Object(members) = body else {
        return Err(Refusal::typed(400, "SerializationException", "The body is not a JSON object"));
    };
    let filters = ["startedTimeFilter", "completedTimeFilter"];
    let bad = members.iter().find(|(name, value)| match filters.contains(&name.as_str()) {
        true => !value.is_object(),
        false => !value.is_string(),
    });
    bad.map_or(Ok(()), |(name, _)| {
        Err(Refusal::typed(400, "SerializationException", &format!("{name} has a wrong type")))
    })
}

fn time_filter<'a>(call: &'a Call, name: &str) -> Option<&'a Value> {
    call.body.get(name)
}

fn known_status(name: &str) -> Result<Status, Refusal> {
    match Status::from_name(name) {
        Status::Unknown => Err(Refusal::validation("status is not one of the API's")),
        status => Ok(status),
    }
}

/// A time of a filter: `yyyy-MM-dd'T'HH:mm`, in UTC, not in the future.
fn moment(filter: &Value, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = filter.get(name) else { return Ok(None) };
    let wrong = || Refusal::validation(&format!("{name} must have the format yyyy-MM-dd'T'HH:mm"));
    let text = value.as_str().ok_or_else(wrong)?;
    let time = minute(text).ok_or_else(wrong)?;
    if time > now {
        return Err(Refusal::validation(&format!("{name} cannot be in the future")));
    }
    Ok(Some(time))
}

fn minute(text: &str) -> Option<Timestamp> {
    let shape = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if !shape.eq(*b"0000-00-00T00:00") {
        return None;
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// `sortOrder`; the newest come first unless asked otherwise.
pub(super) fn order(name: Option<&str>) -> Result<Order, Refusal> {
    match name {
        None | Some("DESCENDING") => Ok(Order::Descending),
        Some("ASCENDING") => Ok(Order::Ascending),
        Some(_) => Err(Refusal::validation("sortOrder must be ASCENDING or DESCENDING")),
    }
}

/// Whether `namespace` is that of AWS IoT FleetWise, in which this service has nothing.
pub(super) fn fleetwise(name: Option<&str>) -> Result<bool, Refusal> {
    match name {
        None | Some("AWS-IoT") => Ok(false),
        Some("AWS-IoT-FleetWise") => Ok(true),
        Some(_) => Err(Refusal::validation("namespace must be AWS-IoT or AWS-IoT-FleetWise")),
    }
}

/// Where a page begins: after the item with this rank. Ranks order a listing, without ties.
pub(super) type Rank = (i64, u64);

/// A page of a listing.
#[derive(Debug, PartialEq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_token: Option<String>,
}

/// How to cut pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutter {
    pub(super) order: Order,
    pub(super) size: usize,
    /// Stands for the question: a token is good for the same question only.
    pub(super) question: u64,
    /// Whether every other page is empty, although more follow.
    pub(super) empty_pages: bool,
}

/// The largest page, and the one that is cut when no size is asked for.
const MOST: usize = 100;

impl Cutter {
    /// Reads `maxResults`. All that tells this question from others is in `question`.
    pub(super) fn new(call: &Call, order: Order, empty_pages: bool, question: &[&str]) -> Result<Self, Refusal> {
        let size = call.parameter("maxResults").map_or(Some(MOST), |text| text.parse().ok());
        let size = size.filter(|size| (1..=MOST).contains(size));
        let size = size.ok_or_else(|| Refusal::validation("maxResults must be a number from 1 to 100"))?;
        Ok(Self { order, size, question: fingerprint(question), empty_pages })
    }

    /// The page after `token`, out of all items of the listing in any order.
    pub(super) fn cut<T>(&self, mut items: Vec<(Rank, T)>, token: Option<&str>) -> Result<Page<T>, Refusal> {
        let start = token.map(|token| self.read_token(token)).transpose()?;
        items.sort_by_key(|(rank, _)| *rank);
        if self.order == Order::Descending {
            items.reverse();
        }
        let after = start.and_then(|start| start.after);
        items.retain(|(rank, _)| after.is_none_or(|after| self.follows(*rank, after)));
        if self.empty_pages && !items.is_empty() && start.is_none_or(|start| !start.was_empty) {
            let next_token = Some(self.token(Start { after, was_empty: true }));
            return Ok(Page { items: Vec::new(), next_token });
        }
        let more = items.len() > self.size;
        items.truncate(self.size);
        let last = items.last().map(|(rank, _)| *rank).filter(|_| more);
        let next_token = last.map(|rank| self.token(Start { after: Some(rank), was_empty: false }));
        Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), next_token })
    }

    fn follows(&self, rank: Rank, after: Rank) -> bool {
        match self.order {
            Order::Ascending => rank > after,
            Order::Descending => rank < after,
        }
    }

    /// A token with every character that a careless client forgets to escape.
    fn token(&self, start: Start) -> String {
        let (millis, tie) = start.after.unwrap_or_default();
        let kind = match (start.after, start.was_empty) {
            (None, _) => "first",
            (Some(_), true) => "empty",
            (Some(_), false) => "page",
        };
        format!("AQICAHg/{kind}+{millis}+{tie:x}+{:x}/w==", self.question)
    }

    fn read_token(&self, token: &str) -> Result<Start, Refusal> {
        self.parse_token(token).ok_or_else(|| Refusal::validation("nextToken is not valid for this request"))
    }

    fn parse_token(&self, token: &str) -> Option<Start> {
        let inside = token.strip_prefix("AQICAHg/")?.strip_suffix("/w==")?;
        let [kind, millis, tie, question] = inside.split('+').collect::<Vec<_>>().try_into().ok()?;
        let rank = (millis.parse().ok()?, u64::from_str_radix(tie, 16).ok()?);
        if u64::from_str_radix(question, 16).ok()? != self.question {
            return None;
        }
        match kind {
            "first" => Some(Start { after: None, was_empty: true }),
            "empty" => Some(Start { after: Some(rank), was_empty: true }),
            "page" => Some(Start { after: Some(rank), was_empty: false }),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Start {
    after: Option<Rank>,
    /// Whether the page before was an empty one.
    was_empty: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::call::Operation;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_732_098_600_000); // 2024-11-20T10:30

    fn refused(body: Value) -> Option<String> {
        let call = Call { body, ..Call::of(Operation::ListCommandExecutions) };
        Question::read(&call, NOW).err().map(|refusal| format!("{}: {}", refusal.code, refusal.message))
    }

    #[test]
    fn the_services_rules_are_kept() {
        let good = json!({ "commandArn": "c", "startedTimeFilter": { "after": "2024-11-20T10:30" } });
        assert_eq!(refused(good.clone()), None);
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            refused(body).unwrap_or_default()
        };
        assert!(with("targetArn", json!("t")).contains("Exactly one of commandArn"));
        assert!(with("completedTimeFilter", json!({})).contains("Exactly one of startedTimeFilter"));
        assert!(with("status", json!("FAILED")).contains("cannot be combined"));
        assert!(with("startedTimeFilter", json!({ "after": "2024-11-20T10:31" })).contains("future"));
        for text in ["2024-11-20T10:30:00", "2024-11-20 10:30", "2024-13-20T10:30", "2024-11-20T1:30", "now", ""] {
            assert!(with("startedTimeFilter", json!({ "after": text })).contains("yyyy-MM-dd'T'HH:mm"), "{text}");
        }
        assert!(with("sortOrder", json!("UP")).contains("ASCENDING"));
        assert!(with("namespace", json!("x")).contains("FleetWise"));
        assert!(with("status", json!(5)).starts_with("SerializationException"));
        assert!(refused(json!([])).is_some_and(|text| text.starts_with("SerializationException")));
        let by_target = json!({ "targetArn": "t", "completedTimeFilter": {}, "status": "FAILED" });
        assert_eq!(refused(by_target), None);
        assert!(refused(json!({ "targetArn": "t", "completedTimeFilter": {}, "status": "LOST" })).is_some());
    }

    #[test]
    fn filters_include_their_ends_and_miss_what_is_absent() {
        let body = json!({ "targetArn": "t", "completedTimeFilter": { "after": "2024-11-20T10:00", "before": "2024-11-20T10:30" } });
        let call = Call { body, ..Call::of(Operation::ListCommandExecutions) };
        let question = Question::read(&call, NOW).expect("valid");
        let takes = |millis: i64| question.takes(Some(Timestamp::from_millis(NOW.millis() + millis)));
        assert!(takes(0) && takes(-1_800_000) && !takes(1) && !takes(-1_800_001) && !question.takes(None));
    }

    #[test]
    fn tokens_are_refused_elsewhere() {
        let call = Call::of(Operation::ListCommands);
        let cutter = |question| Cutter::new(&call, Order::Ascending, false, &[question]).expect("valid");
        let token = cutter("a").token(Start { after: Some((-5, 7)), was_empty: false });
        assert!(["/", "+", "="].into_iter().all(|mark| token.contains(mark)));
        assert!(cutter("a").read_token(&token).is_ok());
        assert!(cutter("b").read_token(&token).is_err());
        assert!(cutter("a").read_token(&token.replace('+', " ")).is_err(), "not escaped by the client");
    }

    proptest! {
        #[test]
        fn pages_are_the_whole_without_gaps(
            ranks in proptest::collection::btree_set((-50_i64..50, 0_u64..4), 0..60),
            size in 1_usize..=10,
            empty_pages: bool,
            ascending: bool,
        ) {
            let order = if ascending { Order::Ascending } else { Order::Descending };
            let cutter = Cutter { order, size, question: 1, empty_pages };
            let (mut seen, mut token, mut pages) = (Vec::new(), None::<String>, 0);
            loop {
                let items = ranks.iter().map(|rank| (*rank, *rank)).collect();
                let page = cutter.cut(items, token.as_deref()).expect("its own token");
                prop_assert!(page.items.len() <= size);
                prop_assert!(page.next_token.is_none() || page.next_token != token, "a client would take it for a loop");
                seen.extend(page.items);
                pages += 1;
                token = page.next_token;
                if token.is_none() { break }
            }
            let mut all: Vec<Rank> = ranks.into_iter().collect();
            if !ascending { all.reverse() }
            let full = all.len().div_ceil(size);
            prop_assert_eq!(seen, all);
            let expected = if empty_pages { 2 * full } else { full };
            prop_assert_eq!(pages, expected.max(1));
        }
    }
}
