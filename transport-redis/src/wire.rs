//! The transport over bytes, which every handle of it shares.

use std::future::ready;
use std::sync::Arc;

use dynamic_batcher::{CallMeta, Error, ErrorKind, Observer, Reply, Result, Source, Transport};
use futures_util::future::Either;

use crate::caller::{Caller, random_name};
use crate::callers::Callers;
use crate::client::observed::ObservedClient;
use crate::client::{Client, send_one};
use crate::clock::Clock;
use crate::commands;
use crate::config::RedisConfig;
use crate::groups::{self, Group};
use crate::keys::Keys;
use crate::place::{CONSUMER_PREFIX, Place};
use crate::source::RedisConsumer;
use crate::value::Value;

/// The oldest server with all commands that are used.
const OLDEST_SERVER: (u32, u32) = (6, 2);

/// The connections, the names on the server, and what callers share.
#[derive(Clone)]
pub(crate) struct RedisWire(Arc<Shared>);

struct Shared {
    client: Arc<dyn Client>,
    config: RedisConfig,
    keys: Keys,
    clock: Clock,
    callers: Callers,
}

impl RedisWire {
    /// Checks the server and the names, and makes what is missing there.
    pub(crate) async fn open(client: Arc<dyn Client>, config: RedisConfig) -> Result<Self> {
        let keys = Keys::new(config.stream_key_request.clone())?;
        check_version(send_one(&*client, commands::server_info()).await?)?;
        let group = |stream, name, from| Group { stream, name, from };
        let processors = &*config.stream_group_processor;
        let batchers = &*config.stream_group_batcher;
        let again = keys.again();
        let groups = [
            group(keys.request(), processors, groups::BEGINNING),
            group(&again, processors, groups::BEGINNING),
            group(&config.stream_key_response, batchers, groups::NOW),
        ];
        groups::make(&*client, &groups).await?;
        let clock = Clock::read(&*client).await?;
        warn_of_other_streams(&*client, &keys, processors).await?;
        Ok(Self(Arc::new(Shared {
            client,
            config,
            keys,
            clock,
            callers: Callers::default(),
        })))
    }

    /// The same connections, of which an observer is told.
    pub(crate) fn observed(&self, observer: impl Observer) -> Self {
        let shared = &self.0;
        let client = ObservedClient::new(Arc::clone(&shared.client), observer);
        Self(Arc::new(Shared {
            client: Arc::new(client),
            config: shared.config.clone(),
            keys: shared.keys.clone(),
            clock: shared.clock.clone(),
            callers: Callers::default(),
        }))
    }

    pub(crate) fn client(&self) -> &dyn Client {
        &*self.0.client
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    fn caller(&self) -> Result<Arc<Caller>> {
        let Shared {
            client,
            keys,
            config,
            callers,
            ..
        } = &*self.0;
        callers.here(|runtime| Caller::start(runtime, client, keys, config))
    }
}

/// Warns of another request stream in the same database. Best effort: of many keys it sees a part.
async fn warn_of_other_streams(client: &dyn Client, keys: &Keys, group: &str) -> Result<()> {
    let find = commands::find_other_streams(keys.request(), &keys.again(), group);
    let found = send_one(client, find).await?;
    // Whoever may not look is not warned.
    for other in found.list().unwrap_or_default() {
        let other = String::from_utf8_lossy(&other.text()?).into_owned();
        tracing::warn!(
            "{other:?} in the same database looks like another request stream beside {:?}: where \
             Python callers or processors take part, give each a database of its own, since their \
             responses are kept under ids that both streams may have",
            keys.request()
        );
    }
    Ok(())
}

fn check_version(info: Value) -> Result<()> {
    let info = match info.accepted()? {
        Value::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .map(str::trim);
    let numbers = version.and_then(|version| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    });
    match numbers {
        Some(numbers) if numbers >= OLDEST_SERVER => Ok(()),
        _ => {
            let (major, minor) = OLDEST_SERVER;
            let found = version.unwrap_or("of unknown version");
            Err(Error::new(
                ErrorKind::Config,
                format!("the server is {found}, allowed is Redis {major}.{minor} or later"),
            ))
        }
    }
}

impl Transport<Vec<u8>, Vec<u8>> for RedisWire {
    /// Sends at once.
    fn call(
        &self,
        body: Vec<u8>,
        meta: CallMeta,
    ) -> impl Future<Output = Result<Reply<Vec<u8>>>> + Send {
        let sent = self.caller().and_then(|caller| caller.call(body, meta));
        match sent {
            Ok(call) => Either::Left(call),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

impl Source<Vec<u8>, Vec<u8>> for RedisWire {
    type Consumer = RedisConsumer;

    fn attach(&self) -> RedisConsumer {
        let shared = &self.0;
        RedisConsumer::new(Place {
            client: Arc::clone(&shared.client),
            clock: shared.clock.clone(),
            request_stream: shared.keys.request().to_owned(),
            again_stream: shared.keys.again(),
            dead_stream: shared.keys.dead(),
            reply_prefix: shared.keys.reply(""),
            group: shared.config.stream_group_processor.clone(),
            consumer: format!("{CONSUMER_PREFIX}{}", random_name()),
            lease: shared.config.lease,
            grace: shared.config.grace,
            max_deliveries: shared.config.max_deliveries.get(),
            max_dead_letters: shared.config.max_dead_letters.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_or_says_no_version_is_refused() {
        let info = |text: &str| Value::Text(format!("# Server\r\n{text}\r\n").into());
        for good in ["6.2.0", "6.10.1", "7.0.15", "8.0.1"] {
            let checked = check_version(info(&format!("redis_version:{good}")));
            assert!(checked.is_ok(), "{good}: {checked:?}");
        }
        for bad in [
            "redis_version:6.0.16",
            "redis_version:5.0.7",
            "redis_version:x",
            "",
        ] {
            let error = check_version(info(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(
                error.to_string().contains("allowed is Redis 6.2"),
                "{error}"
            );
        }
    }
}
