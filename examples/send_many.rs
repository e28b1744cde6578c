//! `send_many`: many requests as one future, each with its own outcome, in the order sent.
//!
//! `cargo run --example send_many`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::time::Duration;

use dynamic_batcher::{BatchPolicy, ErrorKind, Result, SendOptions};

#[tokio::main]
async fn main() -> Result<()> {
    let policy = BatchPolicy::default().batch_time(Duration::from_millis(5));
    let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<f64>| {
        let roots = batch.into_iter().map(|number| {
            if number < 0.0 {
                Err("a negative number has no root")
            } else {
                Ok(number.sqrt())
            }
        });
        roots.collect::<Vec<_>>()
    });

    // One bad request does not harm the others. The type says what each item ends in: the
    // response, or why there is none.
    let roots: Vec<Result<f64>> = batcher.send_many(vec![9.0, -1.0, 25.0]).await;
    for root in &roots {
        match root {
            Ok(root) => println!("root {root}"),
            Err(error) => println!("{error}"),
        }
    }
    assert_eq!(roots[2].as_ref().ok(), Some(&5.0));
    assert_eq!(
        roots[1].as_ref().map_err(|error| error.kind()),
        Err(ErrorKind::Handler)
    );

    // The items are requests like any other's: they fill batches of 64, and what is left over
    // waits for company until its window ends.
    let numbers: Vec<f64> = (0..150).map(f64::from).collect();
    let replies = batcher
        .send_many_for_replies(numbers, SendOptions::default())
        .await;
    println!("\n150 requests in one call:");
    for (number, reply) in replies.into_iter().enumerate() {
        let reply = reply?;
        assert_eq!(reply.value, (number as f64).sqrt());
        // The first of each batch tells of it.
        if let Some(info) = reply.info.filter(|info| info.position == 0) {
            let batch = info.batch;
            println!(
                "from {number:3}: {} in a batch, closed because {}",
                batch.size, batch.reason
            );
        }
    }
    Ok(())
}
