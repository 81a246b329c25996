//! Tells the program what it was built from, for `build_info` and `--version`. Neither git nor a network is needed:
//! what cannot be told is left out.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_REVISION");
    if let Some(revision) = revision() {
        println!("cargo::rustc-env=BUILD_REVISION={revision}");
    }
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if let Some(version) = first_line(&rustc, &["--version"]) {
        println!("cargo::rustc-env=BUILD_RUSTC={}", version.split(' ').nth(1).unwrap_or(&version));
    }
}

/// `BUILD_REVISION`, as packagers set it; else the commit that is checked out.
fn revision() -> Option<String> {
    if let Some(given) = env::var("BUILD_REVISION").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    // Not in a directory that merely lies inside of somebody else's repository.
    let log = Path::new(".git/logs/HEAD");
    if !log.exists() {
        return None;
    }
    println!("cargo::rerun-if-changed={}", log.display());
    first_line("git", &["rev-parse", "--short=12", "HEAD"])
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}
