//! The text of the web configuration: every documented key is read, and faults have a place and no secrets.

use super::*;

fn fault(text: &str) -> String {
    let TextFault { line, column, message } = parse_web_config(text).unwrap_err();
    format!("{line}:{column}: {message}")
}

#[test]
fn every_documented_key_is_read() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    let text = format!(
        "tls_server_config:
  cert: c
  key: k
  client_ca: a
  cert_file: cf
  key_file: kf
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: af
  client_allowed_sans: [prometheus, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256, CurveP384, X25519MLKEM768]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'none'
    X-Frame-Options: sameorigin
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ''
    Strict-Transport-Security: max-age=1
basic_auth_users:
  alice: {hash}
rate_limit:
  interval: 1m30s
  burst: 5
"
    );
    let config = parse_web_config(&text).unwrap();
    let tls = config.tls_server_config.unwrap();
    assert_eq!((tls.cert.as_deref(), tls.cert_file.as_deref()), (Some("c"), Some("cf")));
    assert_eq!((tls.client_ca.as_deref(), tls.client_ca_file.as_deref()), (Some("a"), Some("af")));
    assert_eq!((tls.key.unwrap().expose(), tls.key_file.as_deref()), ("k", Some("kf")));
    assert_eq!(tls.client_auth_type, Some(ClientAuth::RequireAndVerify));
    assert_eq!(tls.client_allowed_sans.unwrap(), ["prometheus", "10.0.0.1"]);
    assert_eq!((tls.min_version, tls.max_version), (Some(TlsVersion::Tls12), Some(TlsVersion::Tls13)));
    assert_eq!(tls.cipher_suites.unwrap().len(), 2);
    assert_eq!(tls.prefer_server_cipher_suites, Some(false));
    let curves = [Curve::X25519, Curve::P256, Curve::P384, Curve::X25519MlKem768];
    assert_eq!(tls.curve_preferences.as_deref(), Some(&curves[..]));
    let http = config.http_server_config.unwrap();
    assert_eq!(http.http2, Some(false));
    assert_eq!(http.headers.unwrap().map().len(), 4, "a blank header is not set");
    assert!(config.basic_auth_users.unwrap()["alice"].matches(b"secret"));
    let limit = config.rate_limit.unwrap();
    assert_eq!((limit.interval.0, limit.burst), (Duration::from_secs(90), Some(5)));
}

#[test]
fn little_or_nothing_is_a_configuration_too() {
    for text in ["", "# nothing\n", "{}", "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n"] {
        assert_eq!(parse_web_config(text).unwrap(), WebConfig::default(), "{text:?}");
    }
}

#[test]
fn faults_have_their_place() {
    for (text, message) in [
        (
            "tls_config: {}",
            "1:1: unknown key \"tls_config\"; there are tls_server_config, http_server_config, basic_auth_users, rate_limit",
        ),
        ("http_server_config:\n  http3: true", "2:3: unknown key \"http3\"; there are http2, headers"),
        ("rate_limit:\n  interval: 1s\n  Burst: 1", "3:3: unknown key \"Burst\"; there are interval, burst"),
        ("tls_server_config:\n  min_version: TLS11", "2:16: TLS11 is not supported here; use TLS12 or TLS13"),
        (
            "tls_server_config:\n  client_auth_type: yes please",
            "2:21: unknown client_auth_type \"yes please\"; use NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            "tls_server_config:\n  curve_preferences: [X25519, CurveP521]",
            "2:31: \"CurveP521\" is not supported here; there are CurveP256, CurveP384, X25519, X25519MLKEM768",
        ),
        ("tls_server_config:\n  prefer_server_cipher_suites: yes", "2:32: expected true or false"),
        ("http_server_config: {http2: 1}", "1:29: expected true or false"),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: allow",
            "3:5: header X-Frame-Options: \"allow\" is not one of deny, sameorigin",
        ),
        ("rate_limit:\n  interval: soon", "2:13: \"soon\" is not a duration such as 500ms, 1s or 1m30s"),
        ("rate_limit:\n  burst: 1", "2:3: interval is missing"),
        ("rate_limit: {interval: 1s, burst: -1}", "1:35: expected u32"),
        ("tls_server_config:\n  cert: a\n  cert: b", "3:3: \"cert\" is written twice"),
        ("basic_auth_users: [alice]", "1:19: expected mapping start"),
    ] {
        assert_eq!(fault(text), message, "{text}");
    }
}

#[test]
fn headers_that_the_format_does_not_know_are_refused() {
    let message = fault("http_server_config:\n  headers:\n    X-Powered-By: us");
    assert!(message.ends_with("header \"X-Powered-By\" cannot be set; those that can are Content-Security-Policy, Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection"), "{message}");
}

#[test]
fn durations_are_those_of_go() {
    for (text, expected) in
        [("0", 0), ("0s", 0), ("1ns", 1), ("1us", 1_000), ("2ms", 2_000_000), ("1h1m", 3_660_000_000_000)]
    {
        let interval = Interval::try_from(text.to_owned()).map(|interval| interval.0.as_nanos());
        assert_eq!(interval, Ok(expected), "{text}");
    }
    for text in ["", "1", "s", "1 s", "-1s", "1.5s", "1d", "99999999999999999999s", "9999999999999h"] {
        assert!(Interval::try_from(text.to_owned()).is_err(), "{text}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    for text in [
        "basic_auth_users:\n  alice: CANARY",
        "basic_auth_users: CANARY",
        "basic_auth_users:\n  alice: [CANARY]",
        "basic_auth_users:\n  alice: {CANARY: CANARY}",
        "basic_auth_users:\n  - alice: CANARY",
        "tls_server_config: CANARY",
        "tls_server_config:\n  key: [CANARY]",
        "tls_server_config:\n  key: {a: CANARY}",
        "tls_server_config:\n  key: !!int CANARY",
        "tls_server_config:\n  key: \"CANARY",
        "tls_server_config:\n  key: |\n CANARY\n",
        "tls_server_config:\n  key: *CANARY",
        "tls_server_config:\n  prefer_server_cipher_suites: CANARY",
        "tls_server_config:\n  cipher_suites: CANARY",
        "http_server_config: CANARY",
        "http_server_config: {http2: CANARY}",
        "http_server_config: {headers: CANARY}",
        "rate_limit: CANARY",
        "rate_limit: {interval: 1s, burst: CANARY}",
        "CANARY",
        "[CANARY]",
        "CANARY\n---\nCANARY",
        "basic_auth_users:\n\talice: CANARY",
        "basic_auth_users:\n  alice: CANARY: CANARY",
    ] {
        let message = fault(text);
        assert!(!message.contains("CANARY"), "{text:?}: {message}");
    }
}

#[test]
fn what_is_secret_is_not_in_debug() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    let text = format!("tls_server_config: {{key: CANARY}}\nbasic_auth_users: {{alice: {hash}}}");
    let shown = format!("{:?}", parse_web_config(&text).unwrap());
    assert!(!shown.contains("CANARY") && !shown.contains(&hash), "{shown}");
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(100_000);
    let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(",")));
    }
    for text in [deep, laughs] {
        assert!(parse_web_config(&text).is_err());
    }
}
