//! What kind of failure an error of the SDK is: by its variant first, then by the service's code, then by the HTTP
//! status. The code comes first because `iot` throttles with HTTP 400, and most refusals are not modelled.

use std::error::Error;

use aws_sdk_iot::error::{ProvideErrorMetadata, SdkError};
use http_body_util::LengthLimitError;

use crate::execution::{Failure, FailureReason};

/// The failure behind an error of the SDK. Nothing out of a response body gets into it but the error code.
pub(super) fn classify<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Failure {
    match error {
        SdkError::ConstructionFailure(_) => {
            Failure::new(FailureReason::InvalidRequest, "the request could not be built or signed")
        }
        SdkError::TimeoutError(_) => Failure::new(FailureReason::Timeout, "no whole answer in time"),
        SdkError::DispatchFailure(failure) => {
            let error = failure.as_connector_error();
            if error.is_some_and(aws_sdk_iot::error::ConnectorError::is_timeout) {
                Failure::new(FailureReason::Timeout, "no connection in time")
            } else {
                Failure::new(FailureReason::Connect, error.map_or_else(String::new, |error| innermost(error)))
            }
        }
        SdkError::ResponseError(response) => body_failure(response.raw().status().as_u16(), error),
        SdkError::ServiceError(error) => {
            // The SDK gives up on the code where the body is not JSON: a proxy may have replaced it.
            let header = error.raw().headers().get("x-amzn-errortype").map(bare_code);
            by_service(error.err().code().or(header), error.raw().status().as_u16())
        }
        _ => Failure::new(FailureReason::Unknown, "an error that the SDK does not explain"),
    }
}

fn by_service(code: Option<&str>, status: u16) -> Failure {
    let reason = code.and_then(by_code).unwrap_or_else(|| by_status(status));
    let code =
        code.filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    Failure::new(reason, format!("{}, HTTP {status}", code.unwrap_or("no error code")))
}

/// The code in the header's form `namespace#Code:http://…`.
fn bare_code(header: &str) -> &str {
    let code = header.split(':').next().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default()
}

fn by_code(code: &str) -> Option<FailureReason> {
    Some(match code.strip_suffix("Exception").unwrap_or(code) {
        "Throttling"
        | "ThrottledRequest"
        | "Throttled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "LimitExceeded"
        | "SlowDown" => FailureReason::Throttled,
        "ResourceNotFound" => FailureReason::NotFound,
        "AccessDenied" | "NotAuthorized" | "Unauthorized" | "Forbidden" => FailureReason::AccessDenied,
        "UnrecognizedClient"
        | "ExpiredToken"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "AuthFailure"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "InvalidToken" => FailureReason::Credentials,
        "InternalServer" | "InternalFailure" | "InternalError" | "ServiceUnavailable" | "ServerError" => {
            FailureReason::Server
        }
        "Validation" | "InvalidRequest" | "InvalidParameterValue" | "InvalidParameterCombination" => {
            FailureReason::InvalidRequest
        }
        "RequestTimeout" => FailureReason::Timeout,
        _ => return None,
    })
}

fn by_status(status: u16) -> FailureReason {
    match status {
        // A success that could not be parsed.
        200..=299 => FailureReason::Malformed,
        401 => FailureReason::Credentials,
        403 => FailureReason::AccessDenied,
        404 => FailureReason::NotFound,
        408 => FailureReason::Timeout,
        429 => FailureReason::Throttled,
        400..=499 => FailureReason::InvalidRequest,
        500..=599 => FailureReason::Server,
        _ => FailureReason::Unknown,
    }
}

/// The headers were there and the body was not, or was too much.
fn body_failure(status: u16, error: &(dyn Error + 'static)) -> Failure {
    let mut source = Some(error);
    while let Some(inner) = source {
        if inner.is::<LengthLimitError>() {
            return Failure::new(FailureReason::Malformed, format!("an answer of more than 1 MiB, HTTP {status}"));
        }
        source = inner.source();
    }
    Failure::new(FailureReason::Connect, format!("the answer broke off, HTTP {status}"))
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_before_the_status() {
        let cases = [
            (Some("ThrottlingException"), 400, FailureReason::Throttled),
            (None, 429, FailureReason::Throttled),
            (Some("AccessDeniedException"), 403, FailureReason::AccessDenied),
            (Some("ExpiredTokenException"), 403, FailureReason::Credentials),
            (Some("ResourceNotFoundException"), 404, FailureReason::NotFound),
            (Some("ValidationException"), 400, FailureReason::InvalidRequest),
            (Some("InternalServerException"), 500, FailureReason::Server),
            (Some("SomethingNew"), 503, FailureReason::Server),
            (Some("SomethingNew"), 418, FailureReason::InvalidRequest),
            (None, 200, FailureReason::Malformed),
            (None, 302, FailureReason::Unknown),
        ];
        for (code, status, reason) in cases {
            assert_eq!(by_service(code, status).reason, reason, "{code:?} {status}");
        }
    }

    #[test]
    fn a_code_that_is_no_word_stays_out_of_the_log() {
        assert_eq!(by_service(Some("token=secret value"), 400).detail, "no error code, HTTP 400");
    }
}
