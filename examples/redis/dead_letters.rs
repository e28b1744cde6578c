//! The requests that were given up: looks at them, sends one again, removes one.
//!
//! `cargo run --example dead_letters -- list` (or `replay ID`, or `remove ID`), with `REDIS__HOST` and
//! the others in the environment.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use dynamic_batcher_redis::{DeadLetter, DeadLetters, RedisConfig, RedisTransport};

const PAGE: NonZeroUsize = NonZeroUsize::new(100).unwrap();

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let transport = RedisTransport::connect(RedisConfig::from_env()?).await?;
    let dead = transport.dead_letters();
    match *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["list"] => list(&dead).await,
        ["replay", id] => replay(&dead, id).await,
        ["remove", id] => remove(&dead, id).await,
        _ => Err("usage: dead_letters list|replay ID|remove ID".into()),
    }
}

/// A page at a time: there may be thousands.
async fn list(dead: &DeadLetters) -> Result<(), Box<dyn Error>> {
    let mut after = None;
    loop {
        let page = dead.list(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        page.iter().for_each(show);
    }
    println!("{} dead letters", dead.count().await?);
    Ok(())
}

fn show(letter: &DeadLetter) {
    let body = letter.body.as_deref().map(String::from_utf8_lossy);
    println!("{}", letter.id);
    println!("  reason      {}", letter.reason);
    println!("  deliveries  {}", letter.attempts);
    println!("  consumer    {}", letter.consumer);
    println!("  sent        {}", ago(letter.sent));
    println!("  delivered   {}", ago(letter.last_delivered));
    println!("  body        {}", body.as_deref().unwrap_or("none"));
}

fn ago(time: SystemTime) -> String {
    let age = time.elapsed().unwrap_or_default();
    format!("{:?} ago", Duration::from_secs(age.as_secs()))
}

/// Its caller waits no more: the answer stands under the new id for 600 s (`GET ID`).
async fn replay(dead: &DeadLetters, id: &str) -> Result<(), Box<dyn Error>> {
    let new = dead.replay(id).await?;
    let new = new.ok_or("there is no such letter")?;
    println!("sent again as {new}");
    Ok(())
}

async fn remove(dead: &DeadLetters, id: &str) -> Result<(), Box<dyn Error>> {
    if !dead.remove(id).await? {
        return Err("there is no such letter".into());
    }
    println!("removed");
    Ok(())
}
