//! Watches the store, and measures how late it shows what has happened.

use std::sync::Arc;
use std::time::Duration;

use aws_iot_command_exporter::execution::{Snapshot, Status};
use aws_iot_command_exporter::store::{Slot, Store};
use tokio::time::sleep;

use super::fleet::Life;
use super::service::Service;

/// How closely the store is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Care {
    /// How often it is looked at: delays are overstated by up to so much.
    pub(crate) look: Duration,
    /// Milliseconds after which an event that is not seen is missed.
    pub(crate) patience: i64,
    /// The same for a late report, which is looked for seldom.
    pub(crate) patience_late: i64,
}

impl Care {
    /// In virtual time. A late report is looked for once in five minutes.
    pub(crate) const FULL: Self = Self { look: Duration::from_millis(500), patience: 60_000, patience_late: 330_000 };
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A device has picked it up.
    PickedUp,
    /// A device has ended it in time.
    End,
    /// The service's timer has run out.
    TimedOut,
    /// A device has reported after the service's timer.
    Late,
}

impl Event {
    fn is_shown(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::PickedUp => snapshot.status != Status::Created,
            Self::TimedOut => snapshot.is_ended(),
            Self::End | Self::Late => snapshot.is_terminal(),
        }
    }
}

/// How late events were seen, in milliseconds, sorted; and those that never were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) seen: Vec<i64>,
    pub(crate) missed: usize,
}

impl Delays {
    /// Seconds; what was never seen is infinitely late.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let all = self.seen.len() + self.missed;
        let rank = ((all as f64 * share).ceil() as usize).saturating_sub(1);
        self.seen.get(rank).map_or(if all == 0 { 0.0 } else { f64::INFINITY }, |millis| *millis as f64 / 1000.0)
    }
}

/// The delays of one account's events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) picked_up: Delays,
    pub(crate) ends: Delays,
    pub(crate) timed_out: Delays,
    pub(crate) late: Delays,
}

impl Verdict {
    fn of(&mut self, event: Event) -> &mut Delays {
        match event {
            Event::PickedUp => &mut self.picked_up,
            Event::End => &mut self.ends,
            Event::TimedOut => &mut self.timed_out,
            Event::Late => &mut self.late,
        }
    }
}

fn events(life: &Life) -> impl Iterator<Item = (i64, Event)> {
    let end = life.ended.map(|(at, _)| (at, if life.timed_out.is_some() { Event::Late } else { Event::End }));
    let picked_up = life.picked_up.map(|at| (at, Event::PickedUp));
    let timed_out = life.timed_out.map(|at| (at, Event::TimedOut));
    [picked_up, timed_out, end].into_iter().flatten()
}

/// Watches the executions of `account` from now on until `until`. What has happened before counts from now on; what
/// has not been seen at the end is missed, unless it has just happened.
pub(crate) async fn watch(service: &Service, store: &Arc<Store>, account: &str, until: i64) -> Verdict {
    watch_lives(service.lives(), || service.now(), store, account, Care::FULL, until).await
}

/// [`watch`], of these executions, at the times that `now` tells.
pub(crate) async fn watch_lives(
    lives: &[Life],
    now: impl Fn() -> i64,
    store: &Store,
    account: &str,
    care: Care,
    until: i64,
) -> Verdict {
    let began = now();
    let mut coming: Vec<(i64, Event, usize)> = Vec::new();
    for (index, life) in lives.iter().enumerate().filter(|(_, life)| life.key.target.account_id() == account) {
        coming.extend(events(life).filter(|(at, _)| *at < until).map(|(at, event)| (at.max(began), event, index)));
    }
    coming.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    // An execution that is to be discovered has no slot yet.
    let mut slots: Vec<Option<Slot>> = vec![None; lives.len()];
    let mut pending: Vec<(i64, Event, usize)> = Vec::new();
    let mut verdict = Verdict::default();
    while now() < until {
        let now = now();
        while coming.last().is_some_and(|(at, ..)| *at <= now) {
            pending.extend(coming.pop());
        }
        pending.retain(|(at, event, index)| {
            slots[*index] = slots[*index].or_else(|| store.find(&lives[*index].key));
            let snapshot = slots[*index].and_then(|slot| store.snapshot(slot));
            let shown = snapshot.is_some_and(|snapshot| event.is_shown(&snapshot));
            if shown {
                verdict.of(*event).seen.push(now - at);
            }
            !shown
        });
        sleep(care.look).await;
    }
    for (at, event, _) in pending {
        let patience = if event == Event::Late { care.patience_late } else { care.patience };
        verdict.of(event).missed += usize::from(until - at > patience);
    }
    for event in [Event::PickedUp, Event::End, Event::TimedOut, Event::Late] {
        verdict.of(event).seen.sort_unstable();
    }
    verdict
}
