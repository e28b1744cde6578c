//! Who is measured: this library, the floors under it, and its peers.

use crate::inproc::drive::Drive;
use crate::inproc::floor::{Channel, Direct, WithTimeout};
use crate::inproc::job::{Costly, Image, Small};
use crate::inproc::ours;
use crate::inproc::peers::batched_fn::Placed;
use crate::inproc::peers::{amate, batch_aint_one, batched_fn, tower_batch_control};
use crate::inproc::workload::{Mode, Task};

/// One way to get single requests answered in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The handler, called by each caller itself with its one request.
    FloorDirect,
    /// A bare channel of requests, each with a oneshot sender for its answer.
    FloorMpsc,
    /// The same with a timeout round each call. The fair floor: every call of ours has a deadline.
    FloorMpscTimeout,
    /// This library with the transport in the batcher's type.
    OursStatic,
    /// This library as it is mostly used: the batcher's type does not name the transport.
    OursErased,
    /// The same, with its metrics recorded for Prometheus.
    OursMetrics,
    /// This library over a transport of bytes, with JSON.
    OursCoded,
    /// The crate `amate`.
    Amate,
    /// The crate `batch-aint-one`.
    BatchAintOne,
    /// The crate `batched-fn`.
    BatchedFn,
    /// The crate `tower-batch-control`.
    TowerBatchControl,
}

impl Subject {
    /// All subjects.
    pub const ALL: [Self; 11] = [
        Self::FloorDirect,
        Self::FloorMpsc,
        Self::FloorMpscTimeout,
        Self::OursStatic,
        Self::OursErased,
        Self::OursMetrics,
        Self::OursCoded,
        Self::Amate,
        Self::BatchAintOne,
        Self::BatchedFn,
        Self::TowerBatchControl,
    ];

    /// How it is called in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FloorDirect => "floor-direct",
            Self::FloorMpsc => "floor-mpsc",
            Self::FloorMpscTimeout => "floor-mpsc-timeout",
            Self::OursStatic => "ours-static",
            Self::OursErased => "ours-erased",
            Self::OursMetrics => "ours-metrics",
            Self::OursCoded => "ours-coded",
            Self::Amate => "amate",
            Self::BatchAintOne => "batch-aint-one",
            Self::BatchedFn => "batched-fn",
            Self::TowerBatchControl => "tower-batch-control",
        }
    }

    /// Whether it can make a batch wait for company.
    #[must_use]
    pub fn has_window(self) -> bool {
        let floors = [Self::FloorDirect, Self::FloorMpsc, Self::FloorMpscTimeout];
        !floors.contains(&self)
    }

    /// Starts it afresh on the current runtime, and does something with it.
    pub(crate) async fn run<D: Drive>(self, task: Task, mode: Mode, drive: D) -> D::Output {
        match task {
            Task::Small => self.start::<Small, D>(mode, drive).await,
            Task::Costly => self.start::<Costly, D>(mode, drive).await,
            Task::Image => self.start::<Image, D>(mode, drive).await,
        }
    }

    async fn start<J: Placed, D: Drive>(self, mode: Mode, drive: D) -> D::Output {
        match self {
            Self::FloorDirect => drive.drive::<J, _>(Direct).await,
            Self::FloorMpsc => drive.drive::<J, _>(Channel::spawn()).await,
            Self::FloorMpscTimeout => drive.drive::<J, _>(WithTimeout(Channel::spawn())).await,
            Self::OursStatic => ours::with_static_type::<J, D>(mode, drive).await,
            Self::OursErased => ours::erased::<J, D>(mode, drive).await,
            Self::OursMetrics => ours::with_metrics::<J, D>(mode, drive).await,
            Self::OursCoded => ours::coded::<J, D>(mode, drive).await,
            Self::Amate => amate::run::<J, D>(mode, drive).await,
            Self::BatchAintOne => batch_aint_one::run::<J, D>(mode, drive).await,
            Self::BatchedFn => batched_fn::run::<J, D>(mode, drive).await,
            Self::TowerBatchControl => tower_batch_control::run::<J, D>(mode, drive).await,
        }
    }
}
