use super::*;

const INTERVAL: Duration = Duration::from_secs(30);
const OPEN: Observed = Observed::Open { until_deadline: None };

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn slot(index: u32) -> Slot {
    Slot::new(index, 0)
}

fn one() -> Schedule {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    schedule.track(slot(0), INTERVAL, at(0.0));
    assert_eq!(schedule.next(at(0.0)), Next::Poll { slot: slot(0), late: Duration::ZERO });
    schedule.polled(slot(0), OPEN, 1.0, at(0.0));
    schedule
}

fn next_after(observed: Observed) -> Next {
    let mut schedule = one();
    assert!(matches!(schedule.next(at(30.0)), Next::Poll { .. }));
    schedule.polled(slot(0), observed, 1.0, at(30.0));
    schedule.next(at(30.0))
}

#[test]
fn the_next_poll_depends_on_what_was_seen() {
    let cases = [
        (OPEN, Next::At(at(60.0))),
        (Observed::Open { until_deadline: Some(10_000) }, Next::At(at(41.0))),
        (Observed::Open { until_deadline: Some(29_500) }, Next::At(at(60.0))),
        (Observed::Open { until_deadline: Some(-1_000) }, Next::At(at(32.0))),
        (Observed::Open { until_deadline: Some(-8_000) }, Next::At(at(38.0))),
        (Observed::Open { until_deadline: Some(-3_600_000) }, Next::At(at(60.0))),
        (Observed::Open { until_deadline: Some(i64::MIN) }, Next::At(at(60.0))),
        (Observed::Open { until_deadline: Some(i64::MAX) }, Next::At(at(60.0))),
        (Observed::TimedOut, Next::At(at(330.0))),
        (Observed::NotFound, Next::At(at(60.0))),
        (Observed::Failed, Next::At(at(60.0))),
        (Observed::Final, Next::Idle),
    ];
    for (observed, next) in cases {
        assert_eq!(next_after(observed), next, "{observed:?}");
    }
}

#[test]
fn what_was_overdue_long_before_the_start_is_nothing_urgent() {
    let mut schedule = one();
    schedule.next(at(30.0));
    schedule.polled(slot(0), Observed::Open { until_deadline: Some(-60_000) }, 1.0, at(30.0));
    assert_eq!(schedule.next(at(30.0)), Next::At(at(60.0)));
}

#[test]
fn service_time_outs_stay_fresher_than_the_limit_of_staleness() {
    let mut schedule = one();
    schedule.set_max_staleness(Duration::from_secs(100));
    schedule.next(at(30.0));
    schedule.polled(slot(0), Observed::TimedOut, 1.0, at(30.0));
    assert_eq!(schedule.next(at(30.0)), Next::At(at(80.0)));
}

#[test]
fn what_is_not_found_is_asked_less_and_less() {
    let mut schedule = one();
    let mut now = at(30.0);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert!(matches!(schedule.next(now), Next::Poll { .. }));
        schedule.polled(slot(0), Observed::NotFound, 1.0, now);
        let Next::At(due) = schedule.next(now) else { panic!("it is planned") };
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [30, 60, 120, 240, 300, 300, 300]);
}

#[test]
fn a_failed_poll_keeps_the_aim_at_the_deadline() {
    let mut schedule = one();
    schedule.next(at(30.0));
    schedule.polled(slot(0), Observed::Open { until_deadline: Some(40_000) }, 1.0, at(30.0));
    assert_eq!(schedule.next(at(60.0)), Next::Poll { slot: slot(0), late: Duration::ZERO });
    schedule.polled(slot(0), Observed::Failed, 1.0, at(60.0));
    assert_eq!(schedule.next(at(60.0)), Next::At(at(71.0)));
}

#[test]
fn one_that_is_being_polled_or_was_removed_is_not_returned() {
    let mut schedule = one();
    assert!(matches!(schedule.next(at(31.0)), Next::Poll { late, .. } if late == at(1.0)));
    assert_eq!(schedule.next(at(500.0)), Next::Idle);
    schedule.polled(slot(0), OPEN, 1.0, at(500.0));
    schedule.track(slot(1), INTERVAL, at(500.0));
    schedule.untrack(slot(1));
    schedule.untrack(slot(0));
    assert_eq!((schedule.next(at(900.0)), schedule.unasked()), (Next::Idle, 0));
    schedule.polled(slot(0), OPEN, 1.0, at(900.0));
    assert_eq!(schedule.next(at(9_000.0)), Next::Idle);
    assert!(schedule.is_empty());
}

/// The next polls, all due at this time.
fn order(schedule: &mut Schedule, now: Duration, count: usize) -> Vec<u32> {
    let one = |_| match schedule.next(now) {
        Next::Poll { slot, .. } => slot.index(),
        other => panic!("{other:?}"),
    };
    (0..count).map(one).collect()
}

/// 0 is to be refreshed at 30 s, 1 to be asked at its deadline at 5 s, 2 and 3 were seen by a listing, open and
/// ended, and 4 to 9 are new.
fn one_of_each() -> Schedule {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    for index in 0..10 {
        schedule.track(slot(index), INTERVAL, at(f64::from(index) / 100.0));
    }
    assert_eq!(order(&mut schedule, at(0.01), 2), [0, 1]);
    schedule.polled(slot(0), OPEN, 1.0, at(0.0));
    schedule.polled(slot(1), Observed::Open { until_deadline: Some(4_000) }, 1.0, at(0.0));
    schedule.sighted(slot(2), OPEN, INTERVAL, at(1.0));
    schedule.sighted(slot(3), Observed::Final, INTERVAL, at(1.0));
    schedule
}

#[test]
fn deadlines_go_first_then_new_ones_details_refreshes_and_records() {
    assert_eq!(order(&mut one_of_each(), at(55.0), 10), [1, 4, 5, 6, 7, 8, 9, 2, 0, 3]);
    assert_eq!(order(&mut one_of_each(), at(70.0), 10), [1, 4, 5, 6, 7, 8, 9, 0, 2, 3], "the refresh is late");
    let stale = order(&mut one_of_each(), at(580.0), 10);
    assert_eq!(stale, [1, 0, 4, 5, 6, 7, 8, 9, 2, 3], "after three others, one that is about to get stale");
}

#[test]
fn nothing_is_starved() {
    let mut schedule = one_of_each();
    for index in 100..200 {
        schedule.track(slot(index), INTERVAL, at(1.0));
    }
    let order = order(&mut schedule, at(2.0), 30);
    assert_eq!(order.iter().position(|index| *index == 3), Some(13), "every sixteenth, the two first calls counted");
}

#[test]
fn neighbours_are_asked_far_apart() {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    for index in 0..1000 {
        schedule.track(slot(index), INTERVAL, at(0.0));
    }
    let order = order(&mut schedule, at(0.0), 1000);
    let close = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
    assert_eq!(close, 0, "{order:?}");
}

#[test]
fn an_end_that_a_listing_has_told_cancels_the_poll() {
    let mut schedule = one();
    schedule.sighted(slot(0), Observed::Final, INTERVAL, at(10.0));
    assert_eq!(schedule.next(at(1000.0)), Next::Idle);
}

#[test]
fn what_listings_cover_is_asked_at_its_deadline_and_else_seldom() {
    let mut schedule = one();
    let open = Observed::Open { until_deadline: Some(200_000) };
    schedule.sighted(slot(0), open, Duration::from_secs(540), at(10.0));
    assert_eq!(schedule.next(at(10.0)), Next::At(at(211.0)));
    schedule.sighted(slot(0), OPEN, Duration::from_secs(540), at(10.0));
    assert_eq!(schedule.next(at(10.0)), Next::At(at(550.0)));
    schedule.uncovered(slot(0), 0.5, at(20.0));
    assert_eq!(schedule.next(at(20.0)), Next::At(at(35.0)));
    let overdue = Observed::Open { until_deadline: Some(-8_000) };
    schedule.sighted(slot(0), overdue, Duration::from_secs(540), at(20.0));
    assert_eq!(schedule.next(at(20.0)), Next::At(at(28.0)), "a listing of ends does not show it");
}

#[test]
fn an_overdue_refresh_does_not_miss_the_deadline() {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    schedule.track(slot(0), INTERVAL, at(0.0));
    schedule.track(slot(1), INTERVAL, at(0.0));
    order(&mut schedule, at(0.0), 2);
    schedule.polled(slot(0), OPEN, 0.5, at(0.0));
    schedule.polled(slot(1), Observed::Open { until_deadline: Some(60_000) }, 1.0, at(0.0));
    assert_eq!(order(&mut schedule, at(61.0), 2), [1, 0], "both are late, and one has just passed its deadline");
    assert_eq!(schedule.next(at(900.0)), Next::Idle, "once");
}

#[test]
fn pressure_is_what_single_calls_cannot_do() {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    let pressure = |schedule: &Schedule, now: f64| {
        let Pressure { behind, crowded } = schedule.pressure(at(now), 2.0);
        (behind, crowded)
    };
    for index in 0..20 {
        schedule.track(slot(index), INTERVAL, at(0.0));
    }
    assert_eq!(pressure(&schedule, 0.0), (false, false), "ten seconds of calls");
    schedule.track(slot(20), INTERVAL, at(0.0));
    assert_eq!(pressure(&schedule, 0.0), (true, false));
    for index in order(&mut schedule, at(0.0), 21) {
        schedule.polled(slot(index), Observed::Open { until_deadline: Some(9_000) }, 1.0, at(0.0));
    }
    assert_eq!(pressure(&schedule, 9.9), (false, false));
    assert_eq!(pressure(&schedule, 10.0), (false, true), "more than two seconds of calls");
    order(&mut schedule, at(10.0), 17);
    assert_eq!(pressure(&schedule, 10.0), (false, false));
    schedule.polled(slot(0), OPEN, 1.0, at(20.0));
    assert_eq!((pressure(&schedule, 80.0), pressure(&schedule, 80.1)), ((false, false), (true, false)));
}

#[test]
fn the_second_poll_is_placed_within_the_interval() {
    let mut schedule = Schedule::new(Duration::from_secs(600));
    schedule.track(slot(0), INTERVAL, at(0.0));
    assert_eq!(schedule.unasked(), 1);
    schedule.next(at(0.0));
    schedule.polled(slot(0), OPEN, 0.5, at(0.0));
    assert_eq!(schedule.unasked(), 0);
    assert_eq!(schedule.next(at(0.0)), Next::At(at(15.0)));
}
