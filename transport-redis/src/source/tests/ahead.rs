//! When a read begins, and when the next one does while a batch runs.

use dynamic_batcher::{BatchId, CloseReason};

use super::*;
use crate::inbox::SHORT;

const TEN: [&str; 10] = [
    "1-1", "1-2", "1-3", "1-4", "1-5", "1-6", "1-7", "1-8", "1-9", "1-10",
];
const TEN_MORE: [&str; 10] = [
    "2-1", "2-2", "2-3", "2-4", "2-5", "2-6", "2-7", "2-8", "2-9", "2-10",
];

/// A processor whose last batch ran for so long, and which waits for ten.
async fn after(ran: Duration) -> Processor {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["0-1"]).await;
    let batch = BatchInfo::new(BatchId::new(1, 1), 1, CloseReason::Idle, ran);
    processor.replies(Some(Arc::new(batch)), held).await;
    processor
}

impl Processor {
    /// The blocked read is answered so. The read that follows by itself, if one does.
    async fn is_answered(&mut self, ids: &[&str]) -> Option<String> {
        self.blocked.take().unwrap().answer([found(ids)]);
        let lines = self.during(EVERY / 4).await;
        lines
            .into_iter()
            .find(|line| line.starts_with("XREADGROUP"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_of_a_batch_is_not_read_for_the_next_one() {
    let mut processor = after(SHORT).await;
    assert_eq!(processor.is_answered(&["1-1"]).await, None);
    assert_eq!(processor.recv().len(), 1);
    assert!(processor.recv().is_empty());
    processor.until("XREADGROUP").await;
    let read = &processor.blocked.as_ref().unwrap().lines()[0];
    assert!(read.contains(" COUNT 10 "), "{read}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_given_up_before_it_has_begun_does_not_begin() {
    let mut processor = after(SHORT).await;
    assert_eq!(processor.is_answered(&["1-1"]).await, None);
    assert_eq!(processor.recv().len(), 1);
    assert!(processor.recv().is_empty());
    processor.waiting = None;
    let lines = processor.during(EVERY / 4).await;
    assert!(
        !lines.iter().any(|line| line.starts_with("XREADGROUP")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_batches_are_short_one_is_read_ahead_and_no_more() {
    for first in [&TEN[..], &TEN[..3]] {
        let mut processor = after(SHORT / 2).await;
        let ahead = processor.is_answered(first).await.unwrap();
        assert!(ahead.contains(" COUNT 10 "), "{ahead}");
        assert_eq!(processor.is_answered(&TEN_MORE).await, None);
        let both = [ids(&processor.recv()), ids(&processor.recv())].concat();
        assert_eq!(both, [first, &TEN_MORE].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_takes_longer_than_the_last_ones_one_is_read_ahead_and_no_more() {
    let mut processor = after(SHORT / 2).await;
    processor.is_answered(&TEN).await.unwrap();
    let batch = processor.recv();
    processor.starts(&batch);
    // It runs, and the next one is taken while it does.
    assert_eq!(processor.is_answered(&TEN_MORE).await, None);
    assert_eq!(ids(&processor.recv()), TEN_MORE);
    let lines = processor.during(EVERY / 4).await;
    assert!(
        !lines.iter().any(|line| line.starts_with("XREADGROUP")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_batches_take_their_time_nothing_is_read_ahead() {
    let mut processor = after(SHORT).await;
    assert_eq!(processor.is_answered(&TEN).await, None);
}
