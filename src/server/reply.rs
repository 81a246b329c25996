//! Whole responses of text.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use super::Body;

/// A plain text, with a line feed at its end.
pub fn plain(status: StatusCode, text: impl std::fmt::Display) -> Response<Body> {
    let mut response = Response::new(format!("{text}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page for people. `policy` is its Content-Security-Policy, such as
/// `default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'`.
pub fn html(page: impl Into<Body>, policy: &'static str) -> Response<Body> {
    let mut response = Response::new(page.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_what_it_is() {
        let response = plain(StatusCode::NOT_FOUND, "not found");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[test]
    fn a_page_carries_its_policy() {
        let response = html("<!doctype html>", "default-src 'none'");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], "default-src 'none'");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
