//! Requests that the service sends to itself, at a rate that the page sets: what callers over HTTP
//! would send, without HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::service::Service;
use crate::work::Values;

/// Sends requests as independent callers do, with random pauses, at the rate that `per_second`
/// has, until that has no sender left.
pub(crate) async fn run(service: Arc<Service>, mut per_second: watch::Receiver<u32>) {
    let mut next = Instant::now();
    loop {
        let rate = *per_second.borrow_and_update();
        let due = async {
            if rate == 0 {
                std::future::pending().await
            } else {
                sleep_until(next).await;
            }
        };
        tokio::select! {
            () = due => {}
            changed = per_second.changed() => {
                if changed.is_err() {
                    return;
                }
                next = Instant::now();
                continue;
            }
        }
        // The timer is no finer than a millisecond: all that have become due are sent together.
        while next <= Instant::now() {
            next += pause(rate);
            let service = Arc::clone(&service);
            tokio::spawn(async move { service.sum(any_request()).await });
        }
    }
}

/// The time between two of many callers who know nothing of each other.
fn pause(per_second: u32) -> Duration {
    let uniform = 1.0 - fastrand::f64();
    Duration::from_secs_f64(-uniform.ln() / f64::from(per_second))
}

fn any_request() -> Values {
    Values {
        key: "load".into(),
        values: (0..8).map(|_| fastrand::i64(0..100)).collect(),
    }
}
