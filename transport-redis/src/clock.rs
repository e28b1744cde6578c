//! Redis's clock as seen from here: entries' ids are in its milliseconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynamic_batcher::Result;
use tokio::time::Instant;

use crate::client::Client;
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
        reading.millis + u64::try_from(since).unwrap_or_default()
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
    let reply = client.send(&[commands::time()]).await?.pop();
    let took = asked.elapsed();
    let mut parts = reply.unwrap_or(Value::Nil).list()?.into_iter();
    let mut number = || -> Result<u64> {
        let text = parts.next().unwrap_or(Value::Nil).text()?;
        let text = std::str::from_utf8(&text).ok();
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| unreadable("the server's time is no number"))
    };
    let (seconds, micros) = (number()?, number()?);
    let reading = Reading {
        at: asked + took / 2,
        millis: seconds * 1_000 + micros / 1_000,
    };
    Ok((reading, took))
}
