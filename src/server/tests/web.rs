//! A server with a web configuration: TLS, client certificates, passwords, and their change while it runs.

use std::path::Path;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A directory with `ca.pem`, `server.pem`, `server.key`, and an authority that signs more.
struct Desk {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Desk {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let desk = Self { directory: tempfile::tempdir().unwrap(), authority };
        desk.write("ca.pem", &desk.authority.pem());
        desk.server_certificate("localhost");
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("web.yml")
    }

    /// A certificate for `name`, and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    fn server_certificate(&self, name: &str) {
        let (certificate, key) = self.issue(name);
        self.write("server.pem", &certificate);
        self.write("server.key", &key);
    }

    /// Loads `text` as the web configuration.
    fn security(&self, text: &str) -> WebSecurity {
        self.write("web.yml", text);
        WebSecurity::load(self.path(), parse_web_config).unwrap()
    }

    /// Why `text` is refused, without the path before it.
    fn refusal(&self, text: &str) -> String {
        self.write("web.yml", text);
        let error = WebSecurity::load(self.path(), parse_web_config).unwrap_err().to_string();
        error.strip_prefix(&self.path().display().to_string()).unwrap_or(&error).to_owned()
    }

    fn client(&self) -> Client {
        Client { authority: self.authority.der().clone(), identity: None, versions: rustls::ALL_VERSIONS.to_vec() }
    }
}

/// A TLS client that trusts the desk.
struct Client {
    authority: CertificateDer<'static>,
    identity: Option<(String, String)>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    async fn connect(&self, server: &Server, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake(server.connect().await, name).await
    }

    async fn shake(&self, stream: TcpStream, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&self.versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match &self.identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let connector = TlsConnector::from(Arc::new(config));
        soon(connector.connect(ServerName::try_from(name).unwrap(), stream)).await
    }

    /// The answer to a GET, or nothing where the server does not want the client. By TLS 1.3 a client learns only
    /// after its handshake that its certificate was refused.
    async fn get(&self, server: &Server) -> String {
        let Ok(mut stream) = self.connect(server, "localhost").await else { return String::new() };
        if stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.is_err() {
            return String::new();
        }
        rest(&mut stream).await
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

#[tokio::test]
async fn tls_is_spoken_and_plain_http_is_not() {
    let desk = Desk::new();
    let server = Server::start(Limits::default(), Some(desk.security(TLS))).await;
    for version in rustls::ALL_VERSIONS {
        let answer = Client { versions: vec![version], ..desk.client() }.get(&server).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("word\n"), "{answer}");
    }
    let mut plain = server.connect().await;
    plain.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn certificate_and_key_may_stand_in_the_file() {
    let desk = Desk::new();
    let (certificate, key) = desk.issue("localhost");
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", indented(&certificate), indented(&key));
    let server = Server::start(Limits::default(), Some(desk.security(&text))).await;
    assert!(desk.client().get(&server).await.ends_with("word\n"));
}

#[tokio::test]
async fn old_versions_are_refused_where_the_file_says_so() {
    let desk = Desk::new();
    let server = Server::start(Limits::default(), Some(desk.security(&format!("{TLS}  min_version: TLS13\n")))).await;
    let old = Client { versions: vec![&rustls::version::TLS12], ..desk.client() };
    assert!(old.connect(&server, "localhost").await.is_err());
    assert!(desk.client().get(&server).await.ends_with("word\n"));

    let server = Server::start(Limits::default(), Some(desk.security(&format!("{TLS}  max_version: TLS12\n")))).await;
    let stream = desk.client().connect(&server, "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn suites_and_curves_are_those_of_the_file() {
    let desk = Desk::new();
    let chosen = "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n  \
                  curve_preferences: [CurveP384]\n";
    let server = Server::start(Limits::default(), Some(desk.security(&format!("{TLS}{chosen}")))).await;
    let stream = desk.client().connect(&server, "localhost").await.unwrap();
    let session = stream.get_ref().1;
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn clients_show_the_certificates_that_the_file_asks_for() {
    let (desk, stranger) = (Desk::new(), Desk::new());
    let known = Client { identity: Some(desk.issue("prometheus.example.org")), ..desk.client() };
    let other = Client { identity: Some(desk.issue("other.example.org")), ..desk.client() };
    let forged = Client { identity: Some(stranger.issue("prometheus.example.org")), ..desk.client() };
    let nobody = desk.client();
    let ca = "  client_ca_file: ca.pem\n";
    let sans = format!("{ca}  client_allowed_sans: [prometheus.example.org]\n");
    // Who is let in: known, other, forged, nobody.
    for (auth, more, expected) in [
        ("NoClientCert", "", [true, true, true, true]),
        ("RequestClientCert", "", [true, true, true, true]),
        ("RequireAnyClientCert", "", [true, true, true, false]),
        ("VerifyClientCertIfGiven", ca, [true, true, false, true]),
        ("RequireAndVerifyClientCert", ca, [true, true, false, false]),
        ("RequireAndVerifyClientCert", &sans, [true, false, false, false]),
    ] {
        for version in ["TLS12", "TLS13"] {
            let text = format!("{TLS}  max_version: {version}\n  client_auth_type: {auth}\n{more}");
            let server = Server::start(Limits::default(), Some(desk.security(&text))).await;
            let mut let_in = Vec::new();
            for client in [&known, &other, &forged, &nobody] {
                let_in.push(client.get(&server).await.ends_with("word\n"));
            }
            assert_eq!(let_in, expected, "{auth} {more} {version}");
        }
    }
}

#[tokio::test]
async fn idle_handshakes_are_closed() {
    let desk = Desk::new();
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(limits, Some(desk.security(TLS))).await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(server.connect().await);
    }
    assert!(desk.client().get(&server).await.ends_with("word\n"));
    for mut stream in idle {
        assert_eq!(rest(&mut stream).await, "");
    }
}

#[tokio::test]
async fn a_slow_handshake_leaves_time_for_the_headers() {
    let desk = Desk::new();
    let header = Duration::from_millis(300);
    let server =
        Server::start(Limits { header, handshake: BOUND, ..Limits::default() }, Some(desk.security(TLS))).await;
    let stream = server.connect().await;
    tokio::time::sleep(2 * header).await; // the slowness itself
    let mut stream = desk.client().shake(stream, "localhost").await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    until(&mut stream, "word\n").await;
}

#[tokio::test]
async fn a_connection_without_request_does_not_delay_the_end() {
    let desk = Desk::new();
    let limits = Limits { header: 2 * BOUND, handshake: 2 * BOUND, drain: 2 * BOUND, ..Limits::default() };
    let server = Server::start(limits, Some(desk.security(TLS))).await;
    let _shaking = server.connect().await;
    let _shaken = desk.client().connect(&server, "localhost").await.unwrap();
    // Later than both, so they are the server's by now.
    assert!(desk.client().get(&server).await.ends_with("word\n"));
    server.stop.cancel();
    assert_eq!(server.stopped().await.unwrap(), Drained { aborted: 0 });
}

fn users(list: &[(&str, &str)]) -> String {
    let mut text = "basic_auth_users:\n".to_owned();
    for (name, password) in list {
        text.push_str(&format!("  {name}: {}\n", bcrypt::hash(password, 4).unwrap()));
    }
    text
}

async fn login(server: &Server, name: &str, password: &str) -> String {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    server.exchange(&format!("{head}Authorization: Basic {credentials}\r\n\r\n")).await
}

#[tokio::test]
async fn only_users_with_their_passwords_get_in() {
    let desk = Desk::new();
    let security = desk.security(&users(&[("alice", "secret a"), ("bob", "secret b")]));
    let server = Server::start(Limits::default(), Some(security)).await;
    for _ in 0..2 {
        assert!(login(&server, "alice", "secret a").await.starts_with("HTTP/1.1 200 "));
        for (name, password) in [("alice", "secret b"), ("alice", ""), ("carol", "secret a"), ("", "")] {
            let answer = login(&server, name, password).await;
            assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("word"), "{name} {answer}");
            assert!(answer.contains("www-authenticate: Basic realm="), "{answer}");
        }
    }
    for path in ["/", "/nowhere"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 401 "), "what exists is not shown either");
    }
}

#[tokio::test]
async fn headers_and_rate_limit_hold_for_every_answer() {
    let desk = Desk::new();
    let text = "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
                Strict-Transport-Security: max-age=60\nrate_limit: {interval: 1h, burst: 2}\n";
    let server = Server::start(Limits::default(), Some(desk.security(text))).await;
    for (path, status) in [("/", "200"), ("/nowhere", "404"), ("/", "429")] {
        let answer = server.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("x-frame-options: deny\r\n"), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=60\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn new_certificates_are_taken_up_without_being_asked() {
    let desk = Desk::new();
    let security = desk.security(TLS).checked_every(Duration::ZERO);
    let server = Server::start(Limits::default(), Some(security)).await;
    let client = desk.client();
    let mut kept = client.connect(&server, "localhost").await.unwrap();
    desk.server_certificate("renewed.example.org");
    client.connect(&server, "renewed.example.org").await.unwrap();
    assert!(client.connect(&server, "localhost").await.is_err());
    // A key that does not belong to the certificate: the pair before stays.
    desk.write("server.key", &desk.issue("x").1);
    client.connect(&server, "renewed.example.org").await.unwrap();
    std::fs::remove_file(desk.directory.path().join("server.pem")).unwrap();
    client.connect(&server, "renewed.example.org").await.unwrap();
    desk.server_certificate("localhost");
    client.connect(&server, "localhost").await.unwrap();
    kept.write_all(GET.as_bytes()).await.unwrap();
    until(&mut kept, "word\n").await;
}

#[tokio::test]
async fn a_reload_says_what_it_did_and_never_takes_protection_away() {
    let desk = Desk::new();
    let first = format!("{TLS}{}", users(&[("alice", "a")]));
    let security = Arc::new(desk.security(&first));
    assert!(security.has_tls() && security.has_users());
    assert_eq!(security.reload().await.unwrap(), Reloaded::Unchanged);
    desk.write("web.yml", &format!("{TLS}{}", users(&[("bob", "b")])));
    assert_eq!(security.reload().await.unwrap(), Reloaded::Applied);
    for (text, error) in [
        ("", "TLS cannot be switched off while the server runs; restart it"),
        (TLS, "basic authentication cannot be switched off while the server runs; restart it"),
        ("tls_server_config: {}", "tls_server_config: needs cert_file or cert, and key_file or key"),
    ] {
        desk.write("web.yml", text);
        let refused = security.reload().await.unwrap_err().to_string();
        assert!(refused.ends_with(&format!("web.yml: {error}")), "{refused}");
        assert!(security.has_tls() && security.has_users());
    }
    desk.write("web.yml", &first);
    assert_eq!(security.reload().await.unwrap(), Reloaded::Applied);
}

#[tokio::test]
async fn users_change_with_the_file() {
    let desk = Desk::new();
    let security = desk.security(&users(&[("alice", "old")])).checked_every(Duration::ZERO);
    let server = Server::start(Limits::default(), Some(security)).await;
    assert!(login(&server, "alice", "old").await.starts_with("HTTP/1.1 200 "));
    desk.write("web.yml", &users(&[("alice", "new")]));
    assert!(login(&server, "alice", "old").await.starts_with("HTTP/1.1 401 "), "no memory of the old password");
    assert!(login(&server, "alice", "new").await.starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_does_not_go_together_is_refused_by_key() {
    let desk = Desk::new();
    desk.write("nothing.pem", "no PEM here\n");
    desk.write("other.key", &desk.issue("x").1);
    let with = |more: &str| format!("{TLS}  {more}\n");
    let file = |cert: &str, key: &str| format!("tls_server_config: {{cert_file: {cert}, key_file: {key}}}");
    for (text, message) in [
        (file("server.pem", "''"), ": tls_server_config: needs cert_file or cert, and key_file or key"),
        (
            "tls_server_config: {min_version: TLS13}".into(),
            ": tls_server_config: needs cert_file or cert, and key_file or key",
        ),
        (with("cert: x"), ": tls_server_config.cert: cert and cert_file exclude each other"),
        (with("key: x"), ": tls_server_config.key: key and key_file exclude each other"),
        (
            with("client_ca: x\n  client_ca_file: ca.pem"),
            ": tls_server_config.client_ca: client_ca and client_ca_file exclude each other",
        ),
        (file("nothing.pem", "server.key"), ": tls_server_config.cert: no certificate in PEM found"),
        (file("server.pem", "nothing.pem"), ": tls_server_config.key: no private key in PEM found"),
        (
            file("server.pem", "other.key"),
            ": tls_server_config.cert: certificate and key cannot be used: keys may not be consistent: KeyMismatch",
        ),
        (
            with("client_auth_type: RequireAndVerifyClientCert"),
            ": tls_server_config.client_auth_type: verifying client certificates needs client_ca_file or client_ca",
        ),
        (
            with("client_ca_file: ca.pem"),
            ": tls_server_config.client_ca: is used only with client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven",
        ),
        (
            with("client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: nothing.pem"),
            ": tls_server_config.client_ca: no certificate in PEM found",
        ),
        (
            with("client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a]"),
            ": tls_server_config.client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert: anybody can write any name into a certificate that nobody verifies",
        ),
        (
            with("client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: []"),
            ": tls_server_config.client_allowed_sans: is empty: no client would be let in",
        ),
        (
            with(
                "client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [a@b.org]",
            ),
            ": tls_server_config.client_allowed_sans: \"a@b.org\": e-mail addresses are not supported here; use DNS names, IP addresses, URIs",
        ),
        (with("min_version: TLS13\n  max_version: TLS12"), ": tls_server_config.min_version: is above max_version"),
        (
            with("cipher_suites: [TLS_AES_128_GCM_SHA256]"),
            ": tls_server_config.cipher_suites: names no suite of TLS 1.2; name one, or set min_version to TLS13",
        ),
        ("rate_limit: {interval: 1s}".into(), ": rate_limit.burst: must be 1 or more: no request would pass"),
        (
            format!("basic_auth_users: {{'a:b': '{}'}}", bcrypt::hash("x", 4).unwrap()),
            ": basic_auth_users: the user name \"a:b\" has a colon, which basic authentication cannot send",
        ),
    ] {
        assert_eq!(desk.refusal(&text), message, "{text}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let desk = Desk::new();
    let missing = desk.refusal("tls_server_config: {cert_file: none.pem, key_file: server.key}");
    assert!(missing.ends_with("none.pem: No such file or directory (os error 2)"), "{missing}");
    desk.write("large.pem", &"x".repeat((1 << 20) + 1));
    let large = desk.refusal("tls_server_config: {cert_file: large.pem, key_file: server.key}");
    assert!(large.ends_with("large.pem: larger than 1048576 bytes"), "{large}");
    let nowhere = WebSecurity::load(Path::new("/nowhere/web.yml"), parse_web_config).unwrap_err();
    assert_eq!(nowhere.to_string(), "/nowhere/web.yml: No such file or directory (os error 2)");
}

#[test]
fn faults_of_the_text_have_their_place() {
    let desk = Desk::new();
    assert_eq!(
        desk.refusal(&format!("{TLS}  min_version: TLS10\n")),
        ":4:16: TLS10 is not supported here; use TLS12 or TLS13"
    );
}
