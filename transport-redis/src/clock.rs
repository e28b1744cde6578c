//! Redis's clock as seen from here: entries' ids are in its milliseconds.

use std::time::Duration;

use dynamic_batcher::Result;
use tokio::time::Instant;

use crate::client::Client;
use crate::commands;
use crate::value::Value;

/// One reading of the server's clock, from which all others follow: no host's clock has to agree
/// with another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    read_at: Instant,
    millis: u64,
}

impl Clock {
    pub(crate) async fn read(client: &dyn Client) -> Result<Self> {
        let replies = client.send(&[commands::time()]).await?;
        let mut parts = replies
            .into_iter()
            .next()
            .unwrap_or(Value::Nil)
            .list()?
            .into_iter();
        let mut number = || -> Result<u64> {
            let text = parts.next().unwrap_or(Value::Nil).text()?;
            let number = std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok());
            number.ok_or_else(|| crate::entry::unreadable("the server's time is no number"))
        };
        let (seconds, micros) = (number()?, number()?);
        Ok(Self {
            read_at: Instant::now(),
            millis: seconds * 1_000 + micros / 1_000,
        })
    }

    /// The server's time, in milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        let since = self.read_at.elapsed().as_millis();
        self.millis + u64::try_from(since).unwrap_or_default()
    }

    /// The instant of a time in the server's milliseconds, as near as the first reading was.
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        if let Some(before) = self.millis.checked_sub(millis) {
            let before = Duration::from_millis(before);
            return self.read_at.checked_sub(before).unwrap_or(self.read_at);
        }
        let after = Duration::from_millis(millis - self.millis);
        self.read_at.checked_add(after).unwrap_or(self.read_at)
    }
}
