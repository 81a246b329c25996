//! Credentials, kept fresh in one place per account.
//!
//! Left to itself the SDK loads credentials inside the call that needs them: failing loads run one after another,
//! each inside some poll's timeout, and `ExpiredToken` from the service triggers no refresh. Here a task of its own
//! loads ahead of expiry, a poll only reads what is there, and [`Keeper::invalidate`] asks for a new load.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_iot::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::clock;
use crate::execution::Timestamp;

/// Credentials are renewed this long before they expire.
const AHEAD: Duration = Duration::from_secs(300);

/// Credentials without an expiry are looked up again after this time: profiles and environment files change.
const WITHOUT_EXPIRY: Duration = Duration::from_secs(900);

/// One load may take this long, retries of its own included.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Pauses after failed loads double from the first to the second; invalidation is no more frequent than the first.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The credentials of one account, shared by everything that signs for it.
#[derive(Clone)]
pub struct Keeper {
    state: watch::Receiver<State>,
    stale: Arc<Notify>,
    _task: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone)]
enum State {
    Loading,
    Ready(Credentials),
    Failed(Arc<str>),
}

impl Keeper {
    /// Starts to keep what `provider` provides. `name` says in the log whose they are.
    pub fn start(name: String, provider: SharedCredentialsProvider) -> Self {
        let (sender, state) = watch::channel(State::Loading);
        let stale = Arc::new(Notify::new());
        let task = tokio::spawn(keep(name, provider, sender, Arc::clone(&stale)));
        Self { state, stale, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Whether there are credentials now that have not expired.
    pub fn is_valid(&self) -> bool {
        match &*self.state.borrow() {
            State::Ready(credentials) => remaining(credentials, clock::now()) != Some(Duration::ZERO),
            State::Loading | State::Failed(_) => false,
        }
    }

    /// When the credentials that are there expire; `None` without credentials or without an expiry.
    pub fn expiration(&self) -> Option<Timestamp> {
        match &*self.state.borrow() {
            State::Ready(credentials) => expiration(credentials),
            State::Loading | State::Failed(_) => None,
        }
    }

    /// The service has called them expired or unknown, whatever their expiry says: load them again.
    pub fn invalidate(&self) {
        self.stale.notify_one();
    }

    /// The credentials, once the first load has ended.
    ///
    /// # Errors
    /// Why there are none, for the log.
    pub async fn current(&self) -> Result<Credentials, Arc<str>> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Loading)).await;
        match settled.as_deref() {
            Ok(State::Ready(credentials)) => Ok(credentials.clone()),
            Ok(State::Failed(why)) => Err(Arc::clone(why)),
            Ok(State::Loading) | Err(_) => Err("the task that keeps the credentials has ended".into()),
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("valid", &self.is_valid()).finish_non_exhaustive()
    }
}

impl ProvideCredentials for Keeper {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::{error::CredentialsError, future};
        future::ProvideCredentials::new(async {
            self.current().await.map_err(|why| CredentialsError::provider_error(why.to_string()))
        })
    }
}

async fn keep(name: String, provider: SharedCredentialsProvider, state: watch::Sender<State>, stale: Arc<Notify>) {
    let mut pause = PAUSES.0;
    loop {
        let loaded = match tokio::time::timeout(LOAD_TIMEOUT, provider.provide_credentials()).await {
            Ok(loaded) => loaded.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no answer within {} s", LOAD_TIMEOUT.as_secs())),
        };
        let next = match loaded {
            Ok(credentials) => {
                tracing::debug!(account = %name, "credentials loaded");
                if !matches!(*state.borrow(), State::Ready(_)) {
                    tracing::info!(account = %name, "credentials are valid");
                }
                pause = PAUSES.0;
                let next = renew_in(remaining(&credentials, clock::now()));
                state.send_replace(State::Ready(credentials));
                next
            }
            Err(why) => {
                fail(&name, &state, why);
                pause = (pause * 2).min(PAUSES.1);
                pause
            }
        };
        tokio::time::sleep(PAUSES.0).await;
        tokio::select! {
            () = tokio::time::sleep(next.saturating_sub(PAUSES.0)) => {}
            () = stale.notified() => {}
        }
    }
}

/// Keeps credentials that are still good; says once that there are none.
fn fail(name: &str, state: &watch::Sender<State>, why: String) {
    let still_good = match &*state.borrow() {
        State::Ready(credentials) => remaining(credentials, clock::now()).is_some_and(|left| !left.is_zero()),
        State::Loading | State::Failed(_) => false,
    };
    if still_good {
        tracing::warn!(account = %name, error = %why, "credentials could not be renewed; the old ones are still good");
        return;
    }
    if !matches!(*state.borrow(), State::Failed(_)) {
        tracing::error!(account = %name, error = %why, "no credentials");
    }
    state.send_replace(State::Failed(why.into()));
}

fn expiration(credentials: &Credentials) -> Option<Timestamp> {
    let since_epoch = credentials.expiry()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).ok().map(Timestamp::from_millis)
}

/// How long they are good for; `None` without an expiry.
fn remaining(credentials: &Credentials, now: Timestamp) -> Option<Duration> {
    let left = expiration(credentials)?.checked_since(now).unwrap_or_default();
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// Ahead of expiry, by the full distance where they live long enough, else at half their life.
fn renew_in(remaining: Option<Duration>) -> Duration {
    match remaining {
        None => WITHOUT_EXPIRY,
        Some(left) => left.saturating_sub(AHEAD).max(left / 2).max(PAUSES.0),
    }
}

/// The messages of an error and its sources. Their `Debug` would hold whole responses.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let message = inner.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Answers by number: an expiry so many seconds from now, or a failure.
    #[derive(Debug)]
    struct Script(AtomicU32, fn(u32) -> Option<i64>);

    impl ProvideCredentials for Script {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            use aws_credential_types::provider::{error::CredentialsError, future};
            let call = self.0.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::ready(match (self.1)(call) {
                Some(seconds) => {
                    let expiry = clock::now().millis() / 1000 + seconds;
                    let expiry = std::time::UNIX_EPOCH + Duration::from_secs(expiry.unsigned_abs());
                    Ok(Credentials::new(format!("AKID{call}"), "secret", None, Some(expiry), "script"))
                }
                None => Err(CredentialsError::provider_error("sts said no")),
            })
        }
    }

    fn keeper(script: fn(u32) -> Option<i64>) -> Keeper {
        Keeper::start("test".into(), SharedCredentialsProvider::new(Script(AtomicU32::new(0), script)))
    }

    async fn key(keeper: &Keeper) -> Result<String, String> {
        keeper.current().await.map(|c| c.access_key_id().to_owned()).map_err(|why| why.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_renewed_ahead_of_expiry_and_when_called_expired() {
        let keeper = keeper(|_| Some(3600));
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID0"));
        tokio::time::sleep(Duration::from_secs(3302)).await;
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID1"));
        keeper.invalidate();
        tokio::time::sleep(PAUSES.0).await;
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID2"));
        assert!(keeper.is_valid());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_load_is_an_answer_and_is_tried_again() {
        let keeper = keeper(|call| (call >= 2).then_some(3600));
        let why = key(&keeper).await.expect_err("no credentials yet");
        assert!(why.contains("sts said no"), "{why}");
        assert!(!keeper.is_valid());
        tokio::time::sleep(Duration::from_secs(13)).await;
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID2"));
    }

    #[tokio::test(start_paused = true)]
    async fn good_credentials_outlive_a_failed_renewal() {
        let keeper = keeper(|call| (call == 0).then_some(3600));
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID0"));
        keeper.invalidate();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(key(&keeper).await.as_deref(), Ok("AKID0"));
    }
}
