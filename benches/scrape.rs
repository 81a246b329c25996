//! What a scrape costs, side by side: this exporter's text, plain and gzip and over HTTP, the `prometheus` and
//! `prometheus-client` crates with the very same series, and the finished bytes written to a socket.
//!
//! `cargo bench --bench scrape` measures 1,000, 10,000 and 100,000 executions of 16 series each, `-- --short` the
//! first two, `-- --sizes=1000000` any. Every contender runs in a process of its own, in turns over several rounds:
//! CPU time is the median over the rounds, memory the peak of the process above that of one which holds nothing.

mod scrape {
    pub(crate) mod contender;
    pub(crate) mod fleet;
    pub(crate) mod http;
    pub(crate) mod others;
}

use std::env;
use std::fs;
use std::process::Command;

use scrape::contender::{Contender, Measured};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child", contender, executions] => {
            let contender = Contender::ALL.into_iter().find(|known| known.name() == *contender);
            let executions = executions.parse().expect("a number");
            println!("{}", contender.expect("a contender").measure(executions));
            println!("peak {}", peak_kib());
        }
        ["--short"] => run(&[1_000, 10_000], 3),
        [] => run(&[1_000, 10_000, 100_000], 5),
        [sizes] if sizes.starts_with("--sizes=") => {
            let sizes = sizes["--sizes=".len()..].split(',').map(|size| size.parse().expect("a number"));
            run(&sizes.collect::<Vec<_>>(), 3);
        }
        other => panic!("--short, --sizes=N,M or nothing, not {other:?}"),
    }
}

fn run(sizes: &[usize], rounds: usize) {
    for &executions in sizes {
        let mut results: Vec<(Contender, Vec<(Measured, u64)>)> = Vec::new();
        for round in 0..rounds {
            for contender in Contender::ALL {
                // The slowest by far, and hungry: its costs do not depend on the round.
                if contender.is_heavy() && (round > 0 && executions > 10_000 || executions > 100_000) {
                    continue;
                }
                let Some(result) = child(contender, executions) else { continue };
                match results.iter_mut().find(|(known, _)| *known == contender) {
                    Some((_, list)) => list.push(result),
                    None => results.push((contender, vec![result])),
                }
            }
        }
        report(executions, &results);
    }
}

/// Measures in a process of its own; `None` where this machine lacks what the contender needs.
fn child(contender: Contender, executions: usize) -> Option<(Measured, u64)> {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program).args(["child", contender.name(), &executions.to_string()]).output();
    let output = output.expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text.lines().find_map(|line| line.strip_prefix("peak ")?.parse().ok());
    let result = text.lines().next().and_then(Measured::parse).zip(peak);
    if result.is_none() {
        eprintln!("{} left out: {}", contender.name(), String::from_utf8_lossy(&output.stderr));
    }
    result
}

/// The most memory that this process has held, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn report(executions: usize, results: &[(Contender, Vec<(Measured, u64)>)]) {
    let cpu = |wanted: Contender| {
        let (_, list) = results.iter().find(|(contender, _)| *contender == wanted)?;
        Some(median(list.iter().map(|(measured, _)| measured.cpu_nanos).collect()))
    };
    let peak = |list: &[(Measured, u64)]| median(list.iter().map(|(_, peak)| *peak).collect());
    let base = results.iter().find(|(contender, _)| *contender == Contender::Nothing);
    let base = base.map_or(0, |(_, list)| peak(list));
    println!("\n{executions} executions");
    println!("| | CPU ms | ns/series | MB/s of text | sent, MB | peak memory, B/execution |");
    println!("|---|---|---|---|---|---|");
    for (contender, list) in results.iter().filter(|(contender, _)| *contender != Contender::Nothing) {
        let (Some(nanos), Some((measured, _))) = (cpu(*contender), list.first()) else { continue };
        println!(
            "| {} | {:.2} | {:.1} | {:.0} | {:.2} | {} |",
            contender.title(),
            nanos as f64 / 1e6,
            nanos as f64 / measured.series as f64,
            measured.text_bytes as f64 * 1e3 / nanos as f64,
            measured.sent_bytes as f64 / 1e6,
            (peak(list).saturating_sub(base) * 1024) / executions as u64,
        );
    }
    for (one, other) in Contender::RATIOS {
        if let (Some(nanos), Some(others)) = (cpu(one), cpu(other)) {
            println!("{} / {}: {:.2}", other.title(), one.title(), others as f64 / nanos as f64);
        }
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
