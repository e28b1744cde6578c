//! Requests and responses that do not survive their way as bytes: each fails alone.

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, Coded, Error, ErrorKind, Json, Result,
};
use dynamic_batcher_memory::MemoryTransport;
use tokio::time::Duration;

const SIZE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(2).expect("not zero");

fn batches_of_two() -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(SIZE)
        .batch_time(Duration::from_secs(3600))
}

fn double(batch: Vec<f64>) -> Vec<f64> {
    batch.into_iter().map(|n| n * 2.0).collect()
}

/// Either type may be the wrong one.
fn assert_names(error: &Error, kind: ErrorKind, half: &str) {
    assert_eq!(error.kind(), kind);
    assert!(error.detail().starts_with(half), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_decode_fails_alone() {
    let bytes = MemoryTransport::<Vec<u8>, Vec<u8>>::default();
    let foreign = Batcher::new(bytes.clone());
    let coded = Coded::new(bytes, Json);
    let batcher: Batcher<f64, f64> = Batcher::new(coded.clone());
    let _processor = BatchProcessor::<f64, f64>::spawn(coded, batches_of_two(), double);
    let (bad, first, second) = tokio::join!(
        foreign.send(b"[1, 2".to_vec()),
        batcher.send(1.0),
        batcher.send(2.0)
    );
    assert_names(&bad.expect_err("no JSON"), ErrorKind::Decode, "the request");
    assert_eq!(first.expect("answered"), 2.0);
    assert_eq!(second.expect("answered"), 4.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_encode_is_not_sent() {
    let coded = Coded::new(MemoryTransport::default(), Json);
    let batcher: Batcher<f64, f64> = Batcher::new(coded.clone());
    let _processor = BatchProcessor::<f64, f64>::spawn(coded, batches_of_two(), double);
    let results: [Result<f64>; 3] = batcher
        .send_many(vec![1.0, f64::NAN, 2.0])
        .await
        .try_into()
        .expect("an outcome for each");
    let [first, bad, second] = results;
    assert_names(
        &bad.expect_err("not in JSON"),
        ErrorKind::Encode,
        "the request",
    );
    assert_eq!(first.expect("answered"), 2.0);
    assert_eq!(second.expect("answered"), 4.0);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_does_not_encode_fails_alone() {
    let coded = Coded::new(MemoryTransport::default(), Json);
    let batcher: Batcher<f64, f64> = Batcher::new(coded.clone());
    let roots = |batch: Vec<f64>| batch.into_iter().map(f64::sqrt).collect::<Vec<_>>();
    let _processor = BatchProcessor::<f64, f64>::spawn(coded, batches_of_two(), roots);
    let (good, bad) = tokio::join!(batcher.send(9.0), batcher.send(-9.0));
    assert_eq!(good.expect("answered"), 3.0);
    assert_names(
        &bad.expect_err("not in JSON"),
        ErrorKind::Encode,
        "the response",
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_that_does_not_decode_fails_alone() {
    let bytes = MemoryTransport::<Vec<u8>, Vec<u8>>::default();
    let batcher: Batcher<f64, f64> = Batcher::new(Coded::new(bytes.clone(), Json));
    let spoil = |batch: Vec<Vec<u8>>| {
        let spoilt = batch.into_iter().map(|body| match &body[..] {
            b"1.0" => b"one".to_vec(),
            _ => body,
        });
        spoilt.collect::<Vec<_>>()
    };
    let _processor = BatchProcessor::spawn(bytes, batches_of_two(), spoil);
    let (bad, good) = tokio::join!(batcher.send(1.0), batcher.send(2.0));
    assert_names(
        &bad.expect_err("no JSON"),
        ErrorKind::Decode,
        "the response",
    );
    assert_eq!(good.expect("answered"), 2.0);
}
