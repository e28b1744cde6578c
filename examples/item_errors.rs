//! Errors: what each caller gets when one request fails, when a batch fails, when a handler panics
//! or returns the wrong number of outputs. In every case the processor goes on.
//!
//! `cargo run --example item_errors`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::error::Error as _;
use std::fmt;
use std::num::ParseIntError;

use dynamic_batcher::{BatchPolicy, ErrorKind, Result, WhenIdle};

/// An error of the application: nothing is asked of it but that it is an error.
#[derive(Debug)]
struct OutOfMemory {
    wanted: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for {} items", self.wanted)
    }
}

impl std::error::Error for OutOfMemory {}

#[tokio::main]
async fn main() {
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);

    // `Vec<Result<Resp, E>>`: an error is that of its own request.
    let (batcher, _parser) =
        dynamic_batcher_memory::spawn(policy.clone(), |batch: Vec<&'static str>| {
            batch
                .into_iter()
                .map(str::parse)
                .collect::<Vec<std::result::Result<i64, _>>>()
        });
    let results = batcher.send_many(vec!["8", "eight", "9"]).await;
    show("a bad request", &results);
    assert_eq!(
        results[2].as_ref().ok(),
        Some(&9),
        "its neighbours have their responses"
    );
    let error = results[1].as_ref().expect_err("no number");
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert!(
        error
            .source()
            .is_some_and(|source| source.is::<ParseIntError>())
    );

    // `Result<Vec<Resp>, E>`: an error is that of all requests of the batch. They share it, so it
    // need not be `Clone`; each can look at the handler's own error.
    let (batcher, _model) = dynamic_batcher_memory::spawn(policy.clone(), |batch: Vec<u32>| {
        if batch.len() > 2 {
            return Err(OutOfMemory {
                wanted: batch.len(),
            });
        }
        Ok(batch)
    });
    let results: Vec<Result<u32>> = batcher.send_many(vec![1, 2, 3]).await;
    show("a failed batch", &results);
    for result in &results {
        let error = result.as_ref().expect_err("the batch failed");
        let cause = error
            .source()
            .and_then(|source| source.downcast_ref::<OutOfMemory>());
        assert_eq!(cause.map(|cause| cause.wanted), Some(3));
    }
    show("the next batch", &batcher.send_many(vec![4, 5]).await);

    // A panic is caught and told to the callers of its batch. (Rust prints it, too.)
    let (batcher, _divider) = dynamic_batcher_memory::spawn(policy.clone(), |batch: Vec<u32>| {
        batch
            .into_iter()
            .map(|divisor| 100 / divisor)
            .collect::<Vec<_>>()
    });
    let results = batcher.send_many(vec![5, 0]).await;
    show("a panic", &results);
    assert_eq!(
        results[0].as_ref().map_err(|error| error.kind()),
        Err(ErrorKind::Panic)
    );
    show("the next batch", &batcher.send_many(vec![5, 4]).await);

    // Two outputs for three requests: nobody can tell whose are missing.
    let (batcher, _filter) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u32>| {
        batch.into_iter().filter(|n| n % 2 == 1).collect::<Vec<_>>()
    });
    let results = batcher.send_many(vec![1, 2, 3]).await;
    show("a missing output", &results);
    let expected = ErrorKind::WrongNumberOfOutputs {
        expected: 3,
        actual: 2,
    };
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(e) if e.kind() == expected))
    );
}

fn show<T: fmt::Debug>(what: &str, results: &[Result<T>]) {
    println!("{what}:");
    for result in results {
        match result {
            Ok(response) => println!("  response {response:?}"),
            Err(error) => println!("  {error}"),
        }
    }
}
