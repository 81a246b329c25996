//! What a scrape costs, side by side: this exporter's text, plain and gzip and over HTTP, the `prometheus` and
//! `prometheus-client` crates with the very same series, and the finished bytes written to a socket.
//!
//! `cargo bench --bench scrape` measures 1,000 to 1,000,000 executions of 16 series each and the time that scrapes
//! take while executions are polled; `-- --sizes=N,M` other sizes, `-- --latency` the time alone. `-- --short` checks
//! what holds in an unoptimised build too: that all show the same, and the memory. Every contender runs in a process
//! of its own, in turns over several rounds: CPU time is the median over the rounds, memory the peak of the process
//! above that of one which holds nothing.

mod scrape {
    pub(crate) mod check;
    pub(crate) mod contender;
    pub(crate) mod fleet;
    pub(crate) mod http;
    pub(crate) mod latency;
    pub(crate) mod others;
}

use std::env;
use std::fs;
use std::process::Command;

use scrape::contender::{Contender, Measured};
use scrape::{check, latency};

/// What an execution may take while it is scraped, in bytes.
const MEMORY_LIMIT: u64 = 512;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child", contender, executions, times] => {
            let contender = Contender::ALL.into_iter().find(|known| known.name() == *contender);
            let contender = contender.expect("a contender");
            let measured = contender.measure(executions.parse().expect("a number"), times.parse().expect("a number"));
            println!("{measured}");
            println!("peak {}", peak_kib());
        }
        ["--short"] => short(),
        ["--latency"] => latency::run(10_000, 1_000),
        [] => {
            run(&[1_000, 10_000, 100_000, 1_000_000], 5);
            latency::run(10_000, 1_000);
        }
        [sizes] if sizes.starts_with("--sizes=") => {
            let sizes = sizes["--sizes=".len()..].split(',').map(|size| size.parse().expect("a number"));
            run(&sizes.collect::<Vec<_>>(), 5);
        }
        other => panic!("--short, --latency, --sizes=N,M or nothing, not {other:?}"),
    }
}

/// What does not depend on how the program was built.
fn short() {
    check::all(1_000);
    for contender in Contender::ALL {
        assert!(child(contender, 200, 1).is_some(), "{} works", contender.name());
    }
    let executions = 20_000;
    let held = |contender| child(contender, executions, 1).map(|(_, peak)| peak).expect("it works");
    let base = held(Contender::Nothing);
    for contender in [Contender::Ours, Contender::OursGzip, Contender::Http, Contender::HttpGzip] {
        let bytes = (held(contender) - base) * 1024 / executions as u64;
        println!("{}: {bytes} B an execution at {executions}", contender.title());
        assert!(bytes <= MEMORY_LIMIT, "{} B are allowed", MEMORY_LIMIT);
    }
    latency::run(200, 5);
}

fn run(sizes: &[usize], rounds: usize) {
    for &executions in sizes {
        let times = (500_000 / executions as u64).clamp(5, 100);
        let mut results: Vec<(Contender, Vec<(Measured, u64)>)> = Vec::new();
        for round in 0..rounds {
            for contender in Contender::ALL {
                // Their costs do not depend on the round.
                let skipped = contender.is_very_heavy() && round > 0 && executions > 10_000;
                if skipped || contender.is_heavy() && executions > 100_000 {
                    continue;
                }
                let times = if contender.is_very_heavy() { times.min(5) } else { times };
                let Some(result) = child(contender, executions, times) else { continue };
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
fn child(contender: Contender, executions: usize, times: u64) -> Option<(Measured, u64)> {
    let program = env::current_exe().expect("this program");
    let arguments = ["child", contender.name(), &executions.to_string(), &times.to_string()];
    let output = Command::new(program).args(arguments).output();
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
    let median_of =
        |list: &[(Measured, u64)], figure: fn(&(Measured, u64)) -> u64| median(list.iter().map(figure).collect());
    let of = |wanted: Contender| results.iter().find(|(contender, _)| *contender == wanted).map(|(_, list)| list);
    let base = of(Contender::Nothing).map_or(0, |list| median_of(list, peak));
    println!("\n{executions} executions");
    println!(
        "| | CPU ms | ns/series | with the reader, ns/series | MB/s of text | sent, MB | peak memory, B/execution |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (contender, list) in results.iter().filter(|(contender, _)| *contender != Contender::Nothing) {
        let (nanos, nanos_of_both) = (median_of(list, cpu), median_of(list, both));
        let Some((measured, _)) = list.first() else { continue };
        println!(
            "| {} | {:.2} | {:.1} | {:.1} | {:.0} | {:.2} | {} |",
            contender.title(),
            nanos as f64 / 1e6,
            nanos as f64 / measured.series as f64,
            nanos_of_both as f64 / measured.series as f64,
            measured.text_bytes as f64 * 1e3 / nanos as f64,
            measured.sent_bytes as f64 / 1e6,
            (median_of(list, peak).saturating_sub(base) * 1024) / executions as u64,
        );
    }
    for (one, other) in Contender::RATIOS {
        if let (Some(ours), Some(others)) = (of(one), of(other)) {
            let ratio = |figure| median_of(others, figure) as f64 / median_of(ours, figure) as f64;
            println!("{} / {}: {:.2}, with the reader {:.2}", other.title(), one.title(), ratio(cpu), ratio(both));
        }
    }
}

fn cpu((measured, _): &(Measured, u64)) -> u64 {
    measured.cpu_nanos
}

fn both((measured, _): &(Measured, u64)) -> u64 {
    measured.both_nanos
}

fn peak((_, peak): &(Measured, u64)) -> u64 {
    *peak
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
