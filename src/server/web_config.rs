//! The web configuration as written: the Prometheus exporter-toolkit's file format.
//!
//! Source: <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. Values that can be
//! judged alone are judged while they are read, so that the error has its place in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;

use super::{BcryptHash, CipherSuite, Curve, TlsVersion};

/// A whole web configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    /// TLS; without it the server speaks plain HTTP.
    pub tls_server_config: Option<TlsServerConfig>,
    /// HTTP.
    pub http_server_config: Option<HttpServerConfig>,
    /// Users and their passwords' hashes; without users everybody is let in.
    pub basic_auth_users: Option<BTreeMap<String, BcryptHash>>,
    /// How often a request is let through.
    pub rate_limit: Option<RateLimit>,
}

/// `tls_server_config`. An empty text is as good as none, as in the exporter-toolkit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsServerConfig {
    /// The certificate chain in PEM.
    pub cert: Option<String>,
    /// The key in PEM.
    pub key: Option<Secret>,
    /// The certificate authorities of clients in PEM.
    pub client_ca: Option<String>,
    /// A file with the certificate chain; relative to the web configuration file.
    pub cert_file: Option<String>,
    /// A file with the key.
    pub key_file: Option<String>,
    /// Whether clients show certificates.
    pub client_auth_type: Option<ClientAuth>,
    /// A file with the certificate authorities of clients.
    pub client_ca_file: Option<String>,
    /// Names of which a client's certificate must have one: DNS names, IP addresses, URIs.
    pub client_allowed_sans: Option<Vec<String>>,
    /// The lowest version; TLS12 by default.
    pub min_version: Option<TlsVersion>,
    /// The highest version; TLS13 by default.
    pub max_version: Option<TlsVersion>,
    /// Cipher suites in order of preference. Suites of TLS 1.3 stay as they are unless the list names some.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Whether the server's order of suites counts, not the client's; true by default.
    pub prefer_server_cipher_suites: Option<bool>,
    /// Groups of the key exchange in order of preference.
    pub curve_preferences: Option<Vec<Curve>>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `client_auth_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ClientAuth {
    /// Clients are not asked.
    #[default]
    None,
    /// Clients are asked; whatever they show is accepted.
    Request,
    /// Clients must show some certificate, which nobody checks.
    RequireAny,
    /// A certificate that is shown must be valid.
    VerifyIfGiven,
    /// Clients must show a valid certificate.
    RequireAndVerify,
}

impl TryFrom<String> for ClientAuth {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "" | "NoClientCert" => Ok(Self::None),
            "RequestClientCert" => Ok(Self::Request),
            "RequireAnyClientCert" | "RequireClientCert" => Ok(Self::RequireAny),
            "VerifyClientCertIfGiven" => Ok(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::RequireAndVerify),
            _ => Err(format!(
                "unknown client_auth_type {name:?}; use NoClientCert, RequestClientCert, RequireAnyClientCert, \
                 VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            )),
        }
    }
}

/// `http_server_config`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpServerConfig {
    /// Whether HTTP/2 may be spoken. This server does not; clients then use HTTP/1.1.
    pub http2: Option<bool>,
    /// Headers of every response.
    pub headers: Option<ResponseHeaders>,
}

/// `http_server_config.headers`: those that the format knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Option<String>>")]
pub struct ResponseHeaders(HeaderMap);

impl ResponseHeaders {
    pub(super) fn map(&self) -> &HeaderMap {
        &self.0
    }
}

/// The headers that may be set, and their values where they are not free.
const HEADERS: [(HeaderName, &[&str]); 5] = [
    (header::CONTENT_SECURITY_POLICY, &[]),
    (header::STRICT_TRANSPORT_SECURITY, &[]),
    (header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    (header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    (header::X_XSS_PROTECTION, &[]),
];

impl TryFrom<BTreeMap<String, Option<String>>> for ResponseHeaders {
    type Error = String;

    fn try_from(written: BTreeMap<String, Option<String>>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in written {
            let known = HEADERS.iter().find(|(header, _)| name.eq_ignore_ascii_case(header.as_str()));
            let Some((header, allowed)) = known else {
                return Err(format!("header {name:?} cannot be set; those that can are {}", names().join(", ")));
            };
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
                return Err(format!("header {name}: {value:?} is not one of {}", allowed.join(", ")));
            }
            let value = HeaderValue::from_str(&value)
                .map_err(|_| format!("header {name}: the value has characters that a header cannot have"))?;
            if headers.insert(header, value).is_some() {
                return Err(format!("header {name} is set twice"));
            }
        }
        Ok(Self(headers))
    }
}

fn names() -> Vec<&'static str> {
    vec![
        "Content-Security-Policy",
        "Strict-Transport-Security",
        "X-Content-Type-Options",
        "X-Frame-Options",
        "X-XSS-Protection",
    ]
}

/// `rate_limit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// From one request to the next; zero is no limit.
    pub interval: Interval,
    /// How many may come at once.
    pub burst: Option<u32>,
}

/// A duration in Go's notation: `500ms`, `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Interval(pub Duration);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        go_duration(&text).map(Self).ok_or_else(|| format!("{text:?} is not a duration such as 500ms, 1s or 1m30s"))
    }
}

/// Whole numbers with units, one after another.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    loop {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let nanos: u64 = match &rest[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_nanos(number.checked_mul(nanos)?))?;
        rest = &rest[end..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// A fault of the text. It quotes names of keys, never a value that may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFault {
    /// From 1; 0 where the parser has no place.
    pub line: u64,
    /// From 1; 0 where the parser has no place.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

/// Reads the text of a web configuration.
pub type Parse = fn(&str) -> Result<WebConfig, TextFault>;

/// The [`Parse`] by this crate's YAML library. An empty text is an empty configuration.
///
/// # Errors
/// The first fault, with its place.
pub fn parse_web_config(text: &str) -> Result<WebConfig, TextFault> {
    let options = serde_yaml::options! { with_snippet: false, strict_booleans: true };
    serde_yaml::from_str_with_options::<Option<WebConfig>>(text, options).map(Option::unwrap_or_default).map_err(
        |error| {
            let place = error.location();
            TextFault {
                line: place.map_or(0, |place| place.line()),
                column: place.map_or(0, |place| place.column()),
                message: message(&error),
            }
        },
    )
}

/// The fault without the values of the file: any of them may be a key or a hash in the wrong place.
fn message(error: &serde_yaml::Error) -> String {
    use serde_yaml::Error as E;
    match error {
        E::Message { msg, .. } => msg.clone(),
        E::SerdeInvalidType { expected, .. } | E::SerdeInvalidValue { expected, .. } => format!("expected {expected}"),
        E::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key {field:?}; there are {}", expected.join(", "))
        }
        E::SerdeMissingField { field, .. } => format!("{field} is missing"),
        E::DuplicateMappingKey { key, .. } => {
            key.as_ref().map_or_else(|| "a key is written twice".to_owned(), |key| format!("{key:?} is written twice"))
        }
        E::Unexpected { expected, .. } => format!("expected {expected}"),
        E::InvalidScalar { ty, .. } => format!("expected {ty}"),
        E::InvalidBooleanStrict { .. } => "expected true or false".to_owned(),
        E::NullIntoString { .. } => "expected a text, found nothing".to_owned(),
        E::MultipleDocuments { .. } => "more than one YAML document".to_owned(),
        E::Eof { .. } => "the file ends too early".to_owned(),
        E::Budget { .. } => "larger or deeper than any web configuration".to_owned(),
        _ => "not valid YAML, or not what belongs here".to_owned(),
    }
}
