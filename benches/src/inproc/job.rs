//! What the batches are for: the handlers, and what their callers send and expect.

use std::fmt::Debug;
use std::hint::spin_loop;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A handler, and one of its callers. Each caller has a value of its own.
pub(crate) trait Job: Default + Send + 'static {
    /// What a caller sends; the bounds are those of the crates that ask for most.
    type Request: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// What it gets.
    type Response: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;

    /// Whether the handler holds its thread for long: each subject then runs it where it should be.
    const BLOCKS: bool;

    /// What a batch costs beside its requests.
    fn enter(_size: usize) {}

    /// Answers one request.
    fn serve(request: Self::Request) -> Self::Response;

    /// The handler.
    fn handle(batch: Vec<Self::Request>) -> Vec<Self::Response> {
        Self::enter(batch.len());
        batch.into_iter().map(Self::serve).collect()
    }

    /// The next request.
    fn request(&mut self, number: u64) -> Self::Request;

    /// Checks the answer to the last request.
    ///
    /// # Panics
    ///
    /// When it is another's, or wrong.
    fn check(&mut self, number: u64, response: Self::Response);
}

/// Next to no work, so that what is measured is the way there and back.
#[derive(Default)]
pub(crate) struct Small;

impl Job for Small {
    type Request = u64;
    type Response = u64;

    const BLOCKS: bool = false;

    fn serve(request: u64) -> u64 {
        request.wrapping_mul(3).wrapping_add(1)
    }

    fn request(&mut self, number: u64) -> u64 {
        number
    }

    fn check(&mut self, number: u64, response: u64) {
        assert_eq!(response, Self::serve(number));
    }
}

/// A call to a device: it holds a thread for a while, and a batch costs little more than one.
#[derive(Default)]
pub(crate) struct Costly;

impl Costly {
    const BATCH: Duration = Duration::from_millis(1);
    const ITEM: Duration = Duration::from_micros(10);

    /// How long a batch takes.
    pub(crate) const fn takes(size: usize) -> Duration {
        Self::BATCH.saturating_add(Self::ITEM.saturating_mul(size as u32))
    }

    /// Requests per second when full batches follow each other without a pause.
    pub(crate) fn ideal_rate(batch_size: usize) -> f64 {
        batch_size as f64 / Self::takes(batch_size).as_secs_f64()
    }
}

impl Job for Costly {
    type Request = u64;
    type Response = u64;

    const BLOCKS: bool = true;

    /// To the microsecond, and without a processor's time for most of it: the callers have theirs.
    fn enter(size: usize) {
        /// By how much the system's sleep may be late.
        const LATE: Duration = Duration::from_micros(200);
        let end = Instant::now() + Self::takes(size);
        sleep(Self::takes(size).saturating_sub(LATE));
        while Instant::now() < end {
            spin_loop();
        }
    }

    fn serve(request: u64) -> u64 {
        Small::serve(request)
    }

    fn request(&mut self, number: u64) -> u64 {
        number
    }

    fn check(&mut self, number: u64, response: u64) {
        assert_eq!(response, Self::serve(number));
    }
}

/// A picture of 224 × 224 with three colours, in a buffer that comes back with the answer and is sent
/// again: who copies it is found out.
pub(crate) struct Image {
    pixels: Vec<f32>,
    /// Where the caller had the pixels.
    address: usize,
}

impl Default for Image {
    fn default() -> Self {
        let pixels = vec![0.5; 224 * 224 * 3];
        let address = pixels.as_ptr().addr();
        Self { pixels, address }
    }
}

impl Job for Image {
    type Request = Vec<f32>;
    type Response = Vec<f32>;

    const BLOCKS: bool = false;

    fn serve(mut pixels: Vec<f32>) -> Vec<f32> {
        pixels[0] += 1.0;
        pixels
    }

    fn request(&mut self, number: u64) -> Vec<f32> {
        let mut pixels = std::mem::take(&mut self.pixels);
        pixels[0] = f32::from(number as u16);
        pixels
    }

    fn check(&mut self, number: u64, pixels: Vec<f32>) {
        assert_eq!(pixels[0], f32::from(number as u16) + 1.0);
        assert_eq!(pixels.as_ptr().addr(), self.address, "a copy");
        self.pixels = pixels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ideal_is_one_full_batch_after_the_other() {
        assert_eq!(Costly::takes(64), Duration::from_micros(1_640));
        assert_eq!(Costly::ideal_rate(64).round(), 39_024.0);
    }

    #[test]
    #[should_panic(expected = "a copy")]
    fn a_picture_that_was_copied_is_found_out() {
        let mut caller = Image::default();
        let pixels = Image::serve(caller.request(7));
        #[allow(clippy::redundant_clone, reason = "the clone is what is to be found")]
        let copy = pixels.clone();
        caller.check(7, copy);
    }
}
