//! The former for the benchmarks of this repository: no part of the interface.

use crate::former::{Former, Step};
use crate::meta::CallMeta;
use crate::policy::BatchPolicy;
use crate::transport::Delivery;

/// A former by itself.
#[derive(Debug)]
pub struct Forming(Former<u64, ()>);

impl Forming {
    /// With this policy.
    #[must_use]
    pub fn new(policy: &BatchPolicy) -> Self {
        Self(Former::new(policy))
    }

    /// Feeds it so many requests, with a step after each as if they came one by one, and takes the
    /// batch that it closes; its size, zero if it closes none.
    pub fn batch(&mut self, requests: u64, meta: CallMeta) -> usize {
        let Self(former) = self;
        for value in 0..requests {
            former.append(&mut vec![Delivery::new(Ok(value), (), meta)]);
            let Step::Run(reason) = former.step(true) else {
                continue;
            };
            former.remove_gone(meta.enqueued, |_| false);
            return former.take(reason).count();
        }
        0
    }
}
