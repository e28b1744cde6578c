//! Redis's clock as seen from here: entries' ids are in its milliseconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// When it was last tried to read a better one.
    tried: Instant,
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
        self.lock().tried = Instant::now();
        let (reading, took) = read(client).await?;
        let mut known = self.lock();
        let off = Duration::from_millis(known.millis_at(reading.at).abs_diff(reading.millis));
        // Where the one that is known is further off, one that took long is better.
        if took <= GOOD || off > took {
            *known = reading;
        }
        Ok(())
    }

    /// Reads it again if what was sent at such a time, of the server's, looks old, and it has not been read
    /// just now: it may have been set back.
    pub(crate) async fn check(&self, client: &dyn Client, sent: u64) -> Result<()> {
        const OLD: Duration = Duration::from_secs(1);
        let is_old = self.instant(sent).elapsed() > OLD;
        if is_old && self.reading().tried.elapsed() > OLD {
            self.refresh(client).await?;
        }
        Ok(())
    }

    /// The server's time, in milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        self.reading().millis_at(Instant::now())
    }

    /// The instant of a time in the server's milliseconds, as near as the reading was.
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        let Reading {
            at, millis: known, ..
        } = self.reading();
        let instant = match known.checked_sub(millis) {
            Some(before) => at.checked_sub(Duration::from_millis(before)),
            None => at.checked_add(Duration::from_millis(millis - known)),
        };
        instant.unwrap_or(at)
    }

    fn reading(&self) -> Reading {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// The server's time at a later instant, by this reading.
    fn millis_at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.at).as_millis();
        let since = u64::try_from(since).unwrap_or_default();
        self.millis.saturating_add(since)
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
    let at = asked + took / 2;
    let reading = Reading {
        at,
        tried: at,
        // Whatever the server says.
        millis: seconds.saturating_mul(1_000).saturating_add(micros / 1_000),
    };
    Ok((reading, took))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tokio::time::sleep;

    use super::*;
    use crate::client::scripted::{Line, Scripted, list, text, texts};

    /// A clock that was read at this second of the server's, and the server's end.
    async fn clock_at(second: u64) -> (Clock, Arc<dyn Client>, Line) {
        let (client, mut line) = Scripted::line();
        let read = Clock::read(&*client);
        let (clock, ()) = tokio::join!(read, answer(&mut line, second, Duration::ZERO));
        (clock.unwrap(), client, line)
    }

    async fn answer(line: &mut Line, second: u64, after: Duration) {
        let sent = line.next().await;
        assert_eq!(sent.lines(), ["TIME"]);
        sleep(after).await;
        sent.answer([texts([&*second.to_string(), "0"])]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_took_long_counts_where_the_clock_was_set() {
        const SLOW: Duration = Duration::from_millis(300);
        let (clock, client, mut line) = clock_at(7_200).await;
        for (second, counts) in [(7_200, false), (3_600, true), (7_200, true)] {
            let before = clock.millis();
            let refresh = clock.refresh(&*client);
            let (refreshed, ()) = tokio::join!(refresh, answer(&mut line, second, SLOW));
            refreshed.unwrap();
            let expected = match counts {
                true => second * 1_000 + 150,
                false => before + 300,
            };
            assert_eq!(clock.millis(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_old_by_an_old_reading_has_the_clock_read_again() {
        let (clock, client, mut line) = clock_at(7_200).await;
        let hour_ago = 3_600_000;
        // What was read just now is right, however old the other looks.
        clock.check(&*client, hour_ago).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        // What was sent just now says nothing.
        clock.check(&*client, 7_201_500).await.unwrap();
        // Over a slow network it is read no better, and not again at once.
        let slow = answer(&mut line, 7_202, Duration::from_millis(300));
        let (checked, ()) = tokio::join!(clock.check(&*client, hour_ago), slow);
        checked.unwrap();
        clock.check(&*client, hour_ago).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        let now = answer(&mut line, 3_600, Duration::ZERO);
        let (checked, ()) = tokio::join!(clock.check(&*client, hour_ago), now);
        checked.unwrap();
        assert_eq!(clock.instant(hour_ago), Instant::now());
    }

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
