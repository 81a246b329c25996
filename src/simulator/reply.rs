//! What goes back: the service's JSON, its typed errors, and answers that are broken on purpose.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// An error of the service, with the HTTP status and the type that clients know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn typed(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned() }
    }

    pub(super) fn validation(message: &str) -> Self {
        Self::typed(400, "ValidationException", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::typed(404, "ResourceNotFoundException", message)
    }

    /// This service throttles with status 400.
    pub(super) fn throttling() -> Self {
        Self::typed(400, "ThrottlingException", "Rate exceeded")
    }
}

/// How a reply's body reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// As it should.
    Whole,
    /// Half of it, then the connection is reset.
    HalfThenReset,
    /// Half of it, then nothing.
    HalfThenNothing,
    /// Nothing at all: the connection closes.
    Nothing,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) delivery: Delivery,
}

impl Reply {
    /// An answer as it is.
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut reply = Self::bare(status, body.into());
        if !content_type.is_empty() {
            reply.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        reply
    }

    /// An answer without headers.
    pub(super) fn bare(status: u16, body: Bytes) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: HeaderMap::new(), body, delivery: Delivery::Whole }
    }

    /// A 200 with this JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(200, "application/json", body),
            Err(error) => Self::new(500, "text/plain", error.to_string()),
        }
    }

    /// A typed error, its type in the header, with the address that AWS's framework appends, and in the body.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let body = json!({ "__type": refusal.code, "message": refusal.message });
        let mut reply = Self::json(&body);
        reply.status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let header = format!("{}:http://internal.amazon.com/coral/com.amazon.coral.service/", refusal.code);
        reply.set_header("x-amzn-errortype", &header);
        reply
    }

    /// Sets a header; names and values that HTTP does not allow are left out.
    pub(super) fn set_header(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.append(name, value);
        }
    }

    /// Every member of the JSON body of another type than before.
    #[must_use]
    pub(super) fn with_wrong_types(mut self) -> Self {
        let mut value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        if let Value::Object(members) = &mut value {
            for member in members.values_mut() {
                *member = match member {
                    Value::String(_) => json!(17),
                    Value::Number(_) => json!({ "of": "another type" }),
                    _ => json!("text"),
                };
            }
        }
        self.body = Bytes::from(value.to_string());
        self
    }
}
