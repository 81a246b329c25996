//! Who asks: the exporter's own poller, or plain round robin for comparison.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::config::{DiscoverBy, Discovery, Limits, Poll};
use aws_iot_command_exporter::plan::{Plan, Wanted};
use aws_iot_command_exporter::poller::Poller;
use aws_iot_command_exporter::shard::Shard;
use aws_iot_command_exporter::source::Source;
use aws_iot_command_exporter::store::Store;
use aws_iot_command_exporter::telemetry::{Build, Telemetry};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::fleet::wall;
use super::service::Service;

/// The real poller over every execution of the service, until `shutdown`: those that it is told of, or those that it
/// discovers by their command.
pub(crate) fn exporter(
    service: &Arc<Service>,
    store: &Arc<Store>,
    limits: &Limits,
    discovers: bool,
    shutdown: &CancellationToken,
) {
    let poll = Poll::default();
    let lives = service.lives();
    let told = lives.iter().filter(|_| !discovers);
    let executions = told.map(|life| Wanted { key: life.key.clone(), interval: poll.interval, labels: Box::default() });
    let commands: BTreeSet<_> = lives.iter().filter(|_| discovers).map(|life| &life.command).collect();
    let discoveries = commands.into_iter().map(|command| Discovery {
        by: DiscoverBy::Command(command.clone()),
        interval: poll.interval,
        lookback: Duration::from_secs(3600),
        retain: Duration::from_secs(24 * 3600),
    });
    let plan = Plan {
        executions: executions.collect(),
        discoveries: discoveries.collect(),
        poll,
        limits: limits.clone(),
        label_names: Vec::new(),
        shard: Shard::WHOLE,
        dropped: 0,
    };
    let telemetry = Arc::new(Telemetry::new(Build::THIS));
    let clock = Arc::clone(service);
    let now = move || wall(clock.now());
    let (mut poller, _) =
        Poller::with_wall_clock(Arc::clone(service), Arc::clone(store), telemetry, false, Arc::new(now));
    poller.apply(plan);
    let (_, plans) = mpsc::channel(1);
    tokio::spawn(poller.run(plans, shutdown.clone()));
}

/// One Get after the other, at an even pace, over all that are not terminal.
pub(crate) fn round_robin(service: &Arc<Service>, store: &Arc<Store>, per_second: f64, shutdown: &CancellationToken) {
    let slots: Vec<_> = service.lives().iter().map(|life| (life.key.clone(), store.track(&life.key, &[]))).collect();
    let (service, store, shutdown) = (Arc::clone(service), Arc::clone(store), shutdown.clone());
    let ask = async move {
        let mut pace = interval(Duration::from_secs_f64(1.02 / per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut asked = false;
            for (key, slot) in &slots {
                if store.snapshot(*slot).is_some_and(|snapshot| snapshot.is_terminal()) {
                    continue;
                }
                asked = true;
                pace.tick().await;
                let (service, store, key, slot) = (Arc::clone(&service), Arc::clone(&store), key.clone(), *slot);
                tokio::spawn(async move {
                    let outcome = service.get_execution(&key).await;
                    store.record(slot, &outcome, wall(service.now()));
                });
            }
            if !asked {
                return;
            }
        }
    };
    tokio::spawn(async move { shutdown.run_until_cancelled(ask).await });
}
