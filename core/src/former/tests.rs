//! Tables for each rule, and properties for all of them at once.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::meta::CallMeta;

const WINDOW: Duration = Duration::from_millis(100);

fn policy(batch_size: usize, when_idle: WhenIdle) -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(NonZeroUsize::new(batch_size).unwrap())
        .batch_time(WINDOW)
        .when_idle(when_idle)
}

/// A request, by a number.
type Request = Delivery<(), u32>;

/// A clock of milliseconds, which starts late enough to subtract from.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn at(self, millis: u64) -> Instant {
        self.0 + Duration::from_millis(millis)
    }

    fn sent(self, number: u32, at: u64) -> Request {
        let meta = CallMeta::sent_at(self.at(at), Duration::from_secs(10));
        Delivery::new(Ok(()), number, meta)
    }
}

fn numbers(requests: impl Iterator<Item = Request>) -> Vec<u32> {
    requests.map(|request| request.ticket).collect()
}

/// What it is about, when idle, when requests were sent, an instance is free, expected.
type Case = (&'static str, WhenIdle, &'static [u64], bool, Step);

#[test]
fn each_rule_decides_as_it_says() {
    use WhenIdle::{Run, Wait};
    let clock = Clock::new();
    let full = Step::Run(CloseReason::Full);
    let idle = Step::Run(CloseReason::Idle);
    let at = |millis| Step::RunAt(clock.at(millis));
    let cases: [Case; 9] = [
        ("nothing waits", Wait, &[], true, Step::Wait),
        ("nothing waits", Run, &[], true, Step::Wait),
        ("waits for company", Wait, &[0], true, at(100)),
        ("the oldest counts", Wait, &[50, 10], true, at(110)),
        ("full", Wait, &[0, 0, 0], true, full),
        ("full, before idle", Run, &[0, 0, 0], true, full),
        ("idle runs at once", Run, &[0], true, idle),
        ("busy: the batch grows", Run, &[0], false, Step::Wait),
        ("busy: even when full", Wait, &[0, 0, 0], false, Step::Wait),
    ];
    for (about, when_idle, sent, free, expected) in cases {
        let mut former = Former::new(&policy(3, when_idle));
        (0..)
            .zip(sent)
            .for_each(|(value, sent)| former.append(&mut vec![clock.sent(value, *sent)]));
        assert_eq!(former.step(free), expected, "{about}");
    }
}

#[test]
fn closing_runs_what_is_there() {
    let clock = Clock::new();
    let mut former = Former::new(&policy(3, WhenIdle::Wait));
    former.append(&mut vec![clock.sent(1, 0)]);
    former.close();
    assert_eq!(former.step(true), Step::Run(CloseReason::Drain));
    assert_eq!(numbers(former.take(CloseReason::Drain)), [1]);
    assert_eq!(former.step(true), Step::Wait);
}

#[test]
fn a_window_of_zero_waits_for_nobody() {
    let clock = Clock::new();
    let mut former = Former::new(&policy(3, WhenIdle::Wait).batch_time(Duration::ZERO));
    former.append(&mut vec![clock.sent(1, 0)]);
    assert_eq!(former.step(true), Step::RunAt(clock.at(0)));
}

#[test]
fn a_last_attempt_runs_alone_at_once_and_the_others_wait_on() {
    let clock = Clock::new();
    let mut former = Former::new(&policy(3, WhenIdle::Wait));
    former.append(&mut vec![clock.sent(1, 0)]);
    let mut last = clock.sent(2, 0);
    last.meta = last.meta.attempt(3, true);
    former.append(&mut vec![last]);
    former.append(&mut vec![clock.sent(3, 0)]);
    assert_eq!(former.room(), 0);
    assert_eq!(former.step(true), Step::Run(CloseReason::LastAttempt));
    assert_eq!(numbers(former.take(CloseReason::LastAttempt)), [2]);
    assert_eq!(former.step(true), Step::RunAt(clock.at(100)));
}

#[test]
fn what_is_gone_leaves_room_and_takes_its_window_with_it() {
    let clock = Clock::new();
    let mut former = Former::new(&policy(3, WhenIdle::Wait));
    former.append(&mut vec![clock.sent(1, 0)]);
    former.append(&mut vec![clock.sent(2, 60)]);
    former.append(&mut vec![clock.sent(3, 60)]);
    assert_eq!(former.step(true), Step::Run(CloseReason::Full));
    let gone = former.remove_gone(clock.at(100), |value| *value == 1);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].1, NotRun::Abandoned);
    assert_eq!(former.room(), 1);
    assert_eq!(former.step(true), Step::RunAt(clock.at(160)));
}

#[test]
fn what_has_expired_is_removed() {
    let clock = Clock::new();
    let mut former = Former::new(&policy(3, WhenIdle::Wait));
    let mut request = clock.sent(1, 0);
    request.meta.deadline = clock.at(50);
    former.append(&mut vec![request]);
    assert!(former.remove_gone(clock.at(49), |_| false).is_empty());
    // Its caller may have been told already, and so have gone.
    let gone = former.remove_gone(clock.at(50), |_| true);
    assert_eq!(gone[0].1, NotRun::Expired);
    assert!(former.is_empty());
}

/// What may happen to a former.
#[derive(Clone, Debug)]
enum Event {
    /// A request arrives that was sent so many milliseconds ago and lives for so many.
    Push {
        age: u64,
        life: u64,
        last: bool,
    },
    /// Time passes.
    Pass(u64),
    /// An instance has ended its batch.
    Free,
    /// The caller of the n-th request so far is gone.
    Abandon(usize),
    Close,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0..150u64, 1..400u64, prop::bool::weighted(0.1))
            .prop_map(|(age, life, last)| Event::Push { age, life, last }),
        4 => (0..120u64).prop_map(Event::Pass),
        4 => Just(Event::Free),
        2 => (0..40usize).prop_map(Event::Abandon),
        1 => Just(Event::Close),
    ];
    prop::collection::vec(event, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Drives a former as the run loop does, and checks each of its promises at every step.
    #[test]
    fn whatever_happens_the_promises_hold(
        events in events(),
        batch_size in 1..6usize,
        run_when_idle: bool,
        instances in 1..3usize,
    ) {
        let clock = Clock::new();
        let when_idle = if run_when_idle { WhenIdle::Run } else { WhenIdle::Wait };
        let mut former = Former::new(&policy(batch_size, when_idle));
        let mut now = 1_000;
        let mut free = instances;
        let mut metas: Vec<CallMeta> = Vec::new();
        let mut abandoned = Vec::new();
        let mut ended = Vec::new();
        let mut order: Vec<u32> = Vec::new();
        let mut closed = false;

        for event in events.into_iter().chain([Event::Pass(0)]) {
            match event {
                Event::Push { age, life, last } => {
                    // The run loop reads no more than there is room for, and nothing once closed.
                    if former.room() == 0 || closed {
                        continue;
                    }
                    let life = Duration::from_millis(life);
                    let meta = CallMeta::sent_at(clock.at(now - age), life).attempt(1, last);
                    former.append(&mut vec![Delivery::new(Ok(()), metas.len() as u32, meta)]);
                    metas.push(meta);
                    abandoned.push(false);
                }
                Event::Pass(millis) => now += millis,
                Event::Free => free = (free + 1).min(instances),
                Event::Abandon(number) => {
                    if let Some(abandoned) = abandoned.get_mut(number) {
                        *abandoned = true;
                    }
                }
                Event::Close => {
                    closed = true;
                    former.close();
                }
            }
            // Everything that is due now runs now.
            let next = loop {
                let reason = match former.step(free > 0) {
                    Step::Run(reason) => reason,
                    Step::RunAt(due) if due <= clock.at(now) => CloseReason::Window,
                    later => break later,
                };
                let gone = former.remove_gone(clock.at(now), |value| abandoned[*value as usize]);
                if !gone.is_empty() {
                    for (request, why) in gone {
                        let expired = metas[request.ticket as usize].deadline <= clock.at(now);
                        let justified = match why {
                            NotRun::Abandoned => abandoned[request.ticket as usize],
                            _ => expired,
                        };
                        prop_assert!(justified, "a living request was removed");
                        ended.push(request.ticket);
                    }
                    continue;
                }
                let batch: Vec<_> = former.take(reason).collect();
                free -= 1;
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.len() <= batch_size);
                if reason == CloseReason::Full {
                    prop_assert_eq!(batch.len(), batch_size);
                }
                for request in batch.iter() {
                    prop_assert!(request.meta.deadline > clock.at(now), "an expired request ran");
                    prop_assert!(!abandoned[request.ticket as usize], "an abandoned request ran");
                    if request.meta.last_attempt {
                        prop_assert_eq!(batch.len(), 1, "a last attempt had company");
                    } else {
                        order.push(request.ticket);
                    }
                    ended.push(request.ticket);
                }
            };
            // Nobody waits beyond the window while an instance is free.
            let oldest = former.open.iter().map(|request| request.meta.enqueued).min();
            match next {
                Step::RunAt(due) => {
                    prop_assert!(due > clock.at(now));
                    prop_assert_eq!(Some(due), oldest.map(|oldest| oldest + WINDOW));
                }
                _ => prop_assert!(free == 0 || former.is_empty()),
            }
        }

        // Order is kept, nothing is lost, nothing doubled.
        prop_assert!(order.is_sorted());
        ended.extend(numbers(former.take_all()));
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..metas.len() as u32).collect::<Vec<_>>());
    }
}
