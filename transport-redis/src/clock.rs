//! Redis's clock as seen from here: entries' ids are in its milliseconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynamic_batcher::Result;
use tokio::time::Instant;

use crate::client::{Client, send_one};
use crate::commands;
use crate::entry::unreadable;
use crate::value::Value;

/// The last reading of the server's clock, from which all times follow: no host's clock has to agree
/// with another's. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    millis: u64,
}

impl Clock {
    pub(crate) async fn read(client: &dyn Client) -> Result<Self> {
        let (reading, _) = read(client).await?;
        Ok(Self(Arc::new(Mutex::new(reading))))
    }

    /// Reads it again: clocks are set, and hosts sleep.
    pub(crate) async fn refresh(&self, client: &dyn Client) -> Result<()> {
        /// One that took longer may be off by as much.
        const GOOD: Duration = Duration::from_millis(100);
        let (reading, took) = read(client).await?;
        if took <= GOOD {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reading;
        }
        Ok(())
    }

    /// The server's time, in milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        let reading = self.reading();
        let since = reading.at.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or_default();
        reading.millis.saturating_add(since)
    }

    /// The instant of a time in the server's milliseconds, as near as the reading was.
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        let Reading { at, millis: known } = self.reading();
        let instant = match known.checked_sub(millis) {
            Some(before) => at.checked_sub(Duration::from_millis(before)),
            None => at.checked_add(Duration::from_millis(millis - known)),
        };
        instant.unwrap_or(at)
    }

    fn reading(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading, and how long it took: the server read its clock about in the middle of that.
async fn read(client: &dyn Client) -> Result<(Reading, Duration)> {
    let asked = Instant::now();
    let reply = send_one(client, commands::time()).await?;
    let took = asked.elapsed();
    let mut parts = reply.list()?.into_iter();
    let mut number = || -> Result<u64> {
        let text = parts.next().unwrap_or(Value::Nil).text()?;
        let text = std::str::from_utf8(&text).ok();
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| unreadable("the server's time is no number"))
    };
    let (seconds, micros) = (number()?, number()?);
    let reading = Reading {
        at: asked + took / 2,
        // Whatever the server says.
        millis: seconds.saturating_mul(1_000).saturating_add(micros / 1_000),
    };
    Ok((reading, took))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::client::scripted::{Scripted, list, text};

    proptest! {
        #[test]
        fn any_time_of_the_server_and_any_id_are_instants(
            seconds in any::<u64>(),
            micros in any::<u64>(),
            id in any::<u64>(),
        ) {
            let time = list([seconds, micros].map(|number| text(number.to_string())));
            let (client, _line) = Scripted::with_routine(move |_| Some(time.clone()));
            let clock = Clock::read(&*client).now_or_never().unwrap().unwrap();
            prop_assert!(clock.millis() >= seconds);
            let now = clock.instant(clock.millis());
            let other = clock.instant(id);
            prop_assert!(id <= clock.millis() || other >= now);
            prop_assert!(id >= clock.millis() || other <= now);
        }
    }
}
