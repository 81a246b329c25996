//! What contract and domain promise of the state, seen from outside.

use proptest::prelude::*;

use super::*;
use crate::execution::{CommandArn, ExecutionId, Scope, TargetArn};

const START: Timestamp = Timestamp::from_millis(1_000_000);
const STALENESS: i64 = 600_000;

fn at(seconds: i64) -> Timestamp {
    START.checked_add_seconds(seconds).unwrap()
}

fn key(name: &str) -> ExecutionKey {
    let target = TargetArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:thing/{name}")).unwrap();
    ExecutionKey { target, id: ExecutionId::parse("e1").unwrap() }
}

fn answer(status: Status) -> Snapshot {
    Snapshot {
        command: CommandArn::parse("arn:aws:iot:eu-central-1:123456789012:command/reboot").ok(),
        reason: Reason::new("BUSY"),
        created: Some(START),
        timeout_seconds: Some(60),
        ..Snapshot::with_status(status)
    }
}

fn done(status: Status) -> Snapshot {
    Snapshot { completed: Some(at(30)), ..answer(status) }
}

fn failure(reason: FailureReason) -> Result<Snapshot, Failure> {
    Err(Failure::new(reason, ""))
}

/// What a scrape shows of the only execution: whether its data, why polling fails, and when it last did not.
fn shown(store: &Store, now: Timestamp) -> (bool, Option<FailureReason>, Option<Timestamp>) {
    let view = store.view();
    let (_, execution) = view.executions(0, 0).next().unwrap();
    (execution.is_shown(now, STALENESS), execution.failure(), execution.last_success())
}

fn counted(store: &Store) -> Vec<(u64, u64)> {
    let view = store.view();
    let command = view.command(0).expect("the command is known");
    command.ends().map(|(_, ends)| (ends.count, ends.revised)).collect()
}

#[test]
fn a_transient_failure_keeps_the_data_and_a_success_clears_it() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    assert_eq!(shown(&store, at(0)), (false, None, None));

    let first = store.record(slot, &Ok(answer(Status::Created)), at(1)).unwrap();
    assert_eq!((first.previous_status, first.previous_failure, first.state), (None, None, State::Open));
    for reason in FailureReason::ALL.into_iter().filter(|reason| *reason != FailureReason::NotFound) {
        store.record(slot, &failure(reason), at(2)).unwrap();
        assert_eq!(shown(&store, at(2)), (true, Some(reason), Some(at(1))));
    }
    let again = store.record(slot, &Ok(answer(Status::InProgress)), at(3)).unwrap();
    assert_eq!((again.previous_status, again.previous_failure), (Some(Status::Created), Some(FailureReason::Unknown)));
    assert_eq!(shown(&store, at(3)), (true, None, Some(at(3))));
    assert_eq!(store.snapshot(slot), Some(answer(Status::InProgress)));
}

#[test]
fn two_404_in_a_row_hide_the_data_whatever_lies_between_but_a_success() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    let record = |outcome: &Result<Snapshot, Failure>| store.record(slot, outcome, at(1)).unwrap();
    let (ok, not_found) = (Ok(answer(Status::Created)), failure(FailureReason::NotFound));

    for _ in 0..3 {
        record(&ok);
        assert!(!record(&not_found).data_dropped);
        assert!(shown(&store, at(1)).0, "flapping shows the data");
    }
    record(&failure(FailureReason::Throttled));
    let second = record(&not_found);
    assert!(second.data_dropped && second.state == State::NotFound);
    assert_eq!(shown(&store, at(1)), (false, Some(FailureReason::NotFound), Some(at(1))));
    assert!(!record(&not_found).data_dropped, "once");
    record(&failure(FailureReason::Timeout));
    assert_eq!(shown(&store, at(1)), (false, Some(FailureReason::Timeout), Some(at(1))), "they do not come back so");
    record(&ok);
    assert_eq!(shown(&store, at(1)), (true, None, Some(at(1))));
}

#[test]
fn a_404_before_any_success_is_no_loss() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    let states = [State::Unpolled, State::NotFound].map(|state| {
        let recorded = store.record(slot, &failure(FailureReason::NotFound), at(1)).unwrap();
        recorded.state == state && !recorded.data_dropped
    });
    assert_eq!(states, [true, true]);
}

#[test]
fn open_data_go_stale_and_terminal_data_stay() {
    for (snapshot, stays) in [
        (answer(Status::Created), false),
        (answer(Status::InProgress), false),
        (answer(Status::Unknown), false),
        (answer(Status::TimedOut), false), // set by the service
        (done(Status::TimedOut), true),
        (done(Status::Succeeded), true),
        (answer(Status::Failed), true),
        (done(Status::Rejected), true),
    ] {
        let store = Store::new(START);
        let slot = store.track(&key("a"), &[]);
        store.record(slot, &Ok(snapshot.clone()), at(0)).unwrap();
        assert!(shown(&store, at(600)).0, "{snapshot:?}");
        assert_eq!(shown(&store, at(601)).0, stays, "{snapshot:?}");
        assert!(shown(&store, Timestamp::from_millis(i64::MIN)).0, "a clock that jumps back hides nothing");
    }
}

#[test]
fn older_answers_are_successes_but_their_data_are_not_kept() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    store.record(slot, &Ok(done(Status::Succeeded)), at(1)).unwrap();
    let late = store.record(slot, &Ok(answer(Status::InProgress)), at(2)).unwrap();
    assert!(late.outdated && late.state == State::Terminal);
    assert_eq!(store.snapshot(slot), Some(done(Status::Succeeded)));
    assert_eq!(shown(&store, at(2)), (true, None, Some(at(2))));
}

#[test]
fn counters_start_at_zero_and_count_what_is_seen() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    store.record(slot, &Ok(answer(Status::Created)), at(1)).unwrap();
    assert_eq!(counted(&store), [(0, 0); 4], "as soon as the command is known");
    store.record(slot, &Ok(answer(Status::TimedOut)), at(61)).unwrap();
    store.record(slot, &Ok(answer(Status::TimedOut)), at(62)).unwrap();
    assert_eq!(counted(&store), [(0, 0), (0, 0), (0, 0), (1, 0)]);
    let late = Snapshot { completed: Some(at(90)), ..answer(Status::Succeeded) };
    store.record(slot, &Ok(late.clone()), at(91)).unwrap();
    store.record(slot, &Ok(late), at(92)).unwrap();
    assert_eq!(counted(&store), [(1, 1), (0, 0), (0, 0), (1, 0)], "the late report and the revision");

    let before = Snapshot { created: Some(at(-60)), completed: Some(at(-1)), ..answer(Status::Failed) };
    let slot = store.track(&key("b"), &[]);
    store.record(slot, &Ok(before), at(1)).unwrap();
    assert_eq!(counted(&store)[1], (0, 0), "a restart does not count the past again");
    let view = store.view();
    let ends: Vec<_> = view.command(0).unwrap().ends().map(|(_, ends)| ends.clone()).collect();
    assert_eq!((ends[0].buckets[6], ends[0].sum_millis), (1, 90_000), "90 s lie in the bucket of 120 s");
    assert_eq!(ends[3].sum_millis, 60_000, "a service time-out without more ends at its deadline");
}

#[test]
fn an_answer_without_the_command_leaves_the_one_known() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    store.record(slot, &Ok(Snapshot { command: None, ..answer(Status::Created) }), at(1)).unwrap();
    assert!(store.view().command(0).is_none() && shown(&store, at(1)).0);
    store.record(slot, &Ok(answer(Status::Created)), at(2)).unwrap();
    store.record(slot, &Ok(Snapshot { command: None, ..done(Status::Failed) }), at(40)).unwrap();
    assert_eq!(store.snapshot(slot), Some(done(Status::Failed)));
    assert_eq!(counted(&store)[1], (1, 0));
}

#[test]
fn untracking_removes_everything_and_voids_the_slot() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[]);
    store.record(slot, &Ok(done(Status::Failed)), at(40)).unwrap();
    store.untrack(slot);
    store.untrack(slot);
    assert!(store.is_empty() && store.find(&key("a")).is_none() && store.view().executions(0, 0).next().is_none());
    assert_eq!(counted(&store)[1], (1, 0), "what was counted of its command stays");
    store.forget_unused_commands();
    assert!(store.view().command(0).is_none());

    let other = store.track(&key("b"), &[]);
    assert_eq!(store.record(slot, &Ok(answer(Status::Created)), at(41)), None, "a poll that was under way");
    assert_eq!((store.state(other), store.state(slot), store.key(slot)), (Some(State::Unpolled), None, None));
}

#[test]
fn tracking_again_relabels_and_keeps_the_observation() {
    let store = Store::new(START);
    let slot = store.track(&key("a"), &[("site", "berlin")]);
    store.record(slot, &Ok(answer(Status::Created)), at(1)).unwrap();
    assert_eq!(store.track(&key("a"), &[("site", "wien \"west\"")]), slot);
    let view = store.view();
    let (_, execution) = view.executions(0, 0).next().unwrap();
    let labels =
        r#"account_id="123456789012",region="eu-central-1",target="thing/a",execution_id="e1",site="wien \"west\"""#;
    assert_eq!(execution.labels(), labels);
    assert_eq!(execution.target_arn(), ("arn:aws:iot:eu-central-1:123456789012:", "thing/a"));
    assert_eq!((store.state(slot), store.key(slot), store.len()), (Some(State::Open), Some(key("a")), 1));
}

#[test]
fn tallies_tell_states_and_the_oldest_open_observation() {
    let store = Store::new(START);
    let slots: Vec<Slot> = ["a", "b", "c", "d", "e"].iter().map(|name| store.track(&key(name), &[])).collect();
    store.record(slots[0], &Ok(answer(Status::Created)), at(7)).unwrap();
    store.record(slots[1], &Ok(answer(Status::TimedOut)), at(5)).unwrap();
    store.record(slots[2], &Ok(done(Status::Failed)), at(1)).unwrap();
    for _ in 0..2 {
        store.record(slots[3], &failure(FailureReason::NotFound), at(1)).unwrap();
    }
    let scope = Scope::new("123456789012", "eu-central-1").unwrap();
    let expected =
        Tallies { unpolled: 1, open: 2, terminal: 1, not_found: 1, oldest_open: [(scope, Some(at(7)))].into() };
    assert_eq!(store.view().tallies(), expected);
    let counts = store.view().count_by_status(at(605), STALENESS);
    assert_eq!(counts, [[1, 0, 0, 1, 0, 1, 0]]);
    assert_eq!(store.view().count_by_status(at(606), STALENESS), [[1, 0, 0, 1, 0, 0, 0]]);
}

#[test]
fn a_view_keeps_its_moment() {
    let store = Store::new(START);
    let slots: Vec<Slot> = (0..600).map(|i| store.track(&key(&format!("t{i}")), &[])).collect();
    let view = store.view();
    for slot in &slots {
        store.record(*slot, &Ok(answer(Status::Created)), at(1)).unwrap();
        store.untrack(*slot);
    }
    let all = (0..view.pages()).flat_map(|page| view.executions(page, 0));
    let untouched = all.filter(|(_, execution)| execution.last_success().is_none() && execution.labels().contains("t"));
    assert_eq!(untouched.count(), 600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Against the plainest model: a map from key to labels.
    #[test]
    fn the_index_agrees_with_a_map(steps in proptest::collection::vec((0..400_u32, 0..3_u8), 0..1500)) {
        let store = Store::new(START);
        let mut model = std::collections::BTreeMap::new();
        for (name, step) in steps {
            let (key, site) = (key(&format!("t{name}")), step.to_string());
            if step == 0 {
                if let Some(slot) = model.remove(&key) {
                    store.untrack(slot);
                }
            } else {
                let slot = store.track(&key, &[("site", &site)]);
                prop_assert!(model.insert(key, slot).is_none_or(|before| before == slot));
            }
        }
        prop_assert_eq!(store.len(), model.len());
        for (key, slot) in &model {
            prop_assert_eq!(store.find(key), Some(*slot));
            prop_assert_eq!(store.key(*slot), Some(key.clone()));
        }
        let view = store.view();
        let seen: usize = (0..view.pages()).map(|page| view.executions(page, 0).count()).sum();
        prop_assert_eq!(seen, model.len());
    }
}
