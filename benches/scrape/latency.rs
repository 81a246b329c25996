//! How long a scrape takes on the wall while executions are polled: the program's own runtime, the one who scrapes
//! and the one who records share this machine's cores, so that this is an upper bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aws_iot_command_exporter::store::{Slot, Store};
use tokio::runtime::Builder;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fleet;
use super::http::{Client, listen, serve_until};

/// How fast answers come in.
#[derive(Clone, Copy)]
enum Polls {
    None,
    /// What the service's default quotas allow for an account and Region: ten pages of a hundred and twenty single
    /// answers a second.
    Quota,
    Restless,
}

/// Measures and reports so many scrapes of each kind.
pub(crate) fn run(executions: usize, scrapes: usize) {
    println!("\n{executions} executions, wall time of a scrape in ms, {scrapes} scrapes each");
    println!("| polls recorded | scrapers | p50 | p99 | longest |");
    println!("|---|---|---|---|---|");
    for (polls, title) in
        [(Polls::None, "none"), (Polls::Quota, "1,020 a second"), (Polls::Restless, "without a pause")]
    {
        for (clients, gzip) in [(1, false), (1, true), (2, true)] {
            let mut spent = measure(executions, scrapes, polls, clients, gzip);
            spent.sort_unstable();
            let millis = |at: usize| spent[at.min(spent.len() - 1)].as_secs_f64() * 1e3;
            let (half, most, last) = (millis(spent.len() / 2), millis(spent.len() * 99 / 100), millis(spent.len()));
            let kind = if gzip { "gzip" } else { "plain" };
            println!("| {title} | {clients}, {kind} | {half:.1} | {most:.1} | {last:.1} |");
        }
    }
}

fn measure(executions: usize, scrapes: usize, polls: Polls, clients: usize, gzip: bool) -> Vec<Duration> {
    let (store, slots) = fleet::store(executions);
    let store = Arc::new(store);
    let (listener, address) = listen();
    let (shutdown, stop) = (CancellationToken::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| serve_until(Builder::new_multi_thread(), listener, Arc::clone(&store), || {}, shutdown.clone()));
        scope.spawn(|| record(&store, &slots, polls, &stop));
        let clients: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| scrape(&mut Client::new(address, gzip), scrapes))).collect();
        let spent = clients.into_iter().flat_map(|client| client.join().expect("scrapes")).collect();
        stop.store(true, Ordering::Relaxed);
        shutdown.cancel();
        spent
    })
}

fn scrape(client: &mut Client, scrapes: usize) -> Vec<Duration> {
    client.get(|_| {});
    let timed = |_| {
        let start = Instant::now();
        client.get(|_| {});
        start.elapsed()
    };
    (0..scrapes).map(timed).collect()
}

fn record(store: &Store, slots: &[Slot], polls: Polls, stop: &AtomicBool) {
    let mut next = (0..slots.len()).cycle();
    while !stop.load(Ordering::Relaxed) {
        let (answers, pause) = match polls {
            Polls::None => (0, 100),
            Polls::Quota => (102, 100),
            Polls::Restless => (1_000, 0),
        };
        for index in next.by_ref().take(answers) {
            store.record(slots[index], &Ok(fleet::snapshot(index * 7919 % slots.len())), fleet::NOW);
        }
        if pause > 0 {
            thread::sleep(Duration::from_millis(pause));
        }
    }
}
