//! `batched-fn`: a macro that makes one thread for each place where it stands.
//!
//! Its documentation: `max_delay` "small relative to the time it takes for your handler function to
//! process a batch". It counts in milliseconds. Where the handler takes next to no time that is 0, with
//! which each request is a batch of its own: it has nothing between that and a window. No
//! `channel_cap`.

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::{Costly, Image, Job, Small};
use crate::inproc::workload::{BATCH_SIZE, Mode};

/// The job and its settings are part of the place.
macro_rules! place {
    ($job:ty, $max_delay:expr, $request:expr) => {{
        // The macro's own code has bindings that are `mut` and need not be.
        #[allow(unused_mut, clippy::needless_pass_by_value)]
        let answered = batched_fn::batched_fn! {
            handler = |batch: Vec<<$job as Job>::Request>| -> Vec<<$job as Job>::Response> {
                <$job>::handle(batch)
            };
            config = { max_batch_size: BATCH_SIZE.get(), max_delay: $max_delay };
            context = {};
        };
        answered($request).await.expect("the thread answers")
    }};
}

/// A job that has its places.
pub(crate) trait Placed: Job {
    /// With a window of 1 ms.
    fn windowed(request: Self::Request) -> impl Future<Output = Self::Response> + Send;

    /// With the smallest delay that makes sense.
    fn at_once(request: Self::Request) -> impl Future<Output = Self::Response> + Send;
}

impl Placed for Small {
    async fn windowed(request: Self::Request) -> Self::Response {
        place!(Small, 1, request)
    }

    async fn at_once(request: Self::Request) -> Self::Response {
        place!(Small, 0, request)
    }
}

impl Placed for Image {
    async fn windowed(request: Self::Request) -> Self::Response {
        place!(Image, 1, request)
    }

    async fn at_once(request: Self::Request) -> Self::Response {
        place!(Image, 0, request)
    }
}

impl Placed for Costly {
    async fn windowed(request: Self::Request) -> Self::Response {
        place!(Costly, 1, request)
    }

    async fn at_once(request: Self::Request) -> Self::Response {
        place!(Costly, 1, request)
    }
}

pub(crate) async fn run<J: Placed, D: Drive>(mode: Mode, drive: D) -> D::Output {
    match mode {
        Mode::AtOnce => drive.drive::<J, _>(AtOnce).await,
        Mode::Window(_) => drive.drive::<J, _>(Windowed).await,
    }
}

#[derive(Clone)]
struct AtOnce;

impl<J: Placed> Ask<J> for AtOnce {
    fn ask(&mut self, request: J::Request) -> impl Future<Output = J::Response> + Send {
        J::at_once(request)
    }
}

#[derive(Clone)]
struct Windowed;

impl<J: Placed> Ask<J> for Windowed {
    fn ask(&mut self, request: J::Request) -> impl Future<Output = J::Response> + Send {
        J::windowed(request)
    }
}
