//! What the effect of a fault makes of an answer.

use bytes::Bytes;

use super::fault::Effect;
use super::reply::{Delivery, Refusal, Reply};

/// What an effect makes of the true answer.
pub(super) fn broken(effect: &Effect, truth: impl FnOnce() -> Result<Reply, Refusal>) -> Result<Reply, Refusal> {
    match effect {
        Effect::Latency { .. } | Effect::Hang => truth(),
        Effect::Close => Ok(delivered(truth(), Delivery::Nothing)),
        Effect::Reset => Ok(delivered(truth(), Delivery::HalfThenReset)),
        Effect::Stall => Ok(delivered(truth(), Delivery::HalfThenNothing)),
        Effect::Throttle => Err(Refusal::throttling()),
        Effect::TooManyRequests => Ok(Reply::new(429, "", "")),
        Effect::Error { status, code } => Err(Refusal::typed(*status, code, "Simulated")),
        Effect::MalformedJson => Ok(Reply::new(200, "application/json", r#"{"executionId":"half","status":"#)),
        Effect::Html => Ok(Reply::new(200, "text/html", "<!doctype html><title>Sign in</title><h1>Sign in</h1>")),
        Effect::Empty => Ok(Reply::new(200, "application/json", "")),
        Effect::Large { bytes } => Ok(Reply::new(200, "application/json", large(*bytes))),
        Effect::WrongTypes => truth().map(Reply::with_wrong_types),
        Effect::Response { status, headers, body } => {
            let mut reply = Reply::bare(*status, body.clone());
            for (name, value) in headers {
                reply.set_header(name, value);
            }
            Ok(reply)
        }
    }
}

/// The true answer, an error or not, delivered otherwise than it should be.
fn delivered(truth: Result<Reply, Refusal>, delivery: Delivery) -> Reply {
    let reply = truth.unwrap_or_else(|refusal| Reply::refusal(&refusal));
    Reply { delivery, ..reply }
}

/// A JSON object of so many bytes and a few more, all in one member that no client knows.
fn large(bytes: usize) -> Bytes {
    let mut text = String::with_capacity(bytes.saturating_add(16));
    text.push_str(r#"{"padding":""#);
    text.extend(std::iter::repeat_n('x', bytes));
    text.push_str("\"}");
    Bytes::from(text)
}
