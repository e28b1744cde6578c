//! What is large goes over the shared connection in parts, so that others have their turn.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_pending_unseen_is_fetched_in_parts_and_each_is_there_when_it_has_come() {
    let mut processor = Processor::start().await;
    processor.blocked = None;
    let unseen: Vec<_> = (1..=20).map(|n| format!("{n}-0")).collect();
    let look = processor.next("XPENDING").await;
    look.answer([pending(unseen.iter().map(|id| (&**id, 1)))]);
    for part in [&unseen[..16], &unseen[16..]] {
        let fetch = processor.next("XRANGE").await;
        let lines = part.iter().map(|id| format!("XRANGE request {id} {id}"));
        assert_eq!(fetch.lines(), lines.collect::<Vec<_>>());
        let entries = part.iter().map(|id| list([request(id)]));
        fetch.answer(entries.collect::<Vec<_>>());
        let waiting = processor.waiting.take().unwrap();
        let mut received = ids(&waiting.await);
        while received.len() < part.len() {
            received.extend(ids(&processor.recv()));
        }
        assert_eq!(received, part);
        assert!(processor.recv().is_empty());
    }
}
