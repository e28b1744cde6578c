//! One outcome for each call, whatever comes, and in whichever order.

use dynamic_batcher::ErrorKind;

use super::*;

fn outstanding() -> Outstanding {
    Outstanding::new(10)
}

fn meta(secs: u64) -> CallMeta {
    CallMeta::new(Duration::from_secs(secs))
}

fn ok(json: &str) -> Outcome {
    Ok(Reply::new(json.into(), None))
}

fn id(text: &str) -> StreamId {
    StreamId::parse(text.as_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_outcome_counts_and_unknown_ones_are_nobodys() {
    let outstanding = outstanding();
    let (idem, outcome) = outstanding.enter(meta(1));
    outstanding.end_all([
        (99, ok("0")),
        (idem, ok("1")),
        (idem, ok("2")),
        (idem, Err(Error::handler("late"))),
    ]);
    assert_eq!(outcome.await.unwrap().unwrap().value, b"1");
    outstanding.end(idem, ok("3"));
    assert!(outstanding.is_empty());
    // Its id is nobody's any more either: the entry is to be deleted.
    assert_eq!(
        outstanding.set_ids([(idem, id("1-0"))].into_iter()),
        [id("1-0")]
    );
}

#[tokio::test(start_paused = true)]
async fn of_an_outcome_and_an_abandonment_the_later_finds_nothing() {
    let outstanding = outstanding();
    let (first, outcome) = outstanding.enter(meta(1));
    let (second, _gone) = outstanding.enter(meta(1));
    outstanding.set_ids([(first, id("1-0")), (second, id("2-0"))].into_iter());
    outstanding.end(first, ok("1"));
    assert_eq!(outstanding.abandon(first), None);
    assert!(outcome.await.unwrap().is_ok());
    assert_eq!(outstanding.abandon(second), Some(id("2-0")));
    assert_eq!(outstanding.abandon(second), None);
    outstanding.end(second, ok("1"));
    assert!(outstanding.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_taken_out_once_and_the_earliest_of_the_rest_is_next() {
    let outstanding = outstanding();
    let now = Instant::now();
    let outcomes: Vec<_> = [3, 1, 2, 1]
        .map(|secs| outstanding.enter(meta(secs)))
        .into();
    let at = |secs| now + Duration::from_secs(secs);
    let (expired, next) = outstanding.expire(at(0));
    assert!(expired.is_empty());
    assert_eq!(next, Some(at(1)));
    let (expired, next) = outstanding.expire(at(1));
    assert_eq!((expired.len(), next), (2, Some(at(2))));
    let (expired, next) = outstanding.expire(at(1));
    assert_eq!((expired.len(), next), (0, Some(at(2))));
    let (expired, next) = outstanding.expire(at(9));
    assert_eq!((expired.len(), next), (2, None));
    // An outcome that comes between the deadline and its call being told is too late.
    outstanding.end(outcomes[0].0, ok("1"));
    expired.into_iter().for_each(|each| each.end(None));
    let outcome = outcomes.into_iter().next().unwrap().1.await.unwrap();
    assert!(matches!(
        outcome.unwrap_err().kind(),
        ErrorKind::Timeout { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_wakes_the_timer_and_a_later_one_does_not() {
    let outstanding = outstanding();
    let wakes = || async {
        let woken = outstanding.earlier_deadline.notified();
        tokio::time::timeout(Duration::from_millis(1), woken)
            .await
            .is_ok()
    };
    let _first = outstanding.enter(meta(10));
    assert!(wakes().await);
    let _later = outstanding.enter(meta(20));
    assert!(!wakes().await);
    let _earlier = outstanding.enter(meta(5));
    assert!(wakes().await);
}

#[tokio::test(start_paused = true)]
async fn among_many_the_next_look_is_not_too_soon() {
    let outstanding = outstanding();
    let now = Instant::now();
    let _outcomes: Vec<_> = (0..10_000)
        .map(|n| {
            let timeout = Duration::from_secs(1) + Duration::from_micros(n);
            outstanding.enter(CallMeta::new(timeout))
        })
        .collect();
    let mut at = now + Duration::from_secs(1);
    let mut looks = 0;
    loop {
        looks += 1;
        let (expired, next) = outstanding.expire(at);
        expired.into_iter().for_each(|each| each.end(Some(false)));
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    assert!(looks <= 4, "{looks}");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_says_what_is_known() {
    let outstanding = outstanding();
    type Case = (&'static [Step], Option<bool>, bool);
    #[derive(Debug)]
    enum Step {
        Sent,
        Cut,
        Refused,
        Known,
    }
    use Step::{Cut, Known, Refused, Sent};
    // What became of it, what the server says; whether it may have been started.
    let cases: [Case; 8] = [
        (&[], None, false),
        (&[Sent], None, true),
        (&[Sent, Refused], None, false),
        (&[Sent, Known], None, true),
        (&[Sent, Known], Some(true), true),
        (&[Sent, Known], Some(false), false),
        // One of which it is not known whether it has arrived may have.
        (&[Sent, Cut, Sent, Known], Some(false), true),
        (&[Sent, Cut, Sent, Known], Some(true), true),
    ];
    for (steps, delivered, started) in cases {
        let (idem, outcome) = outstanding.enter(meta(1));
        for step in steps {
            let idems = [idem].into_iter();
            match step {
                Sent => outstanding.retain_waiting(&mut vec![idem], |idem| *idem),
                Cut => outstanding.set_unconfirmed(idems),
                Refused => outstanding.set_refused(idems),
                Known => drop(outstanding.set_ids(idems.map(|idem| (idem, id("1-0"))))),
            }
        }
        let (expired, _) = outstanding.expire(Instant::now() + Duration::from_secs(1));
        expired.into_iter().for_each(|each| each.end(delivered));
        let expected = ErrorKind::Timeout {
            queued: Duration::from_secs(1),
            started,
        };
        let kind = outcome.await.unwrap().unwrap_err().kind();
        assert_eq!(kind, expected, "{steps:?} {delivered:?}");
    }
}
