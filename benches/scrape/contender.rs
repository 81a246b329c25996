//! Who is measured, and how.

use std::fmt;
use std::hint::black_box;
use std::io::Write;
use std::process::Command;

use aws_iot_command_exporter::exposition::Gzip;
use bytes::Bytes;
use cpu_time::ThreadTime;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::fleet::{self, SERIES};
use super::http::{self, Spent};
use super::others::{PrometheusClient, PrometheusCrate};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A process that holds no executions: what memory is measured against.
    Nothing,
    PrometheusCrate,
    PrometheusClient,
    Ours,
    /// Every execution is polled in the middle of the scrape.
    OursWhilePolling,
    OursGzip,
    FinishedZlibRs,
    /// The C library, as Python has it.
    FinishedZlib,
    FinishedSocket,
    FinishedSocketParts,
    FinishedGzipSocket,
    Http,
    HttpGzip,
}

/// What one process measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// CPU nanoseconds of one scrape.
    pub(crate) cpu_nanos: u64,
    /// With the reader's, where there is a socket; else the same.
    pub(crate) both_nanos: u64,
    pub(crate) series: u64,
    pub(crate) text_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_nanos, both_nanos, series, text_bytes, sent_bytes } = self;
        write!(f, "{cpu_nanos} {both_nanos} {series} {text_bytes} {sent_bytes}")
    }
}

impl Measured {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map_while(|number| number.parse().ok());
        let mut next = || numbers.next();
        let (cpu_nanos, both_nanos, series) = (next()?, next()?, next()?);
        Some(Self { cpu_nanos, both_nanos, series, text_bytes: next()?, sent_bytes: next()? })
    }
}

impl Contender {
    pub(crate) const ALL: [Self; 13] = [
        Self::Nothing,
        Self::Ours,
        Self::PrometheusCrate,
        Self::OursGzip,
        Self::PrometheusClient,
        Self::OursWhilePolling,
        Self::FinishedZlibRs,
        Self::Http,
        Self::FinishedSocket,
        Self::FinishedSocketParts,
        Self::HttpGzip,
        Self::FinishedGzipSocket,
        Self::FinishedZlib,
    ];

    /// The pairs whose ratio the goals speak of: the other's cost in units of the first's.
    pub(crate) const RATIOS: [(Self, Self); 8] = [
        (Self::Ours, Self::PrometheusCrate),
        (Self::Ours, Self::PrometheusClient),
        (Self::FinishedSocket, Self::Http),
        (Self::FinishedSocketParts, Self::Http),
        (Self::FinishedSocket, Self::Ours),
        (Self::OursGzip, Self::FinishedZlib),
        (Self::OursGzip, Self::FinishedZlibRs),
        (Self::HttpGzip, Self::Http),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::PrometheusCrate => "prometheus",
            Self::PrometheusClient => "prometheus-client",
            Self::Ours => "ours",
            Self::OursWhilePolling => "ours-polling",
            Self::OursGzip => "ours-gzip",
            Self::FinishedZlibRs => "finished-zlib-rs",
            Self::FinishedZlib => "finished-zlib",
            Self::FinishedSocket => "finished-socket",
            Self::FinishedSocketParts => "finished-socket-parts",
            Self::FinishedGzipSocket => "finished-gzip-socket",
            Self::Http => "http",
            Self::HttpGzip => "http-gzip",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::PrometheusCrate => "`prometheus` crate, gather and encode",
            Self::PrometheusClient => "`prometheus-client`, encode",
            Self::Ours => "ours, chunks",
            Self::OursWhilePolling => "ours, chunks, every execution polled meanwhile",
            Self::OursGzip => "ours, gzip chunks",
            Self::FinishedZlibRs => "zlib-rs, level 1, over the finished text",
            Self::FinishedZlib => "zlib (C), level 1, over the finished text",
            Self::FinishedSocket => "the finished text to a socket, in one write",
            Self::FinishedSocketParts => "the finished text to a socket, in parts of 64 KiB",
            Self::FinishedGzipSocket => "the finished gzip to a socket",
            Self::Http => "ours, whole HTTP scrape",
            Self::HttpGzip => "ours, whole HTTP scrape, gzip",
        }
    }

    /// Whether it takes minutes and gigabytes at a million executions.
    pub(crate) fn is_heavy(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Ours | Self::OursGzip | Self::FinishedSocket | Self::Http | Self::HttpGzip
        )
    }

    /// Whether a hundred thousand are enough for that.
    pub(crate) fn is_very_heavy(self) -> bool {
        matches!(self, Self::PrometheusCrate | Self::PrometheusClient)
    }

    /// Measures so many scrapes.
    pub(crate) fn measure(self, executions: usize, times: u64) -> Measured {
        let alone = |(nanos, text, sent): (u64, usize, usize)| (Spent { sender: nanos, both: nanos }, text, sent);
        let (spent, text_bytes, sent_bytes) = match self {
            Self::Nothing => {
                black_box(fleet::snapshot(0));
                alone((0, 0, 0))
            }
            Self::PrometheusCrate => {
                let crates = PrometheusCrate::new(executions);
                alone(timed(times, || same(crates.page().len())))
            }
            Self::PrometheusClient => {
                let crates = PrometheusClient::new(executions);
                alone(timed(times, || same(crates.page().len())))
            }
            Self::Ours => alone(ours(executions, times)),
            Self::OursWhilePolling => alone(ours_while_polling(executions, times)),
            Self::OursGzip => alone(ours_gzip(executions, times)),
            Self::FinishedZlibRs => {
                let text = finished(executions);
                alone(timed(times, || (text.len(), zlib_rs(&text).len())))
            }
            Self::FinishedZlib => alone(finished_zlib(executions, times)),
            Self::FinishedSocket => {
                let text = finished(executions);
                (http::write_finished(&text, text.len(), times), text.len(), text.len())
            }
            Self::FinishedSocketParts => {
                let text = finished(executions);
                (http::write_finished(&text, 64 << 10, times), text.len(), text.len())
            }
            Self::FinishedGzipSocket => {
                let text = finished(executions);
                let compressed = zlib_rs(&text);
                (http::write_finished(&compressed, compressed.len(), times), text.len(), compressed.len())
            }
            Self::Http | Self::HttpGzip => {
                let (store, _) = fleet::store(executions);
                let text = length(fleet::scrape(&store, &fleet::settings()));
                let (spent, sent) = http::scrape(store, self == Self::HttpGzip, times);
                (spent, text, sent as usize)
            }
        };
        let series = (executions * SERIES) as u64;
        let Spent { sender: cpu_nanos, both: both_nanos } = spent;
        Measured { cpu_nanos, both_nanos, series, text_bytes: text_bytes as u64, sent_bytes: sent_bytes as u64 }
    }
}

fn ours(executions: usize, times: u64) -> (u64, usize, usize) {
    let (store, _) = fleet::store(executions);
    let settings = fleet::settings();
    timed(times, || same(length(fleet::scrape(&store, &settings))))
}

/// The polls are not part of the time, the copies that they make are part of the memory.
fn ours_while_polling(executions: usize, times: u64) -> (u64, usize, usize) {
    let (store, slots) = fleet::store(executions);
    let settings = fleet::settings();
    let mut nanos = Vec::new();
    let mut bytes = 0;
    for _ in 0..times.min(20) {
        let start = ThreadTime::now();
        let mut scrape = fleet::scrape(&store, &settings);
        bytes = scrape.next().map_or(0, |chunk| chunk.len());
        let begun = start.elapsed();
        for (index, slot) in slots.iter().enumerate() {
            store.record(*slot, &Ok(fleet::snapshot(index * 7919 % executions)), fleet::NOW);
        }
        let start = ThreadTime::now();
        bytes += length(scrape);
        nanos.push((begun + start.elapsed()).as_nanos() as u64);
    }
    nanos.sort_unstable();
    (nanos[nanos.len() / 2], bytes, bytes)
}

fn ours_gzip(executions: usize, times: u64) -> (u64, usize, usize) {
    let (store, _) = fleet::store(executions);
    let settings = fleet::settings();
    let text = length(fleet::scrape(&store, &settings));
    timed(times, || (text, length(Gzip::new(fleet::scrape(&store, &settings)))))
}

/// Python's module is the C library; its CPU time is asked of Python.
fn finished_zlib(executions: usize, times: u64) -> (u64, usize, usize) {
    const PROGRAM: &str = "
import sys, time, zlib
text = open(sys.argv[1], 'rb').read()
spent = []
for _ in range(int(sys.argv[2])):
    start = time.process_time_ns()
    size = len(zlib.compress(text, 1))
    spent.append(time.process_time_ns() - start)
print(sorted(spent)[len(spent) // 2], len(text), size)
";
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&finished(executions)).expect("writes");
    let rounds = times.min(7).to_string();
    let output = Command::new("python3").args(["-c", PROGRAM]).arg(file.path()).arg(rounds).output();
    let output = output.expect("python3 is there");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut numbers = text.split_whitespace().map(|number| number.parse::<usize>().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    (next() as u64, next(), next())
}

/// The finished text.
pub(crate) fn finished(executions: usize) -> Vec<u8> {
    let (store, _) = fleet::store(executions);
    fleet::scrape(&store, &fleet::settings()).flatten().collect()
}

fn zlib_rs(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(text).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fn length(chunks: impl Iterator<Item = Bytes>) -> usize {
    chunks.map(|chunk| black_box(chunk).len()).sum()
}

fn same(bytes: usize) -> (usize, usize) {
    (bytes, bytes)
}

/// The median CPU nanoseconds of a scrape by this thread, after one to warm up, and what the last one gave.
fn timed(times: u64, mut scrape: impl FnMut() -> (usize, usize)) -> (u64, usize, usize) {
    let warming = ThreadTime::now();
    let mut sizes = scrape();
    // A contender that needs seconds needs no repetition.
    let rounds = if warming.elapsed().as_secs() > 2 { 1 } else { times };
    let spent = (0..rounds).map(|_| {
        let start = ThreadTime::now();
        sizes = scrape();
        start.elapsed().as_nanos() as u64
    });
    let mut spent: Vec<u64> = spent.collect();
    spent.sort_unstable();
    (spent[spent.len() / 2], sizes.0, sizes.1)
}
