//! What goes from the request stream with a batch's answers: that batch, and nothing else. The entries are
//! made by hand, so that their ids and those between them are known.

use dynamic_batcher::{BatchPolicy, BatchProcessor, WhenIdle};

use crate::peers::{Peers, Sum, Values, command, eventually, sum_values};

const REPLY_TO: &str = "{request}:reply:0123456789abcdef";
/// So many in a row are worth being cut off at once.
const ROW: u64 = 8;

/// Who reads an entry.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// The processor of the test.
    Us,
    /// A processor that is not done with it.
    Other,
}

impl Peers {
    /// The server's time: an id that is older has expired.
    fn millis(&self) -> u64 {
        let (seconds, _): (u64, u64) = self.ask(&redis::cmd("TIME"));
        seconds * 1_000
    }

    /// Adds entries of these ids. What is for the processor of the test a dead one has had, so that all of
    /// it comes in one batch.
    async fn add(&self, entries: &[(String, By)]) {
        drop(self.transport().await);
        let made = format!("XADD {REPLY_TO} * made 1");
        self.ask::<String>(&command(&made));
        for (idem, (id, by)) in entries.iter().enumerate() {
            let add = format!(r#"XADD request {id} body {{"values":[1]}} v 1"#);
            let add = format!("{add} reply_to {REPLY_TO} idem {idem}");
            self.ask::<String>(&command(&add));
            let consumer = match by {
                By::Us => "rust-dead",
                By::Other => "rust-other",
            };
            let read = format!("XREADGROUP GROUP processor {consumer} STREAMS request >");
            self.ask::<redis::Value>(&command(&read));
            if *by == By::Us {
                let claim =
                    format!("XCLAIM request processor {consumer} 0 {id} IDLE 100000 JUSTID");
                self.ask::<redis::Value>(&command(&claim));
            }
        }
        self.ask::<String>(&command("CONFIG RESETSTAT"));
    }

    async fn answer(&self, count: usize) {
        let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
        let transport = self.transport().await;
        let processor: BatchProcessor<Values, Sum> =
            BatchProcessor::spawn(transport, policy, sum_values);
        eventually("all are answered", || processor.status().answered == count).await;
        assert_eq!(processor.status().totals.batches, 1);
        self.drain(processor).await;
    }

    fn left(&self) -> Vec<String> {
        let entries: Vec<(String, Vec<String>)> = self.ask(&command("XRANGE request - +"));
        entries.into_iter().map(|(id, _)| id).collect()
    }

    fn pending(&self) -> Vec<String> {
        let pending = command("XPENDING request processor - + 1000");
        let pending: Vec<(String, String, i64, i64)> = self.ask(&pending);
        pending.into_iter().map(|(id, ..)| id).collect()
    }

    fn has_sent(&self, command: &str) -> bool {
        let stats: String = self.ask(redis::cmd("INFO").arg("commandstats"));
        stats.contains(&format!("cmdstat_{command}:"))
    }
}

/// The ids of one millisecond, of these numbers.
fn row(millis: u64, sequences: std::ops::Range<u64>) -> impl Iterator<Item = (String, By)> {
    sequences.map(move |sequence| (format!("{millis}-{sequence}"), By::Us))
}

fn other(millis: u64, sequence: u64) -> impl Iterator<Item = (String, By)> {
    std::iter::once((format!("{millis}-{sequence}"), By::Other))
}

pub(crate) async fn at_the_head_of_the_stream_a_batch_goes_at_once(peers: Peers) {
    let now = peers.millis();
    let rows = row(now, 1..1 + ROW).chain(row(now + 1, 0..ROW));
    let entries: Vec<_> = rows.chain(other(now + 1, ROW)).collect();
    peers.add(&entries).await;
    peers.answer(entries.len() - 1).await;
    let other = [format!("{}-{ROW}", now + 1)];
    assert_eq!(
        (peers.left(), peers.pending()),
        (other.to_vec(), other.to_vec())
    );
    assert!(peers.has_sent("xtrim") && !peers.has_sent("xdel"));
}

pub(crate) async fn what_others_have_before_a_batch_or_in_it_stays(peers: Peers) {
    let now = peers.millis();
    let next = now + 1;
    let before = other(now, 0).chain(row(now, 1..1 + ROW));
    let between = row(now, 0..ROW).chain(other(now, ROW));
    let between = between.chain(row(now, ROW + 1..2 * ROW + 1));
    let behind = row(now, 0..3).chain(other(now, 3)).chain(row(next, 0..ROW));
    let in_order: [Vec<_>; 3] = [before.collect(), between.collect(), behind.collect()];
    for (number, entries) in in_order.into_iter().enumerate() {
        let others = entries.iter().filter(|(_, by)| *by == By::Other);
        let others: Vec<_> = others.map(|(id, _)| id.clone()).collect();
        peers.add(&entries).await;
        peers.answer(entries.len() - others.len()).await;
        assert_eq!(peers.left(), others, "{number}");
        assert_eq!(peers.pending(), others, "{number}");
        peers.ask::<i64>(&command("DEL request"));
    }
}

pub(crate) async fn a_processor_that_may_not_cut_off_deletes(peers: Peers) {
    let entries: Vec<_> = row(peers.millis(), 0..2 * ROW).collect();
    peers.add(&entries).await;
    peers.ask::<String>(&command("ACL SETUSER default -xtrim"));
    peers.answer(entries.len()).await;
    assert_eq!((peers.left(), peers.pending()), (Vec::new(), Vec::new()));
    assert!(peers.has_sent("xdel"));
}
