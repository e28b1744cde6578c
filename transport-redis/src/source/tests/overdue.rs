//! What others have let lapse comes before what is new, also where a processor is never idle.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_not_wanted_when_it_was_found_is_taken_before_anything_is_read() {
    let mut processor = Processor::start().await;
    // As many as it wants.
    let many: Vec<_> = (1..=10).map(|n| format!("{n}-0")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let blocked = processor.blocked.take().unwrap();
    blocked.answer([found(&many)]);
    let take = processor.next("EVAL take_over").await;
    assert_eq!(
        take.lines(),
        ["EVAL take_over 1 request group me 3000 30000 0 3 1 -"]
    );
    take.answer([took_of_more([], false, true)]);
    let held = processor.recv();
    assert_eq!(held.len(), 10);

    // It is never idle: each time it wants some, there are new ones.
    let mut taken = Vec::new();
    for more in [true, false] {
        assert!(processor.recv().is_empty());
        let take = processor.next("EVAL take_over").await;
        assert!(take.lines()[0].contains(" 30000 10 3 "));
        let count = taken.len();
        let ids: Vec<_> = (11..=20).map(|n| format!("{}-0", n + count)).collect();
        let entries: [(&str, i64); 10] = std::array::from_fn(|n| (&*ids[n], 1));
        take.answer([took_of_more(entries, false, more)]);
        processor.during(Duration::from_millis(1)).await;
        assert!(processor.blocked.is_none(), "something is read");
        taken.extend(processor.recv());
    }
    assert_eq!(taken.len(), 20);
    assert!(taken.iter().all(|each| each.meta.attempt == 2));
    assert!(processor.recv().is_empty());
    processor.until("XREADGROUP").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_overdue_does_not_wait_for_a_read_that_blocks() {
    let mut processor = Processor::start().await;
    let take = processor.next("EVAL take_over").await;
    let found = Instant::now();
    let ids: Vec<_> = (1..=10).map(|n| format!("{n}-0")).collect();
    let entries: [(&str, i64); 10] = std::array::from_fn(|n| (&*ids[n], 1));
    take.answer([took_of_more(entries, false, true)]);
    processor.during(Duration::from_millis(1)).await;
    assert_eq!(super::ids(&processor.recv()), ids);
    // The read still blocks.
    assert!(processor.blocked.is_some());
    assert!(processor.recv().is_empty());
    let take = processor.next("EVAL take_over").await;
    take.answer([took([("11-0", 1)], false)]);
    processor.during(Duration::from_millis(1)).await;
    assert_eq!(super::ids(&processor.recv()), ["11-0"]);
    assert!(found.elapsed() < EVERY / 2, "{:?}", found.elapsed());
}

#[tokio::test(start_paused = true)]
async fn beside_a_request_on_its_last_delivery_nothing_is_overdue() {
    let mut processor = Processor::start().await;
    let take = processor.next("EVAL take_over").await;
    take.answer([took([("1-0", 2)], true)]);
    processor.during(Duration::from_millis(1)).await;
    let last = processor.recv();
    assert!(last[0].meta.last_attempt);
    processor.starts(&last);
    // The read still blocks, and more is wanted than there is.
    assert!(processor.blocked.is_some());
    assert!(processor.recv().is_empty());
    let looked = processor.next("EVAL take_over").await;
    assert!(looked.lines()[0].contains(" 30000 0 3 1 "));
    looked.answer([took_of_more([], false, true)]);
    let lines = processor.during(EVERY / 2).await;
    let looks = lines
        .iter()
        .filter(|line| line.starts_with("EVAL take_over"));
    assert_eq!(looks.count(), 0, "{lines:?}");
    // Once it is answered they are.
    let answered = Instant::now();
    processor.replies(None, last).await;
    let take = processor.next("EVAL take_over").await;
    assert_eq!(answered.elapsed(), Duration::ZERO);
    assert!(take.lines()[0].contains(" 30000 10 3 0 "));
}
