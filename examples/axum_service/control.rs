//! What the page sets: the policy, how the function behaves, the load. Read, checked, applied as a
//! whole or not at all.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::StatusCode;
use dynamic_batcher::{BatchPolicy, WhenIdle};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::service::{Here, Service};
use crate::work::Behaviour;

const BATCH_SIZE: RangeInclusive<usize> = 1..=1_024;
const BATCH_TIME_MS: RangeInclusive<f64> = 0.0..=10_000.0;
const TAKES_MS: RangeInclusive<u64> = 0..=2_000;
const PERCENT: RangeInclusive<f64> = 0.0..=100.0;
const PER_SECOND: RangeInclusive<u32> = 0..=20_000;

/// The settings. Those that are left out stay as they are; where processors are elsewhere there is
/// only the load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    batching: Option<Batching>,
    function: Option<Behaviour>,
    load: Option<Load>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batching {
    batch_size: usize,
    batch_time_ms: f64,
    when_idle: Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Idle {
    Wait,
    Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    per_second: u32,
}

impl Settings {
    /// Those in force.
    pub(crate) fn of(service: &Service) -> Self {
        let here = service.here.as_ref();
        let per_second = *service.load_per_second.borrow();
        Self {
            batching: here.map(|here| Batching::of(&here.processor.policy())),
            function: here.map(|here| here.summing.behaviour()),
            load: Some(Load { per_second }),
        }
    }

    /// Puts these in force.
    pub(crate) fn apply(self, service: &Service) -> Result<(), Failure> {
        if let Some(function) = self.function {
            check("takes_ms", function.takes_ms, &TAKES_MS)?;
            check("fail_percent", function.fail_percent, &PERCENT)?;
        }
        if let Some(load) = self.load {
            check("per_second", load.per_second, &PER_SECOND)?;
        }
        match &service.here {
            Some(Here { processor, summing }) => {
                if let Some(batching) = self.batching {
                    let policy = batching.on(processor.policy())?;
                    processor.reconfigure(policy)?;
                }
                if let Some(function) = self.function {
                    summing.behave(function);
                }
            }
            None if self.batching.is_some() || self.function.is_some() => {
                let text = "the processors are other processes, which have settings of their own";
                return Err(Failure::invalid(StatusCode::CONFLICT, text));
            }
            None => {}
        }
        if let Some(load) = self.load {
            service.load_per_second.send_replace(load.per_second);
        }
        Ok(())
    }
}

impl Batching {
    fn of(policy: &BatchPolicy) -> Self {
        Self {
            batch_size: policy.batch_size.get(),
            batch_time_ms: policy.batch_time.as_secs_f64() * 1e3,
            when_idle: match policy.when_idle {
                WhenIdle::Run => Idle::Run,
                _ => Idle::Wait,
            },
        }
    }

    /// `policy` with these settings.
    fn on(self, policy: BatchPolicy) -> Result<BatchPolicy, Failure> {
        check("batch_size", self.batch_size, &BATCH_SIZE)?;
        check("batch_time_ms", self.batch_time_ms, &BATCH_TIME_MS)?;
        let batch_size = NonZeroUsize::new(self.batch_size).unwrap_or(NonZeroUsize::MIN);
        let when_idle = match self.when_idle {
            Idle::Wait => WhenIdle::Wait,
            Idle::Run => WhenIdle::Run,
        };
        Ok(policy
            .batch_size(batch_size)
            .batch_time(Duration::from_secs_f64(self.batch_time_ms / 1e3))
            .when_idle(when_idle))
    }
}

fn check<T>(name: &str, value: T, allowed: &RangeInclusive<T>) -> Result<(), Failure>
where
    T: Copy + Display + PartialOrd,
{
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    let text = format!("{name} is {value}, allowed is {least} to {most}");
    Err(Failure::invalid(StatusCode::UNPROCESSABLE_ENTITY, text))
}
