//! From flags to exit codes. Everything else is in the library.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use aws_iot_command_exporter::app::{self, AppError};
use aws_iot_command_exporter::cli::{CheckConfig, Cli, Command, LogFlags};
use aws_iot_command_exporter::config;
use aws_iot_command_exporter::logging;

const FAILED: u8 = 1;

/// Bad flags or configuration.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let command = match Cli::parse_command(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    let stop = CancellationToken::new();
    match command {
        Command::CheckConfig(check) => check_config(&check),
        Command::ConfigSchema => print_json(&config::schema()),
        Command::IamPolicy(flags) => match app::iam_policy(&flags.config_file) {
            Ok(policy) => print_json(&policy),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(BAD_INPUT)
            }
        },
        Command::Run(run) => start(&run.log, &stop, app::run(&run, stop.clone())),
        Command::Once(once) => start(&once.log, &stop, app::once(&once, stop.clone())),
        Command::Simulate(simulate) => start(&simulate.log, &stop, app::simulate(&simulate, stop.clone())),
        Command::Demo(demo) => start(&demo.log, &stop, app::demo(&demo, stop.clone())),
    }
}

/// Runs a command on a runtime of its own until it ends or a signal stops it.
fn start(log: &LogFlags, stop: &CancellationToken, command: impl Future<Output = Result<(), AppError>>) -> ExitCode {
    logging::start(log.level, log.format);
    let outcome = tokio::runtime::Runtime::new().context("the runtime could not start").and_then(|runtime| {
        let outcome = runtime.block_on(async {
            let _signals = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(stop_on_signals(stop.clone())));
            command.await
        });
        // Blocking reads that are still under way must not hold up the exit.
        runtime.shutdown_background();
        Ok(outcome?)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Faults of a configuration fill lines of their own, and read best without a frame.
            eprintln!("{error:#}");
            ExitCode::from(error.downcast_ref::<AppError>().map_or(FAILED, AppError::exit_code))
        }
    }
}

/// The first SIGTERM or SIGINT asks everything to finish; the second ends the process at once.
async fn stop_on_signals(stop: CancellationToken) {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return stop.cancel();
        }
    };
    for first in [true, false] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if first {
            tracing::info!("stopping: finishing what is under way; a second signal ends at once");
            stop.cancel();
        }
    }
    tracing::warn!("ended by a second signal");
    std::process::exit(i32::from(FAILED));
}

/// Checks each file; what is wrong goes to standard output, since it is the result.
fn check_config(check: &CheckConfig) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for file in &check.files {
        let written = match app::check(file) {
            Ok(executions) => writeln!(out, "{}: OK, {executions} executions", file.display()),
            Err(error) => {
                code = ExitCode::from(BAD_INPUT);
                writeln!(out, "{error}")
            }
        };
        if written.is_err() {
            return ExitCode::from(FAILED);
        }
    }
    code
}

fn print_json(value: &serde_json::Value) -> ExitCode {
    match writeln!(std::io::stdout(), "{value:#}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}
