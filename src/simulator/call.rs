//! A request, read: which operation, who asks, and about what.

use http::Method;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::Refusal;

/// The operations of the API that are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by the API")]
pub enum Operation {
    GetCommandExecution,
    ListCommandExecutions,
    ListCommands,
    GetCommand,
}

impl Operation {
    /// AWS's own name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetCommandExecution => "GetCommandExecution",
            Self::ListCommandExecutions => "ListCommandExecutions",
            Self::ListCommands => "ListCommands",
            Self::GetCommand => "GetCommand",
        }
    }
}

/// A request for one of the operations. What could be read is there, even where the rest is bad, so that faults and
/// quotas can tell whom it concerns.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// The access key ID that signed it; `None` without an `Authorization` header of AWS's form.
    pub(super) access_key: Option<String>,
    /// The Region in the scope of the signature.
    pub(super) region: Option<String>,
    /// The service in the scope of the signature.
    pub(super) service: Option<String>,
    /// The account in the ARN that it asks about.
    pub(super) account: Option<String>,
    /// The target's ARN.
    pub(super) target: Option<String>,
    /// The execution's or the command's ID in the path.
    pub(super) execution: Option<String>,
    pub(super) query: Vec<(String, String)>,
    /// The body, where it is JSON.
    pub(super) body: Value,
    /// Why it cannot be understood.
    pub(super) fault: Option<Refusal>,
}

impl Call {
    /// A call that says nothing but its operation.
    pub(super) fn of(operation: Operation) -> Self {
        Self {
            operation,
            access_key: None,
            region: None,
            service: None,
            account: None,
            target: None,
            execution: None,
            query: Vec::new(),
            body: Value::Null,
            fault: None,
        }
    }

    /// Reads the request; `None` where it is for no operation.
    pub(super) fn read(parts: &Parts, body: &[u8]) -> Option<Self> {
        let (operation, id) = route(&parts.method, parts.uri.path())?;
        let mut call = Self::of(operation);
        call.read_signature(parts);
        if let Err(fault) = call.read_question(id, parts.uri.query().unwrap_or_default(), body) {
            call.fault = Some(fault);
        }
        let account = call.target.as_deref().or(call.body_text("commandArn")).and_then(account_of);
        call.account = account.map(str::to_owned);
        Some(call)
    }

    /// The value of this query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The string of this member of the body.
    pub(super) fn body_text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    fn read_question(&mut self, id: Option<&str>, query: &str, body: &[u8]) -> Result<(), Refusal> {
        let bad = || Refusal::validation("The request is not percent-encoded UTF-8");
        self.query = query_pairs(query).ok_or_else(bad)?;
        self.execution = id.map(|id| percent_decode(id, false).ok_or_else(bad)).transpose()?;
        self.target = self.parameter("targetArn").map(str::to_owned);
        if self.operation == Operation::ListCommandExecutions {
            self.body = serde_json::from_slice(body)
                .map_err(|_| Refusal::typed(400, "SerializationException", "The body is not JSON"))?;
            self.target = self.body_text("targetArn").map(str::to_owned);
        }
        Ok(())
    }

    /// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`; the signature itself is not checked.
    fn read_signature(&mut self, parts: &Parts) {
        let header = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scope = header
            .and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256 "))
            .and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix("Credential=")));
        let mut scope = scope.unwrap_or_default().split('/');
        let mut next = || scope.next().filter(|part| !part.is_empty()).map(str::to_owned);
        (self.access_key, _, self.region, self.service) = (next(), next(), next(), next());
    }
}

/// The operation of this method and path, and the ID in the path, still encoded.
fn route<'a>(method: &Method, path: &'a str) -> Option<(Operation, Option<&'a str>)> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["command-executions", id]) if !id.is_empty() => Some((Operation::GetCommandExecution, Some(id))),
        ("POST", ["command-executions"]) => Some((Operation::ListCommandExecutions, None)),
        ("GET", ["commands"]) => Some((Operation::ListCommands, None)),
        ("GET", ["commands", id]) if !id.is_empty() => Some((Operation::GetCommand, Some(id))),
        _ => None,
    }
}

/// The account in an ARN.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// The Region in an ARN.
pub(super) fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// The decoded pairs of a query; `None` where one is not percent-encoded UTF-8.
fn query_pairs(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(key, true)?, percent_decode(value, true)?))
        })
        .collect()
}

/// Undoes percent-encoding. In a query a bare `+` is a space, as servers take it: a client that means `+` must escape it.
fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(method: &str, uri: &str, authorization: &str, body: &str) -> Option<Call> {
        let request = http::Request::builder().method(method).uri(uri).header("authorization", authorization);
        Call::read(&request.body(()).expect("valid").into_parts().0, body.as_bytes())
    }

    #[test]
    fn who_and_what_is_read() {
        let auth =
            "AWS4-HMAC-SHA256 Credential=AKIDX/20261123/us-east-1/iot/aws4_request, SignedHeaders=host, Signature=0";
        let uri = "/command-executions/e-1?targetArn=arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Aclient%2Fa%20b%2Bc%23%C3%B6";
        let call = read("GET", uri, auth, "").expect("an operation");
        assert_eq!(call.operation, Operation::GetCommandExecution);
        assert_eq!(call.target.as_deref(), Some("arn:aws:iot:us-east-1:123456789012:client/a b+c#ö"));
        assert_eq!(
            (call.access_key.as_deref(), call.region.as_deref(), call.service.as_deref()),
            (Some("AKIDX"), Some("us-east-1"), Some("iot"))
        );
        assert_eq!((call.account.as_deref(), call.execution.as_deref()), (Some("123456789012"), Some("e-1")));
        assert_eq!(call.fault, None);
    }

    #[test]
    fn the_body_of_a_listing_names_account_and_target() {
        let body = r#"{"commandArn":"arn:aws:iot:eu-west-1:210987654321:command/reboot"}"#;
        let call =
            read("POST", "/command-executions?maxResults=5&nextToken=a%2Fb%2B%3D", "", body).expect("an operation");
        assert_eq!((call.operation, call.account.as_deref()), (Operation::ListCommandExecutions, Some("210987654321")));
        assert_eq!(call.parameter("nextToken"), Some("a/b+="));
        assert_eq!(call.access_key, None);
    }

    #[test]
    fn bad_requests_are_calls_with_a_fault_and_foreign_ones_none() {
        for uri in ["/command-executions/e?targetArn=%zz", "/command-executions/e?targetArn=%ff", "/commands/%C3"] {
            assert!(read("GET", uri, "", "").is_some_and(|call| call.fault.is_some()), "{uri}");
        }
        assert!(read("POST", "/command-executions", "", "{").is_some_and(|call| call.fault.is_some()));
        for (method, uri) in
            [("GET", "/"), ("PUT", "/commands"), ("GET", "/command-executions"), ("GET", "/commands/a/b")]
        {
            assert!(read(method, uri, "", "").is_none(), "{method} {uri}");
        }
    }

    #[test]
    fn a_bare_plus_is_a_space_in_a_query_only() {
        assert_eq!(percent_decode("a+b%2B", true).as_deref(), Some("a b+"));
        assert_eq!(percent_decode("a+b%2b", false).as_deref(), Some("a+b+"));
        assert_eq!(percent_decode("%", true), None);
        assert_eq!(percent_decode("%+1", true), None);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".{0,40}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decode(&encoded, true), Some(text));
        }
    }
}
