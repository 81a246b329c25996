//! The AWS IoT control plane through the SDK: the only room that names it, [`crate::credentials`] apart.
//!
//! One client per account and Region, one request per call: the SDK's retries are off, since they spend quota that
//! no rate limit sees; the next poll is the retry.

mod answer;
mod endpoint;
mod failure;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_iot::Client;
use aws_sdk_iot::config::retry::RetryConfig;
use aws_sdk_iot::config::timeout::TimeoutConfig;
use aws_sdk_iot::config::{
    Credentials, IdentityCache, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_iot::types::{SortOrder, TimeFilter};
use tokio::time::{Instant, timeout_at};

use crate::config::Account;
use crate::credentials::Keeper;
use crate::execution::{CommandArn, ExecutionKey, Failure, FailureReason, Scope, Snapshot, Timestamp};
use crate::source::{ListBy, Page, Since, Source, Summary};

pub use endpoint::EndpointError;

/// How many items a page of a listing holds: the most that the API gives.
const PAGE: i32 = 100;

/// Where and as whom the control plane is asked, beyond what the SDK takes from its environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In place of the SDK's own choice: the simulator.
    pub endpoint_url: Option<String>,
    /// Made-up credentials, for the simulator.
    pub anonymous: bool,
    /// Accept an `AWS_ENDPOINT_URL` over plain HTTP that is not a loopback address.
    pub allow_insecure_endpoint: bool,
    /// One API call, all included.
    pub timeout: Duration,
}

/// The control plane of every account and Region.
#[derive(Debug)]
pub struct Iot {
    base: SdkConfig,
    ambient: Keeper,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    timeout: Duration,
    accounts: HashMap<String, (Account, Keeper)>,
    clients: HashMap<Scope, (Client, Keeper)>,
}

impl Iot {
    /// Reads the SDK's environment. `region` serves where that names none (STS needs one).
    ///
    /// # Errors
    /// An endpoint over plain HTTP that is not a loopback address.
    pub async fn connect(settings: &Settings, region: Option<&str>) -> Result<Self, EndpointError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = region.filter(|_| std::env::var_os("AWS_REGION").is_none()) {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if settings.anonymous {
            loader = loader.credentials_provider(Credentials::new("SIMULATED", "simulated", None, None, "simulator"));
        }
        let base = loader.load().await;
        endpoint::check(&base, settings.allow_insecure_endpoint)?;
        let provider =
            base.credentials_provider().expect("the loader sets a provider unless it is told to use no credentials");
        let ambient = Keeper::start("ambient".into(), provider);
        let state = State { timeout: settings.timeout, accounts: HashMap::new(), clients: HashMap::new() };
        Ok(Self { base, ambient, state: Mutex::new(state) })
    }

    /// Takes over `poll.timeout` and `accounts` of a configuration. Clients are made anew where they are concerned.
    pub async fn configure<'a>(
        &self,
        timeout: Duration,
        accounts: impl IntoIterator<Item = (&'a String, &'a Account)>,
    ) {
        let mut kept = HashMap::new();
        for (id, account) in accounts {
            let same =
                self.lock().accounts.get(id).filter(|(known, _)| known == account).map(|(_, keeper)| keeper.clone());
            let keeper = match same {
                Some(keeper) => keeper,
                None => self.assume(id, account).await,
            };
            kept.insert(id.clone(), (account.clone(), keeper));
        }
        let mut state = self.lock();
        state.timeout = timeout;
        state.accounts = kept;
        state.clients.clear();
    }

    /// Whether there are valid credentials for this account.
    pub fn credentials_valid(&self, account_id: &str) -> bool {
        self.keeper(&self.lock(), account_id).is_valid()
    }

    /// When the credentials for this account expire, where that is known.
    pub fn credentials_expiration(&self, account_id: &str) -> Option<Timestamp> {
        self.keeper(&self.lock(), account_id).expiration()
    }

    async fn assume(&self, id: &str, account: &Account) -> Keeper {
        let mut role = aws_config::sts::AssumeRoleProvider::builder(&account.role_arn)
            .configure(&self.base)
            .region(self.sts_region(&account.role_arn))
            .session_name(&account.session_name);
        if let Some(external_id) = &account.external_id {
            role = role.external_id(external_id);
        }
        let provider = role.build_from_provider(self.ambient.clone()).await;
        Keeper::start(id.to_owned(), SharedCredentialsProvider::new(provider))
    }

    /// STS is asked in the environment's Region, or, for a role of another partition, in one of that.
    fn sts_region(&self, role_arn: &str) -> Region {
        let own = self.base.region().map_or("us-east-1", |region| region.as_ref());
        let (prefix, first) = match role_arn.split(':').nth(1) {
            Some("aws-cn") => ("cn-", "cn-north-1"),
            Some("aws-us-gov") => ("us-gov-", "us-gov-west-1"),
            _ => ("", own),
        };
        Region::new(if own.starts_with(prefix) { own.to_owned() } else { first.to_owned() })
    }

    fn keeper(&self, state: &State, account_id: &str) -> Keeper {
        state.accounts.get(account_id).map_or_else(|| self.ambient.clone(), |(_, keeper)| keeper.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of an account and Region with its credentials, and how long a call may take.
    fn client(&self, scope: &Scope) -> (Client, Keeper, Duration) {
        let mut state = self.lock();
        if let Some((client, keeper)) = state.clients.get(scope) {
            return (client.clone(), keeper.clone(), state.timeout);
        }
        let keeper = self.keeper(&state, &scope.account_id);
        // Only what `ask` does not bound: a connection that is under way for a call which has found another. Each of the
        // SDK's timeouts is a boxed timer in every call.
        let timeouts = TimeoutConfig::builder().connect_timeout(state.timeout).build();
        let config = aws_sdk_iot::config::Builder::from(&self.base)
            .region(Region::new(scope.region.to_string()))
            .credentials_provider(keeper.clone())
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .interceptor(answer::CapBody)
            .build();
        let client = Client::from_conf(config);
        state.clients.insert(scope.clone(), (client.clone(), keeper.clone()));
        (client, keeper, state.timeout)
    }

    /// Runs one call with the credentials that are there now, and has them renewed where the service refuses them.
    /// One timeout covers both waiting for a first load of them and the call.
    async fn ask<T, E, Fut>(&self, scope: &Scope, call: impl FnOnce(Client) -> Fut) -> Result<T, Failure>
    where
        Fut: Future<Output = Result<T, aws_sdk_iot::error::SdkError<E>>>,
        E: aws_sdk_iot::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (client, keeper, timeout) = self.client(scope);
        let deadline = Instant::now() + timeout;
        match timeout_at(deadline, keeper.current()).await {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Err(Failure::new(FailureReason::Credentials, why.to_string())),
            Err(_) => return Err(Failure::new(FailureReason::Credentials, "still loading")),
        }
        // On the heap, since the SDK's future has several kilobytes, which every layer around it would copy.
        let failure = match timeout_at(deadline, Box::pin(call(client))).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(error)) => failure::classify(&error),
            Err(_) => Failure::new(FailureReason::Timeout, "no whole answer in time"),
        };
        if failure.reason == FailureReason::Credentials {
            keeper.invalidate();
        }
        Err(failure)
    }
}

impl Source for Iot {
    async fn get_execution(&self, key: &ExecutionKey) -> Result<Snapshot, Failure> {
        let output = self
            .ask(&key.target.scope(), |client| async move {
                let call = client.get_command_execution();
                call.execution_id(key.id.as_str()).target_arn(key.target.as_str()).send().await
            })
            .await?;
        answer::snapshot(output)
    }

    async fn list_executions(
        &self,
        by: &ListBy,
        since: Since,
        next_token: Option<&str>,
    ) -> Result<Page<Summary>, Failure> {
        let output = self
            .ask(&by.scope(), |client| async move {
                let after = |time| TimeFilter::builder().after(answer::minute(time)).build();
                let call = client.list_command_executions().max_results(PAGE).sort_order(SortOrder::Ascending);
                let call = match since {
                    Since::Started(time) => call.started_time_filter(after(time)),
                    Since::Completed(time) => call.completed_time_filter(after(time)),
                };
                let call = match by {
                    ListBy::Command(arn) => call.command_arn(arn.as_str()),
                    ListBy::Target(arn) => call.target_arn(arn.as_str()),
                };
                call.set_next_token(next_token.map(str::to_owned)).send().await
            })
            .await?;
        Ok(answer::summaries(output))
    }

    async fn list_commands(&self, scope: &Scope, next_token: Option<&str>) -> Result<Page<CommandArn>, Failure> {
        let output = self
            .ask(scope, |client| async move {
                client.list_commands().max_results(PAGE).set_next_token(next_token.map(str::to_owned)).send().await
            })
            .await?;
        Ok(answer::commands(output))
    }
}
