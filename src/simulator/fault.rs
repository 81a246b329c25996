//! Faults that can be switched on while the service runs.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::call::{Call, Operation};
use super::dice::Dice;

/// What goes wrong, for which calls, and how often. A default fault matches every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Only this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only this Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Only this target's ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only this execution ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// How likely a matching call is hit.
    #[serde(default = "always")]
    pub probability: f64,
    /// How many matching calls pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How many calls are hit before the fault is over; `None` is without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What happens to them.
    pub effect: Effect,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// Every call is hit.
    pub fn new(effect: Effect) -> Self {
        Self {
            operation: None,
            account: None,
            region: None,
            target: None,
            execution: None,
            probability: always(),
            skip: 0,
            count: None,
            effect,
        }
    }

    /// Only the next `count` matching calls.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Only calls about this pair.
    #[must_use]
    pub fn on(self, target: &str, execution: &str) -> Self {
        Self { target: Some(target.to_owned()), execution: Some(execution.to_owned()), ..self }
    }

    /// Only calls of this operation.
    #[must_use]
    pub fn of(self, operation: Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// Only calls in this Region.
    #[must_use]
    pub fn in_region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    /// Only calls in this account.
    #[must_use]
    pub fn in_account(self, account: &str) -> Self {
        Self { account: Some(account.to_owned()), ..self }
    }

    fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|text| Some(text) == is);
        self.operation.is_none_or(|operation| operation == call.operation)
            && same(&self.account, call.account.as_deref())
            && same(&self.region, call.region.as_deref())
            && same(&self.target, call.target.as_deref())
            && same(&self.execution, call.execution.as_deref())
    }
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The answer comes so much later; other faults still apply.
    Latency {
        /// Milliseconds of real time.
        millis: u64,
    },
    /// No answer ever.
    Hang,
    /// The connection closes without an answer.
    Close,
    /// Half of the true answer's body, then a reset.
    Reset,
    /// Half of the true answer's body, then nothing.
    Stall,
    /// `ThrottlingException` with status 400, as this service does it.
    Throttle,
    /// A bare 429 without a code, as proxies do it.
    TooManyRequests,
    /// A typed error: the type in the header and in the body.
    Error {
        /// The HTTP status.
        status: u16,
        /// The type, such as `AccessDeniedException`.
        code: String,
    },
    /// A 200 whose JSON ends too early.
    MalformedJson,
    /// A 200 with a page for people.
    Html,
    /// A 200 with an empty body.
    Empty,
    /// A 200 with a JSON object of at least so many bytes.
    Large {
        /// Bytes; 10 MB where left out.
        #[serde(default = "ten_megabytes")]
        bytes: usize,
    },
    /// The true answer with every member of another type than the API's.
    WrongTypes,
    /// Exactly this answer.
    Response {
        /// The HTTP status.
        status: u16,
        /// Header names and values.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; a string in JSON.
        #[serde(default, deserialize_with = "from_text", serialize_with = "to_text")]
        body: Bytes,
    },
}

fn ten_megabytes() -> usize {
    10_000_000
}

fn from_text<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    String::deserialize(from).map(Bytes::from)
}

fn to_text<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(body))
}

/// The faults that are on.
#[derive(Debug)]
pub(super) struct Faults {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Vec<Fault>,
    dice: Dice,
}

/// What the faults that are on do to one call.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Blow {
    pub(super) latency_millis: u64,
    /// At most one effect besides latency: that of the fault that was added first.
    pub(super) effect: Option<Effect>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: Mutex::new(State { faults: Vec::new(), dice: Dice::new(seed, 0xfa17) }) }
    }

    pub(super) fn add(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    pub(super) fn clear(&self) {
        self.lock().faults.clear();
    }

    pub(super) fn list(&self) -> Vec<Fault> {
        self.lock().faults.clone()
    }

    /// What hits this call. Faults that are used up are forgotten.
    pub(super) fn strike(&self, call: &Call) -> Blow {
        let mut blow = Blow::default();
        let mut state = self.lock();
        let State { faults, dice } = &mut *state;
        for fault in faults.iter_mut() {
            let latency = matches!(fault.effect, Effect::Latency { .. });
            if (blow.effect.is_some() && !latency) || !fault.matches(call) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if dice.unit() >= fault.probability {
                continue;
            }
            match &mut fault.count {
                Some(0) => continue,
                Some(count) => *count -= 1,
                None => {}
            }
            match &fault.effect {
                Effect::Latency { millis } => blow.latency_millis = blow.latency_millis.saturating_add(*millis),
                other => blow.effect = Some(other.clone()),
            }
        }
        faults.retain(|fault| fault.count != Some(0));
        blow
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            account: Some("123456789012".to_owned()),
            region: Some("eu-central-1".to_owned()),
            target: Some("t".to_owned()),
            execution: Some("e".to_owned()),
            ..Call::of(Operation::GetCommandExecution)
        }
    }

    #[test]
    fn hits_the_calls_it_is_meant_for() {
        let hits = |fault: Fault| {
            let faults = Faults::new(1);
            faults.add(fault);
            faults.strike(&call()).effect.is_some()
        };
        let fault = || Fault::new(Effect::Hang);
        assert!(hits(fault()) && hits(fault().on("t", "e")) && hits(fault().of(Operation::GetCommandExecution)));
        assert!(!hits(fault().on("t", "f")) && !hits(fault().of(Operation::GetCommand)));
        assert!(hits(fault().in_region("eu-central-1")) && !hits(fault().in_region("us-east-1")));
        assert!(hits(fault().in_account("123456789012")) && !hits(fault().in_account("210987654321")));
    }

    #[test]
    fn skips_counts_and_is_used_up() {
        let faults = Faults::new(1);
        faults.add(Fault { skip: 2, ..Fault::new(Effect::Empty).times(3) });
        let hits: Vec<bool> = (0..7).map(|_| faults.strike(&call()).effect.is_some()).collect();
        assert_eq!(hits, [false, false, true, true, true, false, false]);
        assert_eq!(faults.list(), Vec::new());
    }

    #[test]
    fn latency_adds_up_and_the_first_effect_wins() {
        let faults = Faults::new(1);
        for effect in [Effect::Latency { millis: 5 }, Effect::Html, Effect::Empty, Effect::Latency { millis: 7 }] {
            faults.add(Fault::new(effect));
        }
        assert_eq!(faults.strike(&call()), Blow { latency_millis: 12, effect: Some(Effect::Html) });
    }

    #[test]
    fn chance_is_fair_and_repeats_itself() {
        let run = || {
            let faults = Faults::new(9);
            faults.add(Fault { probability: 0.25, ..Fault::new(Effect::Hang) });
            (0..1000).map(|_| faults.strike(&call()).effect.is_some()).collect::<Vec<_>>()
        };
        let hits = run();
        assert_eq!(hits, run());
        let count = hits.iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&count), "{count}");
    }

    #[test]
    fn is_written_in_json_as_documented() {
        let text = r#"{"operation":"GetCommandExecution","count":2,"effect":{"kind":"error","status":403,"code":"ExpiredTokenException"}}"#;
        let fault: Fault = serde_json::from_str(text).expect("valid");
        let effect = Effect::Error { status: 403, code: "ExpiredTokenException".to_owned() };
        assert_eq!(fault, Fault::new(effect).of(Operation::GetCommandExecution).times(2));
        assert!(serde_json::from_str::<Fault>(r#"{"effect":{"kind":"hang"},"regoin":"x"}"#).is_err());
    }
}
