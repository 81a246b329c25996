//! Which paths there are and what they answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bind::Listeners;
use super::reload;
use super::{AppError, Shared};
use crate::clock;
use crate::exposition;
use crate::page::{self, Budget};
use crate::poller::Progress;
use crate::server::{self, Body, Limits, Methods, Options, Routes, WebSecurity, plain};
use crate::telemetry::{ScrapeCode, Telemetry};

type BoxFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Scrapes at the same time; one more is told to come back later.
const SCRAPES: usize = 8;

/// The scheduler looks for work at least once a second; without a sign of it for so long, it hangs.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(30);

/// Ready after this time even if the first pass is not done: readiness must not depend on AWS.
const READY_AFTER: Duration = Duration::from_secs(60);

/// Which paths there are, and how they are served.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) telemetry: String,
    pub(super) lifecycle: bool,
    /// Whether a client that accepts gzip gets it.
    pub(super) compress: bool,
}

#[derive(Clone, Copy)]
enum Path {
    Landing,
    Metrics,
    Healthy,
    Ready,
    Reload,
}

struct Site {
    paths: Paths,
    shared: Shared,
    reloads: mpsc::Sender<reload::Request>,
    scrapes: Arc<Semaphore>,
    started: Instant,
    ready: AtomicBool,
}

/// Serves until `stop`: everything on the main listeners, and the paths under `/-/` in plain HTTP on those for
/// health, since probes cannot present certificates.
pub(super) async fn serve(
    listeners: Listeners,
    paths: Paths,
    shared: Shared,
    reloads: mpsc::Sender<reload::Request>,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let scrapes = Arc::new(Semaphore::new(SCRAPES));
    let health = management_routes(&paths);
    let main = management_routes(&paths).with("/", Methods::Read, Path::Landing).with(
        &paths.telemetry,
        Methods::Read,
        Path::Metrics,
    );
    let site = Site { paths, shared, reloads, scrapes, started: Instant::now(), ready: AtomicBool::new(false) };
    let site = Arc::new(site);
    let Listeners { main: main_listeners, health: health_listeners, security } = listeners;
    let main = server::serve(main_listeners, handler(&site, main), options(security), stop.clone());
    if health_listeners.is_empty() {
        main.await?;
    } else {
        let health = server::serve(health_listeners, handler(&site, health), options(None), stop);
        tokio::try_join!(main, health)?;
    }
    Ok(())
}

fn options(security: Option<Arc<WebSecurity>>) -> Options {
    Options { limits: Limits::default(), security }
}

fn management_routes(paths: &Paths) -> Routes<Path> {
    let routes =
        Routes::new().with("/-/healthy", Methods::Read, Path::Healthy).with("/-/ready", Methods::Read, Path::Ready);
    if paths.lifecycle { routes.with("/-/reload", Methods::Post, Path::Reload) } else { routes }
}

fn handler(
    site: &Arc<Site>,
    routes: Routes<Path>,
) -> impl Fn(Request<Bytes>) -> BoxFuture + Send + Sync + 'static + use<> {
    let site = Arc::clone(site);
    move |request| {
        let found = routes.find(request.method(), request.uri().path()).copied();
        let site = Arc::clone(&site);
        Box::pin(async move {
            match found {
                Ok(path) => site.answer(path, &request).await,
                Err(refusal) => refusal,
            }
        })
    }
}

impl Site {
    async fn answer(&self, path: Path, request: &Request<Bytes>) -> Response<Body> {
        match path {
            Path::Landing => server::html(self.landing_page(), page::POLICY),
            Path::Metrics => self.metrics(request.headers()),
            Path::Healthy => self.healthy(),
            Path::Ready => self.ready(),
            Path::Reload => self.reload().await,
        }
    }

    fn landing_page(&self) -> String {
        let Shared { store, config, progress, .. } = &self.shared;
        let hash = config.borrow().hash.clone();
        page::render(&page::Facts {
            telemetry_path: &self.paths.telemetry,
            config_hash: &hash,
            view: store.view(),
            budgets: budgets(progress),
            now: clock::now(),
        })
    }

    fn healthy(&self) -> Response<Body> {
        let age = self.shared.progress.heartbeat_age();
        if age < HEARTBEAT_LIMIT {
            plain(StatusCode::OK, "healthy")
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, format!("the scheduler has not been seen for {} s", age.as_secs()))
        }
    }

    fn ready(&self) -> Response<Body> {
        let done = || self.shared.progress.first_pass_done() || self.started.elapsed() >= READY_AFTER;
        if self.ready.load(Ordering::Relaxed) || done() {
            self.ready.store(true, Ordering::Relaxed);
            plain(StatusCode::OK, "ready")
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, "the first pass over all executions is not done")
        }
    }

    async fn reload(&self) -> Response<Body> {
        let (sender, answer) = oneshot::channel();
        if self.reloads.send(sender).await.is_err() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping");
        }
        match answer.await {
            Ok(Ok(())) => plain(StatusCode::OK, "reloaded"),
            Ok(Err(why)) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload the configuration: {why}"))
            }
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping"),
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let start = Instant::now();
        let telemetry = &self.shared.telemetry;
        let Ok(permit) = Arc::clone(&self.scrapes).try_acquire_owned() else {
            telemetry.scraped(ScrapeCode::ServiceUnavailable, start.elapsed());
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at the same time");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        let format = exposition::format(text(headers, ACCEPT).as_deref());
        let gzip = self.paths.compress && exposition::accepts_gzip(text(headers, ACCEPT_ENCODING).as_deref());
        let chunks = self.shared.scrape(format);
        let finished = Finished { telemetry: Arc::clone(telemetry), start, _permit: permit };
        let body = if gzip {
            Body::chunks(Watched { chunks: exposition::Gzip::new(chunks), finished: Some(finished) })
        } else {
            Body::chunks(Watched { chunks, finished: Some(finished) })
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn budgets(progress: &Progress) -> Vec<Budget> {
    let mut rates = progress.rates();
    rates.sort_by(|(one, _), (other, _)| one.cmp(other));
    let budgets = rates.into_iter().flat_map(|(scope, rates)| {
        rates.map(|rate| Budget {
            scope: scope.clone(),
            operation: rate.operation.label(),
            configured: rate.configured,
            current: rate.current,
        })
    });
    budgets.collect()
}

/// All values of a header, as one list.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Chunks of a scrape, and what is to be done after the last.
struct Watched<I> {
    chunks: I,
    finished: Option<Finished>,
}

struct Finished {
    telemetry: Arc<Telemetry>,
    start: Instant,
    _permit: OwnedSemaphorePermit,
}

impl<I: Iterator<Item = Bytes>> Iterator for Watched<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.next();
        if chunk.is_none()
            && let Some(finished) = self.finished.take()
        {
            finished.telemetry.scraped(ScrapeCode::Ok, finished.start.elapsed());
        }
        chunk
    }
}
