//! Isolation: a handler that can only fail a batch as a whole, as one statement for many rows does,
//! and one bad row. The policy has the batch run again in parts, until the bad row stands alone.
//!
//! `cargo run --example isolation`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dynamic_batcher::{BatchPolicy, OnBatchError, Result, WhenIdle};

const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

/// A row to be stored. What may run again is copied before it runs: that takes `Clone`.
#[derive(Clone)]
struct Row {
    id: u32,
    name: Option<&'static str>,
}

/// Stores all rows in one statement, or none. Storing a row again changes nothing: only such a
/// function may be run again.
fn store(rows: &[Row]) -> std::result::Result<Vec<u32>, String> {
    match rows.iter().any(|row| row.name.is_none()) {
        true => Err(format!("a name is missing in {} rows", rows.len())),
        false => Ok(rows.iter().map(|row| row.id).collect()),
    }
}

fn rows() -> Vec<Row> {
    let names = [
        "Ada", "Alan", "Barbara", "Donald", "Edsger", "", "Grace", "Tony",
    ];
    let rows = names.into_iter().zip(0..).map(|(name, id)| Row {
        id,
        name: (!name.is_empty()).then_some(name),
    });
    rows.collect()
}

#[tokio::main]
async fn main() {
    let (stored, calls) = store_with(OnBatchError::FailAll).await;
    show("by default one bad row fails its batch", &stored, calls);
    assert!(stored.iter().all(Result::is_err));
    assert_eq!(calls, 1);

    let (stored, calls) = store_with(OnBatchError::Bisect).await;
    show("halved until it stands alone", &stored, calls);
    assert!(only_the_bad_row_failed(&stored));
    // The whole, and at most 2 * log2(8) more.
    assert!(calls <= 7);

    let (stored, calls) = store_with(OnBatchError::Singles).await;
    show("one by one", &stored, calls);
    assert!(only_the_bad_row_failed(&stored));
    assert_eq!(calls, 9);
}

/// Stores the rows as one batch; says what each caller got and how often the function was called.
async fn store_with(on_batch_error: OnBatchError) -> (Vec<Result<u32>>, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let policy = BatchPolicy::default()
        .batch_size(BATCH_SIZE)
        .when_idle(WhenIdle::Run)
        .on_batch_error(on_batch_error);
    let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, move |batch: Vec<Row>| {
        counted.fetch_add(1, Ordering::Relaxed);
        store(&batch)
    });
    let stored = batcher.send_many(rows()).await;
    (stored, calls.load(Ordering::Relaxed))
}

fn only_the_bad_row_failed(stored: &[Result<u32>]) -> bool {
    rows().iter().zip(stored).all(|(row, stored)| match stored {
        Ok(id) => *id == row.id && row.name.is_some(),
        Err(_) => row.name.is_none(),
    })
}

fn show(what: &str, stored: &[Result<u32>], calls: usize) {
    println!("{what}, {calls} calls:");
    for stored in stored {
        match stored {
            Ok(id) => println!("  stored {id}"),
            Err(error) => println!("  {error}"),
        }
    }
}
