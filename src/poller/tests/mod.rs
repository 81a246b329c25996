//! The poller in front of a fake, on a paused clock: what is asked when, and what is kept of the answers.

mod fake;
mod listings;
mod simulation;

use std::collections::HashSet;
use std::time::Duration;

use crate::execution::{FailureReason, Reason, Snapshot, Status, Timestamp};
use crate::plan::Plan;
use crate::poller::Rate;
use crate::store::State;

use fake::{Act, Bench, WALL, ended, key, most_in_a_second, open, plan};

const HERE: &str = "eu-central-1";
const THERE: &str = "us-east-1";
const HOUR: f64 = 3600.0;

#[tokio::test(start_paused = true)]
async fn each_execution_has_its_own_interval() {
    let bench = Bench::new(|_| Act::ok(open()));
    let (often, seldom) = (key(HERE, 0), key(HERE, 1));
    bench.follow(plan([(often.clone(), 10), (seldom.clone(), 60)])).await;
    bench.until(605.0).await;
    for (key, interval) in [(often, 10.0), (seldom, 60.0)] {
        let pauses = bench.pauses(&key);
        assert!(pauses.len() >= 9 && pauses[0] >= interval / 10.0 && pauses[0] <= interval, "{pauses:?}");
        assert!(pauses[1..].iter().all(|pause| *pause == interval), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_at_the_start_never_exceed_the_rate() {
    let bench = Bench::new(|_| Act::ok(open()));
    bench.follow(plan((0..10_000).map(|number| (key(HERE, number), 30)))).await;
    assert!(!bench.progress.first_pass_done());
    bench.first_pass().await;
    // 9.5 calls a second; once the first answers are about to be too old, a quarter of them for refreshes.
    let took = bench.start.elapsed().as_secs_f64();
    assert!((1_200.0..1_250.0).contains(&took), "{took}");
    let asked = bench.asked();
    let times: Vec<Duration> = asked.iter().map(|asked| asked.at).collect();
    assert_eq!(most_in_a_second(&times), 10);
    assert_eq!(asked.iter().map(|asked| &asked.key).collect::<HashSet<_>>().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_are_bounded() {
    let bench = Bench::new(|_| Act::Answer(Duration::from_secs(5), Ok(open())));
    let mut plan = plan((0..100).map(|number| (key(HERE, number), 30)));
    plan.limits.concurrency = 4;
    bench.follow(plan).await;
    bench.until(300.0).await;
    assert_eq!(bench.most_in_flight(&key(HERE, 0).target.scope()), 4);
    let calls = bench.asked().len();
    assert!((230..=240).contains(&calls), "four in every five seconds: {calls}");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_slows_no_other() {
    let hanging = key(THERE, 0).target.scope();
    let bench = Bench::new(move |asked| if asked.key.target.scope() == hanging { Act::Hang } else { Act::ok(open()) });
    let all = [HERE, THERE].into_iter().flat_map(|region| (0..40).map(move |number| (key(region, number), 30)));
    bench.follow(plan(all)).await;
    bench.until(600.0).await;
    for number in 0..40 {
        let key = key(HERE, number);
        let pauses = bench.pauses(&key);
        assert!(pauses.len() >= 18 && pauses.iter().all(|pause| *pause <= 31.0), "{pauses:?}");
        assert!(bench.start.elapsed().as_secs_f64() - bench.times(&key).last().expect("asked") <= 31.0);
    }
    assert!(bench.progress.heartbeat_age() <= Duration::from_secs(1), "it hangs, and its lane is alive");
    assert_eq!(bench.failure(&key(THERE, 0)), Some(FailureReason::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ignores_its_timeout_is_cut_off() {
    let bench = Bench::new(|asked| if asked.before == 0 { Act::Hang } else { Act::ok(open()) });
    let key = key(HERE, 0);
    bench.follow(plan([(key.clone(), 30)])).await;
    bench.until(14.9).await;
    assert_eq!((bench.asked().len(), bench.failure(&key)), (1, None));
    bench.until(15.1).await;
    assert_eq!(bench.failure(&key), Some(FailureReason::Timeout));
    bench.until(46.0).await;
    assert_eq!((bench.state(&key), bench.failure(&key)), (Some(State::Open), None));
}

#[tokio::test(start_paused = true)]
async fn what_is_terminal_is_never_asked_again() {
    let bench = Bench::new(|asked| Act::ok(ended(Status::ENDS[asked.key.target.resource().len() % 4])));
    let keys = [1, 10, 100, 1000].map(|number| key(HERE, number));
    bench.follow(plan(keys.clone().map(|key| (key, 1)))).await;
    bench.until(HOUR).await;
    for key in keys {
        assert_eq!((bench.times(&key).len(), bench.state(&key)), (1, Some(State::Terminal)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_out_of_the_service_is_asked_for_more_slowly_until_the_device_reports() {
    let late = Snapshot { reason: Reason::new(Reason::NO_RESPONSE), status: Status::TimedOut, ..open() };
    let forgotten = Snapshot { expiration: Some(Timestamp::from_millis(WALL)), ..late.clone() };
    let odd = Snapshot { expiration: Some(Timestamp::from_millis(0)), ..open() };
    let bench = Bench::new(move |asked| match asked.key.target.resource() {
        "thing/t0" if asked.before < 4 => Act::ok(late.clone()),
        "thing/t0" => Act::ok(ended(Status::Succeeded)),
        "thing/t1" => Act::ok(forgotten.clone()),
        _ => Act::ok(odd.clone()),
    });
    let keys = [0, 1, 2].map(|number| key(HERE, number));
    bench.follow(plan(keys.clone().map(|key| (key, 20)))).await;
    bench.until(HOUR).await;
    let pauses = bench.pauses(&keys[0]);
    assert_eq!(pauses, [200.0; 4], "ten intervals");
    assert_eq!(bench.snapshot(&keys[0]).map(|snapshot| snapshot.status), Some(Status::Succeeded));
    assert_eq!(bench.times(&keys[1]).len(), 1, "past its expiry the service forgets it");
    assert!(bench.times(&keys[2]).len() > 170, "an open execution is open, whatever timeToLive says");
}

#[tokio::test(start_paused = true)]
async fn two_404_in_a_row_hide_the_data_and_it_may_come_back() {
    let bench = Bench::new(|asked| match asked.before {
        0 | 2 | 3 | 4 => Act::fail(FailureReason::NotFound),
        _ => Act::ok(open()),
    });
    let key = key(HERE, 0);
    bench.follow(plan([(key.clone(), 10)])).await;
    let mut states = Vec::new();
    for calls in 1..=6 {
        while bench.asked().len() < calls {
            assert!(bench.start.elapsed().as_secs_f64() < HOUR, "only {} calls", bench.asked().len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        states.push(bench.state(&key));
    }
    use State::{NotFound, Open, Unpolled};
    assert_eq!(states, [Unpolled, Open, Open, NotFound, NotFound, Open].map(Some));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_poll_is_a_failure_of_that_poll() {
    let bench = Bench::new(|asked| match (asked.key.target.resource(), asked.before) {
        ("thing/t0", 1) => Act::Panic,
        _ => Act::ok(open()),
    });
    let (broken, other) = (key(HERE, 0), key(HERE, 1));
    bench.follow(plan([(broken.clone(), 10), (other.clone(), 10)])).await;
    bench.until(5.0).await;
    assert_eq!((bench.times(&broken).len(), bench.failure(&broken)), (2, Some(FailureReason::Unknown)));
    assert_eq!(bench.state(&broken), Some(State::Open), "what was known stays");
    assert_eq!(bench.told(&["api_requests_total", r#"outcome="unknown""#, "} 1"]).len(), 1);
    bench.until(120.0).await;
    assert_eq!(bench.failure(&broken), None);
    assert_eq!(bench.pauses(&broken)[1..], [10.0; 11], "it is retried like any other");
    assert!(bench.pauses(&other)[1..].iter().all(|pause| *pause == 10.0));
}

#[tokio::test(start_paused = true)]
async fn throttling_lowers_the_rate_and_it_recovers() {
    let bench = Bench::new(|asked| match asked.at.as_secs() {
        300..360 => Act::fail(FailureReason::Throttled),
        _ => Act::ok(open()),
    });
    bench.follow(plan((0..200).map(|number| (key(HERE, number), 10)))).await;
    let calls = |from, to| bench.asked().iter().filter(|asked| (from..to).contains(&asked.at.as_secs())).count();
    bench.until(300.0).await;
    assert!((94..=96).contains(&calls(200, 210)), "{}", calls(200, 210));
    bench.until(360.0).await;
    assert!(calls(350, 360) <= 6, "{}", calls(350, 360));
    let Rate { configured, current, .. } = bench.progress.rates()[0].1[0];
    assert!(configured == 10.0 && current < 1.0, "{current}");
    bench.until(600.0).await;
    assert_eq!(bench.progress.rates()[0].1[0].current, 10.0);
    bench.until(620.0).await;
    assert!((94..=96).contains(&calls(610, 620)), "{}", calls(610, 620));
}

#[tokio::test(start_paused = true)]
async fn a_new_plan_adds_removes_and_relabels() {
    let bench = Bench::new(|_| Act::ok(open()));
    let [kept, removed, added] = [0, 1, 2].map(|number| key(HERE, number));
    bench.follow(plan([(kept.clone(), 10), (removed.clone(), 10)])).await;
    bench.until(100.0).await;
    let asked = (bench.times(&kept).len(), bench.times(&removed).len());
    let mut next = Plan { label_names: vec!["site".into()], ..plan([(kept.clone(), 50), (added.clone(), 10)]) };
    next.executions[0].labels = ["berlin".into()].into();
    next.executions[1].labels = ["osaka".into()].into();
    next.limits.get_requests_per_second = 2.5;
    bench.follow(next).await;
    assert_eq!((bench.state(&kept), bench.state(&removed)), (Some(State::Open), None), "what is known stays");
    let labels: Vec<String> = bench.store.view().all().map(|execution| execution.labels().to_owned()).collect();
    assert!(labels.iter().any(|labels| labels.ends_with(r#",site="berlin""#)), "{labels:?}");
    bench.until(400.0).await;
    assert_eq!(bench.times(&removed).len(), asked.1);
    assert_eq!(bench.times(&kept).len() - asked.0, 6, "within its old interval, then every 50 s");
    assert!(bench.times(&added).len() >= 29);
    assert_eq!(bench.progress.rates()[0].1[0].configured, 2.5);
}

#[tokio::test(start_paused = true)]
async fn a_raised_limit_does_not_wait_out_the_pause_of_the_old_one() {
    let bench = Bench::new(|_| Act::ok(open()));
    let executions = || (0..5).map(|number| (key(HERE, number), 30));
    let mut slow = plan(executions());
    slow.limits.get_requests_per_second = 0.001;
    bench.follow(slow).await;
    bench.until(10.0).await;
    assert_eq!(bench.asked().len(), 1);
    bench.follow(plan(executions())).await;
    bench.until(11.0).await;
    assert_eq!(bench.progress.rates()[0].1[0].configured, 10.0);
    assert!(bench.progress.first_pass_done());
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_in_mid_call_is_not_recorded() {
    let bench = Bench::new(|asked| match asked.before {
        0 => Act::Answer(Duration::from_secs(5), Ok(ended(Status::Failed))),
        _ => Act::Answer(Duration::from_secs(20), Ok(open())),
    });
    let (key, other) = (key(HERE, 0), key(HERE, 1));
    bench.follow(plan([(key.clone(), 10), (other.clone(), 10)])).await;
    bench.until(2.0).await;
    bench.follow(plan([(other.clone(), 10)])).await;
    bench.follow(plan([(key.clone(), 10), (other.clone(), 10)])).await;
    bench.until(11.0).await;
    assert_eq!(bench.state(&other), Some(State::Terminal));
    assert_eq!(bench.state(&key), Some(State::Unpolled), "the answer was to a question that was taken back");
    assert_eq!(bench.times(&key).len(), 2);
    bench.until(30.0).await;
    assert_eq!(bench.failure(&key), Some(FailureReason::Timeout), "that of the second question counts");
}

#[tokio::test(start_paused = true)]
async fn a_lane_ends_with_its_last_execution_and_a_new_one_begins() {
    let bench = Bench::new(|_| Act::ok(open()));
    let (here, there) = (key(HERE, 0), key(THERE, 0));
    let both = || plan([(here.clone(), 10), (there.clone(), 10)]);
    bench.follow(both()).await;
    bench.until(100.0).await;
    assert_eq!(bench.told(&["api_requests_total", THERE]).len(), 1);
    bench.follow(plan([(here.clone(), 10)])).await;
    let asked = bench.times(&there).len();
    bench.until(200.0).await;
    assert_eq!(bench.times(&there).len(), asked);
    assert_eq!((bench.told(&[THERE]), bench.progress.rates().len()), (vec![], 1));
    assert_eq!(bench.told(&["api_requests_total", HERE]).len(), 1);
    bench.follow(both()).await;
    bench.until(300.0).await;
    assert!(bench.times(&there).len() >= asked + 10);
    assert_eq!((bench.state(&there), bench.progress.rates().len()), (Some(State::Open), 2));
    bench.follow(plan([])).await;
    let asked = bench.asked().len();
    bench.until(400.0).await;
    assert_eq!((bench.asked().len(), bench.store.len()), (asked, 0));
    assert_eq!(bench.progress.heartbeat_age(), Duration::ZERO, "nobody is late where there is nothing to do");
}

#[tokio::test(start_paused = true)]
async fn the_panic_of_a_lane_ends_the_poller_also_after_another_lane_has_ended() {
    let bench = Bench::new(|_| Act::ok(open()));
    bench.follow(plan([(key(HERE, 0), 10), (key(THERE, 0), 10)])).await;
    bench.follow(plan([(key(HERE, 0), 10)])).await;
    bench.until(50.0).await;
    bench.break_the_wall_clock();
    let ended = tokio::time::timeout(Duration::from_secs(60), bench.ended()).await;
    assert!(ended.expect("it ends by itself").is_err());
}

#[tokio::test(start_paused = true)]
async fn once_asks_each_a_single_time() {
    let bench = Bench::once(|asked| match asked.key.target.resource() {
        "thing/t1" => Act::Panic,
        "thing/t2" => Act::Hang,
        "thing/t3" => Act::fail(FailureReason::NotFound),
        "thing/t4" => Act::ok(ended(Status::Succeeded)),
        _ => Act::ok(open()),
    });
    let all = [HERE, THERE].into_iter().flat_map(|region| (0..30).map(move |number| (key(region, number), 1)));
    bench.follow(plan(all)).await;
    assert!(!bench.progress.first_pass_done());
    bench.first_pass().await;
    assert_eq!(bench.failure(&key(HERE, 2)), Some(FailureReason::Timeout), "the slowest has been waited for");
    bench.until(HOUR).await;
    let asked = bench.asked();
    assert_eq!(asked.len(), 60);
    assert!(asked.iter().all(|asked| asked.before == 0));
}

#[tokio::test(start_paused = true)]
async fn an_empty_first_plan_is_done_at_once() {
    let bench = Bench::once(|_| Act::Hang);
    bench.follow(plan([])).await;
    assert!(bench.progress.first_pass_done());
}

#[tokio::test(start_paused = true)]
async fn jumps_of_the_wall_clock_do_not_matter() {
    let bench = Bench::new(|_| Act::ok(Snapshot { timeout_seconds: Some(1000), ..open() }));
    let key = key(HERE, 0);
    bench.follow(plan([(key.clone(), 30)])).await;
    for (at, jump) in [(100.0, HOUR), (200.0, -HOUR), (300.0, 1e9), (400.0, -1.7e9), (500.0, 0.0)] {
        bench.until(at).await;
        bench.jump((jump * 1000.0) as i64);
    }
    bench.until(600.0).await;
    let pauses = bench.pauses(&key);
    assert!(pauses.len() >= 19 && pauses[1..].iter().all(|pause| *pause == 30.0), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_aimed_at() {
    let bench = Bench::new(|asked| {
        let timed_out = asked.at > Duration::from_millis(100_500);
        let status = if timed_out { Status::TimedOut } else { Status::Created };
        Act::ok(Snapshot { timeout_seconds: Some(100), status, ..open() })
    });
    let key = key(HERE, 0);
    bench.follow(plan([(key.clone(), 60)])).await;
    bench.until(110.0).await;
    let last = bench.times(&key).last().copied().expect("asked");
    assert!((101.0..101.1).contains(&last), "{last}");
    assert_eq!(bench.snapshot(&key).map(|snapshot| snapshot.status), Some(Status::TimedOut));
}
