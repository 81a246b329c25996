//! The web configuration in force, and how it is replaced while the server runs.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::basic_auth::{Gate, Users, Verdict};
use super::throttle::Throttle;
use super::tls::{self, Broken, Material, Source};
use super::{Body, Parse, TextFault, WebConfig, plain};

/// The largest file read: certificate bundles stay below a few hundred KiB.
const MAX_FILE: u64 = 1 << 20;
/// How often files are looked at, at the most.
const EVERY: Duration = Duration::from_secs(5);
/// Two reads so far apart must agree before a change counts: files are written in pieces, and one after another.
const SETTLE: Duration = Duration::from_millis(50);

/// A web configuration that cannot be used.
#[derive(Debug, Error)]
pub enum WebConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The text is not what it should be.
    #[error("{path}:{}:{}: {}", .fault.line, .fault.column, .fault.message)]
    Text {
        /// The file.
        path: String,
        /// Where and why.
        fault: TextFault,
    },
    /// The values do not go together.
    #[error("{path}: {key}: {rule}")]
    Rule {
        /// The file.
        path: String,
        /// The key, from the top.
        key: &'static str,
        /// The rule that it breaks.
        rule: String,
    },
    /// A reload would take away what protects the server.
    #[error("{path}: {what} cannot be switched off while the server runs; restart it")]
    Weaker {
        /// The file.
        path: String,
        /// What the new version lacks.
        what: &'static str,
    },
    /// The files change faster than they can be read.
    #[error("{path}: the files are still being written")]
    Unsettled {
        /// The file.
        path: String,
    },
    /// No random numbers, or a fault of the program while it read the files.
    #[error("{path}: could not be loaded")]
    Internal {
        /// The file.
        path: String,
    },
}

/// What a reload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are the same as before.
    Unchanged,
    /// A new version is in force for new connections and requests.
    Applied,
}

/// TLS, authentication, response headers and rate limit by a web configuration file.
///
/// The file and the certificates it names are looked at when a client comes, every five seconds at the most; a new
/// version that is faulty leaves the old one in force.
#[derive(Debug)]
pub struct WebSecurity {
    path: PathBuf,
    parse: Parse,
    every: Duration,
    active: Mutex<Arc<Active>>,
    check: Arc<tokio::sync::Mutex<Check>>,
    gate: Gate,
}

/// The state of looking at the files.
#[derive(Debug)]
struct Check {
    /// When to look again.
    next: Instant,
    /// The fault that was logged last, until it is gone.
    logged: Option<String>,
}

/// A version in force.
#[derive(Debug)]
pub(super) struct Active {
    /// TLS, if it is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    users: Option<Arc<Users>>,
    throttle: Option<Throttle>,
    headers: HeaderMap,
    digest: [u8; 32],
}

impl WebSecurity {
    /// Reads the file and all that it names.
    ///
    /// # Errors
    /// Whatever makes it unusable.
    pub fn load(path: impl Into<PathBuf>, parse: Parse) -> Result<Self, WebConfigError> {
        let path = path.into();
        let version = Version::read(&path, parse)?;
        let active = Active::build(&path, &version)?;
        if version.config.http_server_config.as_ref().and_then(|http| http.http2) == Some(true) {
            warn!("http_server_config.http2: this server speaks HTTP/1.1 only, and so will its clients");
        }
        Ok(Self {
            path,
            parse,
            every: EVERY,
            active: Mutex::new(Arc::new(active)),
            check: Arc::new(tokio::sync::Mutex::new(Check { next: Instant::now() + EVERY, logged: None })),
            gate: Gate::default(),
        })
    }

    /// Looks at the files so often at the most; a client pays for the look.
    #[must_use]
    pub fn checked_every(mut self, every: Duration) -> Self {
        self.every = every;
        self.check = Arc::new(tokio::sync::Mutex::new(Check { next: Instant::now() + every, logged: None }));
        self
    }

    /// Whether connections speak TLS.
    pub fn has_tls(&self) -> bool {
        self.active().tls.is_some()
    }

    /// Whether requests need a user and a password.
    pub fn has_users(&self) -> bool {
        self.active().users.is_some()
    }

    /// Looks at the files now.
    ///
    /// # Errors
    /// What makes the new version unusable; the old one stays in force. It is logged as well, once.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, WebConfigError> {
        let check = Arc::clone(&self.check).lock_owned().await;
        self.look(check).await
    }

    /// The version in force, after a look at the files if one is due and nobody else is at it.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<Active> {
        if let Ok(check) = Arc::clone(&self.check).try_lock_owned()
            && check.next <= Instant::now()
        {
            _ = self.look(check).await; // logged there
        }
        self.active()
    }

    /// The queue for password checks.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files off the async threads. The guard goes along: a file system that hangs blocks one thread only.
    async fn look(self: &Arc<Self>, mut check: OwnedMutexGuard<Check>) -> Result<Reloaded, WebConfigError> {
        let security = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || {
            let result = security.replace();
            check.next = Instant::now() + security.every;
            check.log(&result);
            result
        });
        look.await.unwrap_or_else(|_| Err(WebConfigError::Internal { path: self.path.display().to_string() }))
    }

    /// Puts a new version in force if there is one and it is good.
    fn replace(&self) -> Result<Reloaded, WebConfigError> {
        let old = self.active();
        let mut version = Version::read(&self.path, self.parse)?;
        if version.digest == old.digest {
            return Ok(Reloaded::Unchanged);
        }
        for _ in 0..4 {
            std::thread::sleep(SETTLE);
            let again = Version::read(&self.path, self.parse)?;
            if again.digest != version.digest {
                version = again;
                continue;
            }
            let new = Active::build(&self.path, &version)?;
            let path = || self.path.display().to_string();
            if old.tls.is_some() && new.tls.is_none() {
                return Err(WebConfigError::Weaker { path: path(), what: "TLS" });
            }
            if old.users.is_some() && new.users.is_none() {
                return Err(WebConfigError::Weaker { path: path(), what: "basic authentication" });
            }
            *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            return Ok(Reloaded::Applied);
        }
        Err(WebConfigError::Unsettled { path: self.path.display().to_string() })
    }
}

impl Check {
    /// Logs changes of state, not every look.
    fn log(&mut self, result: &Result<Reloaded, WebConfigError>) {
        match result {
            Ok(done) => {
                if self.logged.take().is_some() || *done == Reloaded::Applied {
                    info!("web configuration loaded");
                }
            }
            Err(fault) => {
                let fault = fault.to_string();
                if self.logged.as_ref() != Some(&fault) {
                    error!(error = fault, "web configuration not loaded; the old one stays in force");
                    self.logged = Some(fault);
                }
            }
        }
    }
}

impl Active {
    fn build(path: &Path, version: &Version) -> Result<Self, WebConfigError> {
        let refused = |Broken { key, rule }| WebConfigError::Rule { path: path.display().to_string(), key, rule };
        let config = &version.config;
        let tls = match (&config.tls_server_config, &version.pem) {
            (Some(written), Some(pem)) => Some(Arc::new(tls::server_config(written, pem).map_err(refused)?)),
            _ => None,
        };
        let mut secret = [0; 32];
        default_provider()
            .secure_random
            .fill(&mut secret)
            .map_err(|_| WebConfigError::Internal { path: path.display().to_string() })?;
        let users = config.basic_auth_users.as_ref();
        if let Some(name) = users.and_then(|users| users.keys().find(|name| name.contains(':'))) {
            let rule = format!("the user name {name:?} has a colon, which basic authentication cannot send");
            return Err(refused(Broken { key: "basic_auth_users", rule }));
        }
        let headers = config.http_server_config.as_ref().and_then(|http| http.headers.as_ref());
        Ok(Self {
            tls,
            users: users.and_then(|users| Users::new(users, secret)).map(Arc::new),
            throttle: throttle(config).map_err(refused)?,
            headers: headers.map(|headers| headers.map().clone()).unwrap_or_default(),
            digest: version.digest,
        })
    }

    /// Lets a request pass, or makes the response that refuses it.
    pub(super) async fn admit(&self, headers: &HeaderMap, gate: &Gate) -> Result<(), Response<Body>> {
        if self.throttle.as_ref().is_some_and(|throttle| !throttle.admit()) {
            return Err(later(StatusCode::TOO_MANY_REQUESTS, "too many requests"));
        }
        let Some(users) = &self.users else { return Ok(()) };
        match users.judge(headers, gate).await {
            Verdict::Granted => Ok(()),
            Verdict::Busy => Err(later(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to verify")),
            Verdict::Denied => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "unauthorized");
                let challenge = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Err(response)
            }
        }
    }

    /// Sets the headers that the configuration asks for.
    pub(super) fn decorate(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

fn later(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = plain(status, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn throttle(config: &WebConfig) -> Result<Option<Throttle>, Broken> {
    let Some(limit) = config.rate_limit.as_ref().filter(|limit| !limit.interval.0.is_zero()) else { return Ok(None) };
    match limit.burst {
        Some(burst) if burst > 0 => Ok(Some(Throttle::new(limit.interval.0, burst))),
        _ => Err(Broken { key: "rate_limit.burst", rule: "must be 1 or more: no request would pass".to_owned() }),
    }
}

/// What the files say at one moment.
struct Version {
    config: WebConfig,
    pem: Option<Material<Vec<u8>>>,
    /// Of everything read.
    digest: [u8; 32],
}

impl Version {
    fn read(path: &Path, parse: Parse) -> Result<Self, WebConfigError> {
        let name = || path.display().to_string();
        let text = read(path)?;
        let fault = |fault| WebConfigError::Text { path: name(), fault };
        let config = match std::str::from_utf8(&text) {
            Ok(text) => parse(text).map_err(fault)?,
            Err(_) => return Err(fault(TextFault { line: 0, column: 0, message: "not UTF-8".to_owned() })),
        };
        let refused = |Broken { key, rule }| WebConfigError::Rule { path: name(), key, rule };
        let pem = match &config.tls_server_config {
            Some(tls) => {
                let sources = tls::sources(tls).map_err(refused)?;
                Some(Material {
                    cert: read_source(path, sources.cert)?,
                    key: read_source(path, sources.key)?,
                    client_ca: sources.client_ca.map(|source| read_source(path, source)).transpose()?,
                })
            }
            None => None,
        };
        let mut digest = Sha256::new();
        let pems = pem.iter().flat_map(|pem| [Some(&pem.cert), Some(&pem.key), pem.client_ca.as_ref()]);
        for content in std::iter::once(&text).chain(pems.flatten()) {
            digest.update((content.len() as u64).to_be_bytes());
            digest.update(content);
        }
        Ok(Self { config, pem, digest: digest.finalize().into() })
    }
}

fn read_source(config: &Path, source: Source<'_>) -> Result<Vec<u8>, WebConfigError> {
    match source {
        Source::Inline(text) => Ok(text.as_bytes().to_vec()),
        Source::File(file) => read(&config.parent().unwrap_or(Path::new("")).join(file)),
    }
}

/// A whole file, if it is not too large.
fn read(path: &Path) -> Result<Vec<u8>, WebConfigError> {
    let mut content = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    let result = match read {
        Ok(_) if content.len() as u64 > MAX_FILE => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes")))
        }
        result => result,
    };
    match result {
        Ok(_) => Ok(content),
        Err(source) => Err(WebConfigError::Unreadable { path: path.display().to_string(), source }),
    }
}
