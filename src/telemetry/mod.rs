//! The exporter's own metrics: what it asks of AWS, how far behind it is, what its configuration did. The only room
//! that names the `prometheus` crate; everybody else calls methods whose labels come from closed enums, from the
//! configuration or from ARNs.

mod encode;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::execution::{FailureReason, Scope, Timestamp};
use crate::text::Format;

/// What stands before the names of the exporter's own families, but for `process_*`.
pub const PREFIX: &str = "aws_iot_command_exporter_";

/// An operation of the AWS IoT API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the service's own names")]
pub enum Operation {
    GetCommandExecution,
    ListCommandExecutions,
    ListCommands,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::GetCommandExecution, Self::ListCommandExecutions, Self::ListCommands];

    /// The value of the label `operation`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::GetCommandExecution => "GetCommandExecution",
            Self::ListCommandExecutions => "ListCommandExecutions",
            Self::ListCommands => "ListCommands",
        }
    }
}

/// Which rate of calls is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateKind {
    /// The ceiling out of the configuration.
    Configured,
    /// What throttling has left of it.
    Current,
}

impl RateKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Configured, Self::Current];

    /// The value of the label `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Current => "current",
        }
    }
}

/// Why an execution that should be tracked is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// `limits.executions` is reached.
    Limit,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 1] = [Self::Limit];

    /// The value of the label `cause`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
        }
    }
}

/// How a scrape was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeCode {
    /// With the metrics.
    Ok,
    /// Not, because too many were under way.
    ServiceUnavailable,
}

impl ScrapeCode {
    /// Every code.
    pub const ALL: [Self; 2] = [Self::Ok, Self::ServiceUnavailable];

    /// The value of the label `code`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "200",
            Self::ServiceUnavailable => "503",
        }
    }
}

/// What the program was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub revision: &'static str,
    /// The compiler's version, or `unknown`.
    pub rustc: &'static str,
}

impl Build {
    /// Of this very program.
    pub const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        revision: or_unknown(option_env!("BUILD_REVISION")),
        rustc: or_unknown(option_env!("BUILD_RUSTC")),
    };
}

const fn or_unknown(told: Option<&'static str>) -> &'static str {
    match told {
        Some(told) => told,
        None => "unknown",
    }
}

/// How many executions are tracked, by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// No poll has succeeded yet.
    pub unpolled: u64,
    /// They can still change.
    pub open: u64,
    /// Nothing can change them any more.
    pub terminal: u64,
    /// The service does not know them.
    pub not_found: u64,
}

/// The exporter's own metrics, on a registry of their own.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    config_last_reload_successful: IntGauge,
    config_last_reload_success: Gauge,
    config_hash: IntGaugeVec,
    execution_files: IntGaugeVec,
    api_requests: IntCounterVec,
    api_request_duration: HistogramVec,
    api_rate_limit: GaugeVec,
    tracked_executions: IntGaugeVec,
    poll_lag: Histogram,
    oldest_open_observation: GaugeVec,
    scheduler_heartbeat: Gauge,
    executions_dropped: IntCounterVec,
    scrapes: IntCounterVec,
    scrape_duration: Histogram,
    credentials_valid: IntGaugeVec,
    credentials_expiration: GaugeVec,
}

impl Telemetry {
    /// All families, with the values that they can have at the start.
    pub fn new(build: Build) -> Self {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self())).expect(CONSTANT);
        let info = int_gauges(&registry, "build_info", "What the exporter was built from.", &BUILD);
        info.with_label_values(&[build.version, build.revision, build.rustc]).set(1);
        let telemetry = Self::on(registry);
        for cause in DropCause::ALL {
            telemetry.executions_dropped.with_label_values(&[cause.label()]);
        }
        for code in ScrapeCode::ALL {
            telemetry.scrapes.with_label_values(&[code.label()]);
        }
        for operation in Operation::ALL {
            telemetry.api_request_duration.with_label_values(&[operation.label()]);
        }
        telemetry.set_tracked(Tracked::default());
        telemetry
    }

    fn on(registry: Registry) -> Self {
        let r = &registry;
        Self {
            config_last_reload_successful: add(
                r,
                IntGauge::with_opts(options(
                    "config_last_reload_successful",
                    "Whether the last attempt to load the configuration succeeded.",
                ))
                .expect(CONSTANT),
            ),
            config_last_reload_success: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded, in seconds since the Unix epoch.",
            ),
            config_hash: int_gauges(
                r,
                "config_hash_info",
                "SHA-256 of the configuration in force; the value is always 1.",
                &["hash"],
            ),
            execution_files: int_gauges(
                r,
                "execution_files",
                "How many files execution_files matches, by whether their last content could be loaded; a failed one keeps its last good content.",
                &["state"],
            ),
            api_requests: counters(
                r,
                "api_requests_total",
                "Calls of the AWS IoT API, by outcome: success, or why they failed.",
                &["account_id", "region", "operation", "outcome"],
            ),
            api_request_duration: histograms(
                r,
                "api_request_duration_seconds",
                "Seconds that a call of the AWS IoT API took, successful or not.",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
                &["operation"],
            ),
            api_rate_limit: gauges(
                r,
                "api_rate_limit_requests_per_second",
                "Calls of the AWS IoT API that the exporter allows itself a second: as configured, and as throttling has left it.",
                &["account_id", "region", "operation", "kind"],
            ),
            tracked_executions: int_gauges(
                r,
                "tracked_executions",
                "How many executions are tracked, by what is known of them.",
                &["state"],
            ),
            poll_lag: histogram(
                r,
                "poll_lag_seconds",
                "Seconds by which polls start later than they were due.",
                &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0],
            ),
            oldest_open_observation: gauges(
                r,
                "oldest_open_observation_timestamp_seconds",
                "When the open execution that has waited longest was last polled successfully, in seconds since the Unix epoch; service time-outs are left out.",
                &["account_id", "region"],
            ),
            scheduler_heartbeat: gauge(
                r,
                "scheduler_heartbeat_timestamp_seconds",
                "When the scheduler last looked for polls that are due, in seconds since the Unix epoch.",
            ),
            executions_dropped: counters(
                r,
                "executions_dropped_total",
                "Executions that are not tracked although they should be, by cause.",
                &["cause"],
            ),
            scrapes: counters(r, "scrapes_total", "Scrapes answered, by HTTP status code.", &["code"]),
            scrape_duration: histogram(
                r,
                "scrape_duration_seconds",
                "Seconds from a request for metrics to the last byte of the answer.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            ),
            credentials_valid: int_gauges(
                r,
                "credentials_valid",
                "Whether there are credentials for the account that have not expired.",
                &["account_id"],
            ),
            credentials_expiration: gauges(
                r,
                "credentials_expiration_timestamp_seconds",
                "When the credentials for the account expire, in seconds since the Unix epoch; absent where they do not. They are renewed five minutes ahead.",
                &["account_id"],
            ),
            registry,
        }
    }

    /// A configuration with this hash came into force.
    pub fn config_loaded(&self, hash: &str, now: Timestamp) {
        self.config_last_reload_successful.set(1);
        self.config_last_reload_success.set(seconds(now));
        self.config_hash.reset();
        self.config_hash.with_label_values(&[hash]).set(1);
    }

    /// So many execution files are in force as they are, and so many are bad.
    pub fn set_execution_files(&self, loaded: usize, bad: usize) {
        for (state, count) in [("loaded", loaded), ("failed", bad)] {
            self.execution_files.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A configuration was refused; the one before stays in force.
    pub fn config_rejected(&self) {
        self.config_last_reload_successful.set(0);
    }

    /// A call ended so after so long.
    pub fn api_request(&self, scope: &Scope, operation: Operation, outcome: Result<(), FailureReason>, took: Duration) {
        let labels = [&*scope.account_id, &*scope.region, operation.label(), outcome_label(outcome)];
        self.api_requests.with_label_values(&labels).inc();
        self.api_request_duration.with_label_values(&[operation.label()]).observe(took.as_secs_f64());
    }

    /// The rate of calls, configured or current, is this.
    pub fn set_rate_limit(&self, scope: &Scope, operation: Operation, kind: RateKind, per_second: f64) {
        let labels = [&*scope.account_id, &*scope.region, operation.label(), kind.label()];
        self.api_rate_limit.with_label_values(&labels).set(per_second);
    }

    /// So many executions are tracked.
    pub fn set_tracked(&self, tracked: Tracked) {
        let Tracked { unpolled, open, terminal, not_found } = tracked;
        for (state, count) in [("unpolled", unpolled), ("open", open), ("terminal", terminal), ("not_found", not_found)]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.tracked_executions.with_label_values(&[state]).set(count);
        }
    }

    /// The open execution of this account and Region that has waited longest was last seen then; `None` if none is
    /// open.
    pub fn set_oldest_open_observation(&self, scope: &Scope, at: Option<Timestamp>) {
        let labels = [&*scope.account_id, &*scope.region];
        match at {
            Some(at) => self.oldest_open_observation.with_label_values(&labels).set(seconds(at)),
            None => drop(self.oldest_open_observation.remove_label_values(&labels)),
        }
    }

    /// A poll started this much later than it was due.
    pub fn poll_started(&self, lag: Duration) {
        self.poll_lag.observe(lag.as_secs_f64());
    }

    /// The scheduler is alive.
    pub fn heartbeat(&self, now: Timestamp) {
        self.scheduler_heartbeat.set(seconds(now));
    }

    /// So many executions are not tracked although they should be.
    pub fn executions_dropped(&self, cause: DropCause, count: u64) {
        self.executions_dropped.with_label_values(&[cause.label()]).inc_by(count);
    }

    /// A scrape was answered.
    pub fn scraped(&self, code: ScrapeCode, took: Duration) {
        self.scrapes.with_label_values(&[code.label()]).inc();
        if code == ScrapeCode::Ok {
            self.scrape_duration.observe(took.as_secs_f64());
        }
    }

    /// Whether there are credentials for this account that have not expired.
    pub fn set_credentials_valid(&self, account_id: &str, valid: bool) {
        self.credentials_valid.with_label_values(&[account_id]).set(i64::from(valid));
    }

    /// When the credentials for this account expire, where they do.
    pub fn set_credentials_expiration(&self, account_id: &str, at: Option<Timestamp>) {
        match at {
            Some(at) => self.credentials_expiration.with_label_values(&[account_id]).set(seconds(at)),
            None => drop(self.credentials_expiration.remove_label_values(&[account_id])),
        }
    }

    /// Removes the series of an account and Region that are no longer asked.
    pub fn forget_scope(&self, scope: &Scope) {
        let (account, region) = (&*scope.account_id, &*scope.region);
        // Of those that were never made there is nothing to remove.
        for operation in Operation::ALL.map(Operation::label) {
            for outcome in outcomes() {
                let _ = self.api_requests.remove_label_values(&[account, region, operation, outcome]);
            }
            for kind in RateKind::ALL {
                let _ = self.api_rate_limit.remove_label_values(&[account, region, operation, kind.label()]);
            }
        }
        let _ = self.oldest_open_observation.remove_label_values(&[account, region]);
    }

    /// Removes the series of an account that is no longer asked in any Region.
    pub fn forget_account(&self, account_id: &str) {
        let _ = self.credentials_valid.remove_label_values(&[account_id]);
        let _ = self.credentials_expiration.remove_label_values(&[account_id]);
    }

    /// The text of all families, without OpenMetrics's last line.
    pub fn text(&self, format: Format) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 << 10);
        for family in self.registry.gather() {
            encode::push_family(&mut out, format, &family);
        }
        out
    }
}

const BUILD: [&str; 3] = ["version", "revision", "rustc"];

/// Why making a family cannot fail.
const CONSTANT: &str = "names and labels are constants, and a test makes every family";

fn outcome_label(outcome: Result<(), FailureReason>) -> &'static str {
    outcome.err().map_or("success", FailureReason::label)
}

fn outcomes() -> impl Iterator<Item = &'static str> {
    std::iter::once(outcome_label(Ok(()))).chain(FailureReason::ALL.map(FailureReason::label))
}

fn seconds(at: Timestamp) -> f64 {
    at.millis() as f64 / 1000.0
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(CONSTANT);
    collector
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    add(registry, Gauge::with_opts(options(name, help)).expect(CONSTANT))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    add(registry, GaugeVec::new(options(name, help), labels).expect(CONSTANT))
}

fn int_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    add(registry, IntGaugeVec::new(options(name, help), labels).expect(CONSTANT))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    add(registry, IntCounterVec::new(options(name, help), labels).expect(CONSTANT))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    add(registry, Histogram::with_opts(histogram_options(name, help, buckets)).expect(CONSTANT))
}

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
    add(registry, HistogramVec::new(histogram_options(name, help, buckets), labels).expect(CONSTANT))
}

fn histogram_options(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: Build = Build { version: "1.2.3", revision: "abc", rustc: "1.95.0" };

    fn lines(telemetry: &Telemetry) -> Vec<String> {
        let text = String::from_utf8(telemetry.text(Format::Text004)).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.replace(PREFIX, "")).collect()
    }

    fn has(telemetry: &Telemetry, line: &str) -> bool {
        lines(telemetry).iter().any(|have| have == line)
    }

    #[test]
    fn starts_with_zeros_where_counting_starts_at_zero() {
        let telemetry = Telemetry::new(BUILT);
        for line in [
            r#"build_info{revision="abc",rustc="1.95.0",version="1.2.3"} 1"#,
            r#"executions_dropped_total{cause="limit"} 0"#,
            r#"scrapes_total{code="200"} 0"#,
            r#"scrapes_total{code="503"} 0"#,
            r#"tracked_executions{state="not_found"} 0"#,
            r#"api_request_duration_seconds_count{operation="ListCommands"} 0"#,
            "poll_lag_seconds_count 0",
        ] {
            assert!(has(&telemetry, line), "{line} in {:#?}", lines(&telemetry));
        }
        assert!(lines(&telemetry).iter().any(|line| line.starts_with("process_resident_memory_bytes ")));
    }

    #[test]
    fn series_of_what_is_gone_are_removed() {
        let telemetry = Telemetry::new(BUILT);
        let scope = Scope::new("123456789012", "eu-central-1").unwrap();
        let other = Scope::new("123456789012", "us-east-1").unwrap();
        let before = lines(&telemetry).len();
        for outcome in [Ok(()), Err(FailureReason::Throttled)] {
            telemetry.api_request(&scope, Operation::ListCommands, outcome, Duration::from_millis(20));
        }
        for kind in RateKind::ALL {
            telemetry.set_rate_limit(&scope, Operation::GetCommandExecution, kind, 7.5);
        }
        telemetry.set_oldest_open_observation(&scope, Some(Timestamp::from_millis(1_500)));
        telemetry.set_oldest_open_observation(&other, Some(Timestamp::from_millis(1_500)));
        telemetry.set_oldest_open_observation(&other, None);
        telemetry.set_credentials_valid("123456789012", true);
        let labels = r#"account_id="123456789012""#;
        for line in [
            format!(
                r#"api_requests_total{{{labels},operation="ListCommands",outcome="throttled",region="eu-central-1"}} 1"#
            ),
            format!("oldest_open_observation_timestamp_seconds{{{labels},region=\"eu-central-1\"}} 1.5"),
            format!("credentials_valid{{{labels}}} 1"),
        ] {
            assert!(has(&telemetry, &line), "{line} in {:#?}", lines(&telemetry));
        }
        assert_eq!(lines(&telemetry).len(), before + 6);
        telemetry.forget_scope(&scope);
        telemetry.forget_account("123456789012");
        assert_eq!(lines(&telemetry).len(), before);
    }

    #[test]
    fn a_refused_configuration_leaves_the_hash_of_the_one_in_force() {
        let telemetry = Telemetry::new(BUILT);
        telemetry.config_loaded("a", Timestamp::from_millis(1_000));
        telemetry.config_loaded("b", Timestamp::from_millis(2_000));
        telemetry.config_rejected();
        for line in [
            r#"config_hash_info{hash="b"} 1"#,
            "config_last_reload_successful 0",
            "config_last_reload_success_timestamp_seconds 2",
        ] {
            assert!(has(&telemetry, line), "{line}");
        }
        assert!(!has(&telemetry, r#"config_hash_info{hash="a"} 1"#));
    }
}
