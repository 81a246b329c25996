//! The command line, with flags as the Prometheus community writes them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::logging::{LogFormat, LogLevel};
use crate::shard::Shard;

/// The port that the exporter listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 10477;

/// What the program was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "aws-iot-command-exporter",
    about = "Prometheus exporter for AWS IoT Device Management command executions",
    version = concat!(env!("CARGO_PKG_VERSION")),
    override_usage = "aws-iot-command-exporter [run] --config.file=FILE\n       aws-iot-command-exporter <COMMAND>",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Poll and serve (the default command)
    Run(Run),
    /// Poll every execution once, print the exposition text, exit; 1 if any poll failed
    Once(Once),
    /// Check configuration files: every fault with file:line:column, the key, the value and the rule
    CheckConfig(CheckConfig),
    /// Print the JSON Schema of the configuration
    ConfigSchema,
    /// Print the least that IAM has to allow for a configuration
    IamPolicy(IamPolicy),
    /// Serve a simulated AWS IoT control plane
    Simulate(Simulate),
    /// Simulator and exporter in one process: no AWS account, no file needed
    Demo(Demo),
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub source: SourceFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub web: WebFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub log: LogFlags,
}

/// `once`.
#[derive(Debug, Args)]
pub struct Once {
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub source: SourceFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub log: LogFlags,
}

/// `check-config`.
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// Configuration files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `iam-policy`.
#[derive(Debug, Args)]
pub struct IamPolicy {
    /// Configuration file
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
}

/// `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub fleet: FleetFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub log: LogFlags,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub fleet: FleetFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub web: WebFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its type says it")]
    pub log: LogFlags,
}

/// What is polled.
#[derive(Debug, Args)]
pub struct SourceFlags {
    /// Configuration file
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
    /// Poll only this share of the executions; the index counts from 0, and a StatefulSet's pod name serves as one
    #[arg(long, value_name = "INDEX/COUNT", default_value = "0/1")]
    pub shard: Shard,
    /// Accept an AWS_ENDPOINT_URL over plain HTTP that is not a loopback address
    #[arg(long = "aws.allow-insecure-endpoint")]
    pub allow_insecure_endpoint: bool,
}

/// How it is served.
#[derive(Debug, Args)]
pub struct WebFlags {
    /// Address to listen on; may be given more than once
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10477")]
    pub listen_addresses: Vec<String>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// File with TLS and authentication settings, in the format of Prometheus's exporter-toolkit
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Address on which the /-/ paths are also served in plain HTTP, for probes
    #[arg(long = "web.health-listen-address", value_name = "ADDRESS")]
    pub health_listen_address: Option<String>,
    /// Never compress the metrics, whatever the client accepts
    #[arg(long = "web.disable-compression")]
    pub disable_compression: bool,
    /// Allow POST /-/reload
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
}

/// How it logs, on standard error.
#[derive(Debug, Args)]
pub struct LogFlags {
    /// Only log messages of this severity or above
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub level: LogLevel,
    /// Format of the log
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt)]
    pub format: LogFormat,
}

/// The simulated fleet.
#[derive(Debug, Args)]
pub struct FleetFlags {
    /// How many executions the fleet has
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub executions: u32,
    /// The same seed gives the same fleet
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many times faster than real time the fleet lives
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
}

impl Cli {
    /// The command in these arguments, the program's name first; `run` where none is named.
    ///
    /// # Errors
    /// Bad usage, or a request for help or the version: [`clap::Error::exit`] handles each as it should be.
    pub fn parse_command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let first = arguments.get(1).and_then(|argument| argument.to_str()).unwrap_or_default();
        if first.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&first) {
            arguments.insert(1, "run".into());
        }
        Self::try_parse_from(arguments).map(|cli| cli.command)
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    if text == "/" || text.starts_with("/-/") {
        return Err("this path has another use".into());
    }
    let ok = text.starts_with('/') && text.parse::<http::Uri>().is_ok_and(|uri| uri.path() == text);
    if ok { Ok(text.to_owned()) } else { Err("must be the path of a URL, such as /metrics".into()) }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed <= 10_000.0 => Ok(speed),
        _ => Err("must be a number above 0 and at most 10000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Cli::parse_command([&["aws-iot-command-exporter"], arguments].concat().into_iter().map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        <Cli as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_command() {
        for arguments in
            [&["--config.file=a.yaml", "--shard=1/3"][..], &["run", "--config.file=a.yaml", "--shard", "1/3"]]
        {
            let Ok(Command::Run(run)) = parse(arguments) else { panic!("{arguments:?}") };
            assert_eq!(run.source.config_file, PathBuf::from("a.yaml"));
            assert_eq!(run.source.shard, "1/3".parse().expect("a shard"));
            assert_eq!(run.web.listen_addresses, [":10477"]);
        }
        assert!(matches!(parse(&["demo"]), Ok(Command::Demo(_))));
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        let cases: [&[&str]; 9] = [
            &[],
            &["run"],
            &["--web.enable-lifecycle"],
            &["--config.file=a", "--shard=3/3"],
            &["--config.file=a", "--web.telemetry-path=metrics"],
            &["--config.file=a", "--web.telemetry-path=/-/healthy"],
            &["--config.file=a", "--log.level=loud"],
            &["simulate", "--speed=0"],
            &["check-config"],
        ];
        for arguments in cases {
            assert_eq!(parse(arguments).map_err(|error| error.exit_code()).err(), Some(2), "{arguments:?}");
        }
    }

    #[test]
    fn listen_addresses_repeat() {
        let Ok(Command::Run(run)) =
            parse(&["--config.file=a", "--web.listen-address=:1", "--web.listen-address=[::1]:2"])
        else {
            panic!("it parses")
        };
        assert_eq!(run.web.listen_addresses, [":1", "[::1]:2"]);
    }
}
