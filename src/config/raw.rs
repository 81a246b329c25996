//! The configuration as written, and its JSON Schema.
//!
//! Every member is optional here, so that an item with one fault can still be checked for others; `required` is in
//! the schema, which [`super::shape`] enforces. Doc comments become the schema's descriptions. The defaults in it are
//! compared with the program's by a test.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Value, json};

use super::duration;
use crate::family::Family;

/// The JSON Schema (draft 2020-12) of a configuration. What one value alone cannot show, such as a pair that comes
/// twice, is beyond it; [`Config::parse`](super::Config::parse) knows the rest.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value();
    schema["title"] = json!("aws-iot-command-exporter configuration");
    schema["$defs"]["Metrics"]["properties"]["disabled"]["items"]["enum"] =
        Family::ALL.iter().map(|family| family.name()).collect();
    schema
}

/// What the exporter polls, how often, and what it shows. Every key is optional; `null` is the default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// How often, and how long to wait.
    pub(super) poll: Option<Poll>,
    /// Ceilings per account and Region, for every single second.
    pub(super) limits: Option<Limits>,
    /// How to get credentials, by account ID. The ambient credentials serve every account that is not named here.
    #[schemars(with = "Option<BTreeMap<String, Account>>", extend("propertyNames" = {"pattern": "^[0-9]{12}$"}))]
    pub(super) accounts: Option<BTreeMap<String, Option<Account>>>,
    /// The executions to poll.
    #[schemars(with = "Option<Vec<Execution>>")]
    pub(super) executions: Option<Vec<Option<Execution>>>,
    /// Globs of files that hold lists of executions, as YAML or JSON; read again when they change.
    #[schemars(with = "Option<Vec<String>>", inner(length(min = 1)), extend("uniqueItems" = true, "maxItems" = 1000))]
    pub(super) execution_files: Option<Vec<Option<String>>>,
    /// Executions to find by listing.
    #[schemars(with = "Option<Vec<Discovery>>")]
    pub(super) discovery: Option<Vec<Option<Discovery>>>,
    /// What the metrics show.
    pub(super) metrics: Option<Metrics>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Duration(pub(super) String);

/// By hand, since a derived one would name it by its type: the title is how messages speak of it.
impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "title": "a duration such as 30s, 1h30m or 500ms",
            "pattern": duration::PATTERN,
        })
    }
}

/// How often, and how long to wait.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Poll {
    /// How often an open execution is asked for, quota permitting.
    #[schemars(extend("default" = "30s"))]
    pub(super) interval: Option<Duration>,
    /// How long one API call may take, all included.
    #[schemars(extend("default" = "10s"))]
    pub(super) timeout: Option<Duration>,
    /// An open execution unseen for longer stops exposing its data, but never its poll health.
    #[schemars(extend("default" = "10m"))]
    pub(super) max_staleness: Option<Duration>,
}

/// Ceilings per account and Region, for every single second.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Calls of GetCommandExecution a second. AWS's own quota is 20 by default, shared with every other caller.
    #[schemars(extend("default" = 10, "exclusiveMinimum" = 0, "maximum" = 1000))]
    pub(super) get_requests_per_second: Option<f64>,
    /// Calls of each List operation a second. AWS's own quota is 10 by default, shared with every other caller.
    #[schemars(extend("default" = 5, "exclusiveMinimum" = 0, "maximum" = 1000))]
    pub(super) list_requests_per_second: Option<f64>,
    /// Calls at the same time.
    #[schemars(extend("default" = 16, "minimum" = 1, "maximum" = 1000))]
    pub(super) concurrency: Option<i64>,
    /// How many executions are tracked at the most, over all accounts and Regions; those beyond are counted in a metric.
    #[schemars(extend("default" = 100_000, "minimum" = 1, "maximum" = 10_000_000))]
    pub(super) executions: Option<i64>,
}

/// How to get credentials for an account.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    /// The role to assume, in this account.
    #[schemars(required, extend("pattern" = r"^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$"))]
    pub(super) role_arn: Option<String>,
    /// The external ID that the role's trust policy asks for.
    #[schemars(extend("writeOnly" = true, "pattern" = "^[A-Za-z0-9_+=,.@:/-]{2,1224}$"))]
    pub(super) external_id: Option<String>,
    /// The session's name in CloudTrail.
    #[schemars(extend("default" = "aws-iot-command-exporter", "pattern" = "^[A-Za-z0-9_+=,.@-]{2,64}$"))]
    pub(super) session_name: Option<String>,
}

/// One execution: a target and an execution ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Execution {
    /// The ARN of the thing or the MQTT client that the command runs on. Account and Region come from it.
    #[schemars(required, extend("pattern" = "^arn:aws(-[a-z-]+)?:iot:[a-z-]+-[0-9]+:[0-9]{12}:(thing|client)/."))]
    pub(super) target_arn: Option<String>,
    /// The execution's ID.
    #[schemars(required, extend("pattern" = "^[A-Za-z0-9_-]{1,64}$"))]
    pub(super) execution_id: Option<String>,
    /// Its own interval, in place of poll.interval.
    pub(super) interval: Option<Duration>,
    /// Values of the labels that metrics.labels declares.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) labels: Option<BTreeMap<String, Option<String>>>,
}

/// Executions to find by listing: those of a command, those on a target, or those of every command in an account and
/// Region.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["command_arn"]},
    {"required": ["target_arn"]},
    {"required": ["account_id", "region"]},
], "dependentRequired" = {"account_id": ["region"], "region": ["account_id"]}))]
pub(super) struct Discovery {
    /// Every execution of this command.
    #[schemars(extend("pattern" = "^arn:aws(-[a-z-]+)?:iot:[a-z-]+-[0-9]+:[0-9]{12}:command/[A-Za-z0-9_-]{1,64}$"))]
    pub(super) command_arn: Option<String>,
    /// Every execution on this thing or MQTT client.
    #[schemars(extend("pattern" = "^arn:aws(-[a-z-]+)?:iot:[a-z-]+-[0-9]+:[0-9]{12}:(thing|client)/."))]
    pub(super) target_arn: Option<String>,
    /// Every execution of every command in this account; with region. In quotes, being digits.
    #[schemars(extend("pattern" = "^[0-9]{12}$"))]
    pub(super) account_id: Option<String>,
    /// The Region that goes with account_id.
    #[schemars(extend("pattern" = "^[a-z]+(-[a-z]+)+-[0-9]+$"))]
    pub(super) region: Option<String>,
    /// How often to list.
    #[schemars(extend("default" = "30s"))]
    pub(super) interval: Option<Duration>,
    /// How far back the start of an execution may lie. Not shorter than interval.
    #[schemars(extend("default" = "24h"))]
    pub(super) lookback: Option<Duration>,
    /// How long a finished execution stays exposed, from its end.
    #[schemars(extend("default" = "1h"))]
    pub(super) retain: Option<Duration>,
}

/// What the metrics show.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    /// Names of labels that executions may carry.
    #[schemars(with = "Option<Vec<String>>", inner(regex(pattern = "^(?!__)[A-Za-z_][A-Za-z0-9_]*$")))]
    #[schemars(extend("default" = [], "uniqueItems" = true, "maxItems" = 32))]
    pub(super) labels: Option<Vec<Option<String>>>,
    /// Reason codes of devices that may become label values; all others are "other".
    #[schemars(with = "Option<Vec<String>>", inner(regex(pattern = "^[A-Z0-9_-]{1,64}$")))]
    #[schemars(extend("default" = [], "uniqueItems" = true, "maxItems" = 1000))]
    pub(super) reason_codes: Option<Vec<Option<String>>>,
    /// Whether there are series per execution; without them there are only those per command.
    #[schemars(extend("default" = true))]
    pub(super) per_execution: Option<bool>,
    /// Families to leave out, by name without the prefix aws_iot_command_.
    #[schemars(with = "Option<Vec<String>>", extend("default" = [], "uniqueItems" = true))]
    pub(super) disabled: Option<Vec<Option<String>>>,
}
