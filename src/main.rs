//! From flags to exit codes. Everything else is in the library.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use aws_iot_command_exporter::cli::{CheckConfig, Cli, Command, LogFlags};
use aws_iot_command_exporter::{app, config, logging};

/// Bad flags or configuration.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Cli::parse_command(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    match command {
        Command::CheckConfig(check) => check_config(&check),
        Command::ConfigSchema => print(&config::schema()),
        Command::Run(run) => start(&run.log, app::run(&run, stop_signal())),
        Command::Once(once) => start(&once.log, app::once(&once, stop_signal())),
        Command::Simulate(simulate) => start(&simulate.log, app::simulate(&simulate, stop_signal())),
        Command::Demo(demo) => start(&demo.log, app::demo(&demo, stop_signal())),
    }
}
