use super::*;

const INTERVAL: Duration = Duration::from_secs(30);
const MAX_STALENESS: Duration = Duration::from_secs(600);
const NOW: Timestamp = Timestamp::from_millis(10_000_000);
const CALM: Pressure = Pressure { behind: false, crowded: false };
const BEHIND: Pressure = Pressure { behind: true, crowded: false };
const CROWDED: Pressure = Pressure { behind: false, crowded: true };
const NOTHING: Seen = Seen { moved: 0, created: None, ended: None };

/// Listings, and the call under way.
struct Bench {
    listings: Listings,
    pressure: Pressure,
}

impl Bench {
    fn new() -> Self {
        Self { listings: Listings::new(MAX_STALENESS), pressure: CALM }
    }

    /// The next call at so many seconds, or at how many seconds there will be one. The wall clock goes along.
    fn next(&mut self, at: f64) -> Result<Call, Option<f64>> {
        let now = Duration::from_secs_f64(at);
        let now_at = Timestamp::from_millis(NOW.millis() + (at * 1000.0) as i64);
        let wake = |wake: Option<Duration>| wake.map(|due| due.as_secs_f64());
        self.listings.next(now, now_at, self.pressure).map_err(wake)
    }

    fn answer(&mut self, call: &Call, answer: Answer, at: f64) -> Vec<Slot> {
        self.listings.answered(call, answer, Duration::from_secs_f64(at))
    }

    /// A pass of so many pages, of which the last has shown this.
    fn pass(&mut self, at: f64, task: Task, pages: usize, seen: Seen) -> Call {
        let first = self.next(at).unwrap_or_else(|wake| panic!("no call at {at}, but at {wake:?}"));
        assert_eq!((first.task, &first.next_token), (task, &None), "at {at}");
        let mut call = first.clone();
        for page in 1..pages {
            self.answer(&call, Answer::Page(Some(format!("token {page}")), NOTHING), at);
            call = self.next(at).expect("the next page");
            assert_eq!((call.task, call.next_token.clone()), (task, Some(format!("token {page}"))));
        }
        self.answer(&call, Answer::Page(None, seen), at);
        first
    }

    fn open(&mut self, name: &str, slots: std::ops::Range<u32>) {
        for index in slots {
            self.watch(name, index, Kind::Open, None);
        }
    }

    fn watch(&mut self, name: &str, index: u32, kind: Kind, deadline: Option<i64>) {
        let deadline = deadline.map(Timestamp::from_millis);
        let watched = Watched { command: command(name), created: created(index), deadline, kind };
        self.listings.watch(Slot::new(index, 0), watched, INTERVAL);
    }

    fn close(&mut self, slots: std::ops::Range<u32>) {
        slots.for_each(|index| self.listings.closed(Slot::new(index, 0)));
    }

    fn covers(&self, index: u32, at: f64) -> Option<f64> {
        let within = self.listings.covers(Slot::new(index, 0), Duration::from_secs_f64(at));
        within.map(|within| within.as_secs_f64())
    }
}

fn command(name: &str) -> CommandArn {
    CommandArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:command/{name}")).expect("well-formed")
}

fn by(name: &str) -> ListBy {
    ListBy::Command(command(name))
}

fn created(index: u32) -> Timestamp {
    Timestamp::from_millis(9_000_000 + i64::from(index))
}

#[test]
fn a_command_is_listed_once_that_takes_fewer_calls() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1);
    assert_eq!(bench.next(0.0), Err(None), "one Get is as good as one page");
    bench.open("reboot", 1..90);
    let first = bench.next(0.0).expect("a call");
    assert_eq!((&first.by, first.task, first.finds), (&by("reboot"), Task::Started, None));
    let reach = Timestamp::from_millis(9_000_000 - 600_000);
    assert_eq!(first.since, Since::Started(reach), "what is created together may be older than the first one met");
    assert_eq!(bench.next(0.0), Err(None), "one page at a time");
    bench.answer(&first, Answer::Page(Some("+/=".into()), NOTHING), 1.0);
    let second = bench.next(1.0).expect("the next page");
    assert_eq!(second.next_token.as_deref(), Some("+/="));
    bench.answer(&second, Answer::Page(None, NOTHING), 2.0);
    assert_eq!(bench.covers(0, 2.0), Some(540.0), "nine tenths of max_staleness");
    let next = bench.pass(24.0, Task::Started, 2, NOTHING);
    assert_eq!(next.since, Since::Started(created(0)), "four fifths of an interval later, from the oldest open one on");
    let ends = bench.pass(48.0, Task::Ends, 1, NOTHING);
    assert!(matches!(ends.since, Since::Completed(_)), "and ends are listed in between");
}

#[test]
fn a_command_of_one_page_is_listed_whole() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..50);
    bench.pass(0.0, Task::Started, 1, NOTHING);
    assert_eq!(bench.next(1.0), Err(Some(24.0)));
    let again = bench.pass(24.0, Task::Started, 1, NOTHING);
    assert_eq!(again.since, Since::Started(created(0)), "from the oldest open one on");
    assert_eq!(bench.covers(0, 24.0), Some(540.0));
}

#[test]
fn whole_passes_are_as_rare_as_the_ended_are_many() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1000);
    bench.pass(0.0, Task::Started, 10, NOTHING);
    bench.close(200..1000);
    bench.pass(24.0, Task::Started, 10, NOTHING);
    // A fifth is open: whole passes five times as far apart, ends in between.
    for at in [48.0, 72.0, 96.0, 120.0] {
        bench.pass(at, Task::Ends, 1, NOTHING);
    }
    bench.pass(144.0, Task::Started, 10, NOTHING);
    assert_eq!(bench.next(145.0), Err(Some(168.0)), "it has shown the ends, too");
    bench.close(20..200);
    bench.pass(168.0, Task::Ends, 1, NOTHING);
    assert_eq!(bench.covers(0, 168.0), Some(540.0));
}

#[test]
fn whole_passes_that_show_much_are_not_rare() {
    let mut bench = Bench::new();
    let busy = Seen { moved: 50, ..NOTHING };
    bench.open("reboot", 0..1000);
    bench.pass(0.0, Task::Started, 10, busy);
    bench.close(100..1000);
    for at in [24.0, 48.0, 72.0] {
        bench.pass(at, Task::Started, 10, busy);
    }
    bench.pass(96.0, Task::Started, 10, Seen { moved: 1, ..NOTHING });
    // One page in ten has shown something, one in eight would be worth it: 24 s * 10 / 8. Until then ends can wait.
    assert_eq!(bench.next(120.0), Err(Some(126.0)));
}

#[test]
fn ends_are_listed_from_the_latest_that_was_known_when_the_last_pass_began() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1000);
    let ended = |millis| Seen { ended: Some(Timestamp::from_millis(millis)), ..NOTHING };
    let since = |call: Call| match call.since {
        Since::Completed(since) => since.millis(),
        other => panic!("{other:?}"),
    };
    bench.pass(0.0, Task::Started, 10, ended(9_900_000));
    bench.close(100..1000);
    bench.pass(24.0, Task::Started, 10, ended(9_950_000));
    assert_eq!(since(bench.pass(48.0, Task::Ends, 1, ended(9_970_000))), 9_900_000 - 20_000, "not the machine's clock");
    assert_eq!(since(bench.pass(72.0, Task::Ends, 1, ended(99_999_999))), 9_950_000 - 20_000);
    assert_eq!(since(bench.pass(96.0, Task::Ends, 1, NOTHING)), 9_970_000 - 20_000);
    assert_eq!(since(bench.pass(120.0, Task::Ends, 1, NOTHING)), 9_970_000 - 20_000, "nothing ends in the future");
}

#[test]
fn where_the_service_does_not_list_ends_whole_passes_do() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1000);
    bench.pass(0.0, Task::Started, 10, NOTHING);
    bench.close(100..1000);
    bench.pass(24.0, Task::Started, 10, NOTHING);
    let ends = bench.next(48.0).expect("a call");
    assert_eq!(ends.task, Task::Ends);
    assert_eq!(bench.answer(&ends, Answer::Invalid, 48.5), []);
    bench.pass(49.0, Task::Started, 10, NOTHING);
    assert_eq!(bench.next(50.0), Err(Some(73.0)), "once an interval");
    assert_eq!(bench.covers(0, 50.0), Some(540.0));
}

#[test]
fn few_open_among_many_ended_are_asked_one_by_one() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..3000);
    bench.pass(0.0, Task::Started, 30, NOTHING);
    bench.close(0..2997);
    assert_eq!(bench.covers(2999, 1.0), None, "a listing of ends and a share of thirty pages save nothing");
    assert_eq!(bench.next(60.0), Err(None));
}

#[test]
fn few_are_listed_where_single_calls_are_behind() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1);
    bench.open("update", 10..13);
    assert_eq!(bench.next(0.0), Err(None), "five Gets are better than a page");
    bench.pressure = BEHIND;
    let calls = [bench.next(0.0), bench.next(0.0)].map(|call| call.expect("both are listed once, to see"));
    for call in &calls {
        bench.answer(call, Answer::Page(None, NOTHING), 0.5);
    }
    assert_eq!(bench.pass(24.5, Task::Started, 1, NOTHING).by, by("update"), "two and more share a page");
    assert_eq!((bench.covers(0, 25.0), bench.covers(10, 25.0)), (None, Some(540.0)));
}

#[test]
fn time_outs_of_the_service_are_listed_seldom_and_late_reports_sooner() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..300);
    bench.pass(0.0, Task::Started, 3, NOTHING);
    for index in 0..300 {
        bench.watch("reboot", index, Kind::TimedOut, None);
    }
    assert_eq!(bench.covers(0, 0.0), Some(540.0));
    for at in [150.0, 300.0] {
        bench.pass(at, Task::Ends, 1, NOTHING);
    }
    assert_eq!(bench.next(450.0), Err(Some(480.0)), "the whole pass is as good as due");
    bench.pass(480.0, Task::Started, 3, NOTHING);
    bench.close(0..300);
    assert_eq!(bench.next(2000.0), Err(None), "nothing can change any more");
}

#[test]
fn a_throttled_page_is_asked_for_again_and_the_pass_goes_on() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..300);
    bench.pass(0.0, Task::Started, 3, NOTHING);
    let first = bench.next(24.0).expect("a call");
    assert_eq!(bench.answer(&first, Answer::Throttled, 25.0), []);
    assert_eq!(bench.next(25.0), Ok(first));
    assert!(bench.covers(0, 25.0).is_some());
}

#[test]
fn one_failure_is_forgiven_and_two_uncover() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..50);
    bench.pass(0.0, Task::Started, 1, NOTHING);
    let call = bench.next(24.0).expect("a call");
    assert_eq!(bench.answer(&call, Answer::Failed, 25.0), []);
    assert!(bench.covers(0, 25.0).is_some());
    assert_eq!(bench.next(26.0), Err(Some(49.0)), "it is tried again when the next one would be due");
    let call = bench.next(49.0).expect("a call");
    assert_eq!(bench.answer(&call, Answer::Failed, 56.0).len(), 50, "they are to be asked for one by one");
    assert_eq!(bench.next(57.0), Err(Some(86.0)), "it is left alone for a while");
    assert_eq!(bench.covers(0, 56.0), None);
    let call = bench.next(86.0).expect("a call");
    assert_eq!(bench.answer(&call, Answer::Failed, 87.0), [], "that is known");
    bench.pass(117.0, Task::Started, 1, NOTHING);
    assert!(bench.covers(0, 117.0).is_some());
}

#[test]
fn a_refusal_speaks_for_all_where_nothing_was_ever_allowed() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..50);
    bench.open("update", 50..100);
    let call = bench.next(0.0).expect("a call");
    assert_eq!(bench.answer(&call, Answer::Refused, 1.0).len(), 100);
    assert_eq!((bench.covers(0, 2.0), bench.covers(50, 2.0)), (None, None));
    assert_eq!(bench.next(2.0), Err(Some(601.0)));
    bench.pass(601.0, Task::Started, 1, NOTHING);
    let other = bench.next(602.0).expect("a call");
    assert_eq!(bench.answer(&other, Answer::Refused, 602.5).len(), 50);
    assert_eq!(bench.next(603.0), Err(Some(625.0)), "one command may be allowed and another not");
    assert_eq!([0, 50].map(|index| bench.covers(index, 603.0)), [Some(540.0), None]);
}

#[test]
fn a_sweep_follows_the_deadlines() {
    let mut bench = Bench::new();
    let deadline = |index: u32| 10_060_000 + i64::from(index) * 100;
    bench.open("reboot", 100..1000);
    for index in 0..100 {
        bench.watch("reboot", index, Kind::Open, Some(deadline(index)));
    }
    bench.pass(0.0, Task::Started, 10, NOTHING);
    bench.pass(24.0, Task::Started, 10, NOTHING);
    bench.pass(48.0, Task::Started, 10, NOTHING);
    bench.pressure = CROWDED;
    assert!(bench.next(61.4).is_err(), "five have passed by more than a second");
    let first = bench.next(61.6).expect("a call");
    assert_eq!((first.task, first.since), (Task::Sweep, Since::Started(created(0))));
    let seen = Seen { created: Some(created(19)), ..NOTHING };
    bench.answer(&first, Answer::Page(Some("a".into()), seen), 61.7);
    bench.close(0..7);
    bench.pressure = CALM;
    assert!(bench.next(63.4).is_err(), "the next page would show five whose deadline has passed");
    let second = bench.next(63.6).expect("six deadlines beyond the first page have passed");
    assert_eq!((second.task, second.next_token.as_deref()), (Task::Sweep, Some("a")));
    bench.answer(&second, Answer::Page(Some("b".into()), Seen { created: Some(created(999)), ..NOTHING }), 63.7);
    bench.pass(73.8, Task::Started, 10, NOTHING);
    bench.pressure = CROWDED;
    assert_eq!(bench.next(73.9).expect("a call").next_token, None, "a sweep that has waited in vain begins anew");
}

#[test]
fn a_discovery_reaches_back_once_and_then_only_to_its_last_pass() {
    let mut bench = Bench::new();
    let lookout = Lookout { interval: INTERVAL, lookback: Duration::from_secs(5_000) };
    bench.listings.set_lookouts([(by("reboot"), lookout)]);
    assert_eq!(bench.listings.unfinished(), 1);
    let first = bench.pass(0.0, Task::Started, 1, NOTHING);
    let back = Timestamp::from_millis(5_000_000);
    assert_eq!((first.since, first.finds), (Since::Started(back), Some(back)));
    assert_eq!(bench.listings.unfinished(), 0);
    let again = Timestamp::from_millis(10_000_000 - 120_000);
    let second = bench.pass(30.0, Task::Started, 1, NOTHING);
    assert_eq!((second.since, second.finds), (Since::Started(again), Some(again)));
    bench.listings.set_lookouts([]);
    assert_eq!(bench.next(90.0), Err(None));
}

#[test]
fn a_discovery_that_fails_is_left_alone_for_a_while() {
    let mut bench = Bench::new();
    let lookout = Lookout { interval: INTERVAL, lookback: Duration::from_secs(100) };
    bench.listings.set_lookouts([(by("reboot"), lookout)]);
    let call = bench.next(0.0).expect("a call");
    assert_eq!(bench.answer(&call, Answer::Failed, 1.0), []);
    assert_eq!(bench.next(2.0), Err(Some(31.0)));
    assert_eq!(bench.listings.unfinished(), 0, "nobody waits for it");
}

#[test]
fn a_discovery_and_a_whole_pass_are_one() {
    let mut bench = Bench::new();
    let lookout = Lookout { interval: INTERVAL, lookback: Duration::from_secs(100) };
    bench.listings.set_lookouts([(by("reboot"), lookout)]);
    bench.open("reboot", 0..50);
    let first = bench.pass(0.0, Task::Started, 1, NOTHING);
    assert_eq!(first.since, Since::Started(Timestamp::from_millis(9_000_000 - 600_000)));
    assert_eq!(first.finds, Some(Timestamp::from_millis(9_900_000)));
    assert_eq!(bench.next(1.0), Err(Some(24.0)));
}

#[test]
fn what_must_be_done_first_goes_first() {
    let mut bench = Bench::new();
    bench.open("reboot", 0..1000);
    bench.pass(0.0, Task::Started, 10, NOTHING);
    bench.close(200..1000);
    bench.pass(24.0, Task::Started, 10, NOTHING);
    for at in [48.0, 72.0, 96.0, 120.0] {
        bench.pass(at, Task::Ends, 1, NOTHING);
    }
    // A whole pass that takes its time is overtaken by the ends of another command.
    let whole = bench.next(144.0).expect("a call");
    bench.answer(&whole, Answer::Page(Some("2".into()), NOTHING), 145.0);
    bench.open("update", 1000..1050);
    assert_eq!(bench.next(145.0).expect("a call").by, by("update"), "it was never listed");
    let call = bench.next(145.0).expect("a call");
    assert_eq!((call.task, call.next_token.as_deref()), (Task::Started, Some("2")));
    bench.answer(&call, Answer::Page(Some("3".into()), NOTHING), 170.0);
    assert_eq!(bench.next(170.0).expect("a call").task, Task::Ends, "and by its own, which take one page");
}
