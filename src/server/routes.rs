//! Which paths there are, and which methods they have.

use http::header::ALLOW;
use http::{HeaderValue, Method, Response, StatusCode};

use super::{Body, plain};

/// The methods of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// GET and HEAD.
    Read,
    /// POST.
    Post,
}

impl Methods {
    fn has(self, method: &Method) -> bool {
        match self {
            Self::Read => method == Method::GET || method == Method::HEAD,
            Self::Post => method == Method::POST,
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

/// A table of paths. A request finds its entry, or the response that refuses it.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    entries: Vec<(String, Methods, T)>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Routes<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `path`, to be matched whole. A path added again keeps its first entry.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, methods: Methods, target: T) -> Self {
        self.entries.push((path.into(), methods, target));
        self
    }

    /// The paths in the order in which they were added.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(path, ..)| path.as_str())
    }

    /// The entry for a request.
    ///
    /// # Errors
    /// The refusal: 405 with `Allow` where the path has other methods, 404 where there is no such path.
    #[expect(clippy::result_large_err, reason = "the refusal is the response, sent at once")]
    pub fn find(&self, method: &Method, path: &str) -> Result<&T, Response<Body>> {
        match self.entries.iter().find(|(known, ..)| known == path) {
            Some((_, methods, target)) if methods.has(method) => Ok(target),
            Some((_, methods, _)) => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods.allow()));
                Err(response)
            }
            None => Err(plain(StatusCode::NOT_FOUND, "not found")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<u8> {
        Routes::new().with("/", Methods::Read, 1).with("/metrics", Methods::Read, 2).with("/-/reload", Methods::Post, 3)
    }

    #[test]
    fn a_request_finds_its_entry() {
        assert_eq!(*routes().find(&Method::GET, "/").unwrap(), 1);
        assert_eq!(*routes().find(&Method::HEAD, "/metrics").unwrap(), 2);
        assert_eq!(*routes().find(&Method::POST, "/-/reload").unwrap(), 3);
        assert_eq!(routes().paths().collect::<Vec<_>>(), ["/", "/metrics", "/-/reload"]);
    }

    #[test]
    fn another_method_is_refused_with_those_allowed() {
        for (method, path, allow) in [
            (Method::POST, "/metrics", "GET, HEAD"),
            (Method::OPTIONS, "/", "GET, HEAD"),
            (Method::GET, "/-/reload", "POST"),
            (Method::HEAD, "/-/reload", "POST"),
        ] {
            let refusal = routes().find(&method, path).unwrap_err();
            assert_eq!(refusal.status(), 405, "{method} {path}");
            assert_eq!(refusal.headers()[ALLOW], allow, "{method} {path}");
        }
    }

    #[test]
    fn another_path_is_not_found() {
        for path in ["/metrics/", "/Metrics", "", "//", "/-/reload/x", "*"] {
            assert_eq!(routes().find(&Method::GET, path).unwrap_err().status(), 404, "{path}");
        }
    }
}
