//! Callers that die, lose interest, or send too much.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::Batcher;
use dynamic_batcher_conformance::faults::{Act, Done, Job, Message};
use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::task::block_in_place;

use crate::rig::{Client, LIMIT, PATIENCE, Rig, ends, eventually, kind};

pub(crate) async fn a_killed_caller_leaves_nothing(client: Client) {
    let rig = Rig::new(client);
    let mut config = rig.config();
    config.pause = Duration::from_millis(500);
    let processor = rig.processor_with(config).await;
    let mut caller = rig.caller_process(rig.config()).await;
    let is_end = |message: &Message| matches!(message, Message::Ended(_));
    let ended = |said: &[Message]| said.iter().filter(|message| is_end(message)).count();
    caller
        .heard("it is answered", LIMIT, |said| ended(said) >= 20)
        .await;
    eventually("it waits again", || rig.probe.length("request") > 0).await;
    caller.kill();
    let streams: Vec<String> = rig.probe.say("KEYS {request}:reply:*");
    let [stream] = &streams[..] else {
        panic!("one caller has {streams:?}");
    };
    let expiry: i64 = rig.probe.say(&format!("TTL {stream}"));
    assert!((1..=60).contains(&expiry), "{expiry}");
    // It has expired: an answer must not bring it back.
    rig.probe.say::<i64>(&format!("DEL {stream}"));
    rig.probe.is_clean(1, LIMIT).await;
    let streams: Vec<String> = rig.probe.say("KEYS {request}:reply:*");
    assert!(streams.is_empty(), "{streams:?}");
    rig.end(vec![processor]).await;
}

/// Of those that a processor has read it may start some: it is not told.
pub(crate) async fn dropped_calls_are_not_started_and_the_others_are_answered(client: Client) {
    const READ: usize = 2;
    let rig = Rig::new(client);
    let mut config = rig.config();
    config.batch_size = NonZeroUsize::MIN;
    config.pause = Duration::ZERO;
    let processor = rig.processor_with(config).await;
    let caller = rig.caller().await;
    let nap = rig.begin_one(&caller, rig.job().act(Act::Sleep(1_000)), PATIENCE);
    eventually("it runs", || processor.has_run().len() == 1).await;
    let mut kept = rig.begin(&caller, 40, PATIENCE);
    eventually("all are in the queue", || rig.probe.length("request") == 41).await;
    let dropped = kept.split_off(20);
    dropped.iter().for_each(tokio::task::JoinHandle::abort);
    for each in dropped {
        assert!(each.await.is_err(), "it was dropped");
    }
    eventually("they are withdrawn", || rig.probe.length("request") <= 21).await;
    for end in ends(kept.into_iter().chain([nap]).collect()).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    assert!(processor.has_run().len() <= 21 + READ);
    rig.ledger.forget(|id| id > 20);
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Ten times as many want to send as there is room for.
pub(crate) async fn overload_is_refused(client: Client) {
    const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(64).unwrap();
    let rig = Rig::new(client);
    let processor = rig.processor().await;
    let config = rig.config().redis().max_queue(MAX_QUEUE);
    let transport = rig
        .client
        .connect(config)
        .await
        .expect("the server answers");
    let caller = Arc::new(Batcher::new(transport));
    let load = rig.load(&caller, MAX_QUEUE.get() * 10, PATIENCE);
    let answered = || rig.ledger.verdict(&[]).count("Ok");
    eventually("many are answered", || {
        let length = rig.probe.length("request");
        assert!(length <= MAX_QUEUE.get() as i64, "{length} in the queue");
        answered() > 1_000
    })
    .await;
    load.stop().await;
    let verdict = rig.ledger.assert(&["QueueFull"]);
    assert!(verdict.count("QueueFull") > 0, "{verdict:?}");
    let full = ends(rig.begin(&caller, MAX_QUEUE.get() * 10, PATIENCE)).await;
    let refused = full.into_iter().filter_map(|end| end.outcome.err());
    for failure in refused {
        assert!(
            failure
                .retry_after
                .is_some_and(|time| time > Duration::ZERO)
        );
        assert!(failure.retryable);
    }
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Reads a request as a Python processor does, which acknowledges nothing; its id.
async fn read_as_python_does(rig: &Rig) -> String {
    let pending =
        || -> Vec<(String, String, i64, i64)> { rig.probe.say("XPENDING request processor - + 1") };
    eventually("it is sent", || rig.probe.length("request") == 1).await;
    rig.probe
        .say::<redis::Value>("XREADGROUP GROUP processor processor STREAMS request >");
    pending().remove(0).0
}

/// However it ends, and although that processor does no more about it.
pub(crate) async fn nothing_of_a_request_stays_that_a_python_processor_had(client: Client) {
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let is_clean = || {
        let pending: Vec<redis::Value> = rig.probe.say("XPENDING request processor - + 1");
        rig.probe.length("request") == 0 && pending.is_empty()
    };

    let answered = rig.begin_one(&caller, rig.job(), PATIENCE);
    let id = read_as_python_does(&rig).await;
    rig.probe
        .say::<()>(&format!("SET {id} {{\"sum\":1}} EX 600"));
    assert_eq!(kind(&answered.await.expect("it does not panic")), "Ok");
    assert!(is_clean(), "answered");

    let dropped = rig.begin_one(&caller, rig.job(), PATIENCE);
    read_as_python_does(&rig).await;
    dropped.abort();
    eventually("it is withdrawn", is_clean).await;

    let timeout = Duration::from_millis(500);
    let expired = rig.begin_one(&caller, rig.job(), timeout);
    read_as_python_does(&rig).await;
    assert_eq!(kind(&expired.await.expect("it does not panic")), "Timeout");
    eventually("it is withdrawn", is_clean).await;
    drop(caller);
    rig.end(Vec::new()).await;
}

/// Among the few answers of Python processors that are looked for together.
pub(crate) async fn an_answer_that_reads_as_a_publication_harms_no_other(client: Client) {
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let sent = rig.begin(&caller, 3, PATIENCE);
    eventually("they are sent", || rig.probe.length("request") == 3).await;
    let read = "XREADGROUP GROUP processor processor STREAMS request >";
    rig.probe.say::<redis::Value>(read);
    let entries: Vec<(String, Vec<String>)> = rig.probe.say("XRANGE request - +");
    let jobs = entries.into_iter().map(|(id, fields)| {
        let job: Job = serde_json::from_str(&fields[1]).expect("a job");
        (id, job.id())
    });
    let mut jobs: Vec<_> = jobs.collect();
    let answer = |id: &str, text: &str| rig.probe.say::<()>(&format!("SET {id} {text} EX 600"));
    let (id, odd) = jobs.remove(0);
    answer(&id, "message");
    eventually("it is taken", || rig.probe.length("request") == 2).await;
    for (id, job) in jobs {
        answer(&id, &format!("{{\"sum\":{}}}", Done::to(job).sum));
    }
    for end in ends(sent).await {
        let expected = if end.id == odd { "Decode" } else { "Ok" };
        assert_eq!(kind(&end), expected, "{end:?}");
    }
    rig.end(Vec::new()).await;
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime")
}

/// The transport lives on, as one in a static does.
pub(crate) async fn a_runtime_that_ends_takes_no_calls_of_others_with_it(client: Client) {
    let rig = Rig::new(client);
    let processor = block_in_place(|| {
        let (first, second) = (runtime(), runtime());
        let caller = first.block_on(rig.caller());
        let mut moved = Box::pin(rig.call(&caller));
        let sent = pin!(eventually("it is sent", || {
            rig.probe.length("request") == 1
        }));
        let first_of = first.block_on(select(&mut moved, sent));
        assert!(matches!(first_of, Either::Right(_)), "nobody is there");
        let kept = {
            let _entered = second.enter();
            rig.begin_one(&caller, rig.job(), PATIENCE)
        };
        second.block_on(eventually("another is sent", || {
            rig.probe.length("request") == 2
        }));
        drop(first);
        let end = second.block_on(moved);
        assert_eq!(kind(&end), "Connection", "{end:?}");
        let processor = second.block_on(rig.processor());
        let end = second.block_on(kept).expect("it does not panic");
        assert_eq!(kind(&end), "Ok", "{end:?}");
        for runtime in [second, runtime()] {
            let end = runtime.block_on(rig.call(&caller));
            assert_eq!(kind(&end), "Ok", "{end:?}");
        }
        processor
    });
    rig.end(vec![processor]).await;
}
