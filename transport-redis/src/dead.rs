//! Dead letters: requests that were given up, kept for people to look at.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use dynamic_batcher::{Error, ErrorKind, Result};

use crate::answer;
use crate::client::{send_accepted, send_one, send_though_full};
use crate::command::Command;
use crate::commands;
use crate::entry::{Entry, StreamId};
use crate::place::Place;
use crate::request::Caller;
use crate::value::Value;
use crate::wire::RedisWire;

const BODY: &str = "body";
const REASON: &str = "reason";
const ATTEMPTS: &str = "attempts";
const CONSUMER: &str = "consumer";
const REQUEST: &str = "request_id";
const FIRST: &str = "first_ms";
const LAST: &str = "last_ms";

/// A request that was given up: delivered as often as is permitted without an answer, or unreadable
/// and with nobody to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The letter's own id, for [`DeadLetters::replay`] and [`DeadLetters::remove`].
    pub id: String,
    /// The id that the request had on the request stream.
    pub request_id: String,
    /// The request as its caller encoded it; `None` if there was no body.
    pub body: Option<Vec<u8>>,
    /// Why it was given up.
    pub reason: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// The consumer that had it last.
    pub consumer: String,
    /// When it was sent, by Redis's clock, to the millisecond.
    pub sent: SystemTime,
    /// When it was last delivered, by Redis's clock, to about the millisecond.
    pub last_delivered: SystemTime,
}

/// The dead letters of a request stream: `{request}:dead` ([`Keys::dead`](crate::Keys::dead)).
///
/// About as many as [`max_dead_letters`](crate::RedisConfig#structfield.max_dead_letters) are kept,
/// the newest. None expires. The futures of all methods may be dropped at any time; a command that
/// was sent takes effect all the same.
///
/// # Errors
///
/// [`Connection`](ErrorKind::Connection) when the server cannot be reached,
/// [`Config`](ErrorKind::Config) when it refuses a command.
///
/// # Examples
///
/// ```no_run
/// use std::num::NonZeroUsize;
/// use dynamic_batcher_redis::{RedisConfig, RedisTransport};
///
/// # async fn example() -> dynamic_batcher::Result<()> {
/// const PAGE: NonZeroUsize = NonZeroUsize::new(100).unwrap();
///
/// let transport = RedisTransport::connect(RedisConfig::from_env()?).await?;
/// let dead = transport.dead_letters();
/// for letter in dead.list(None, PAGE).await? {
///     println!("{}: {}", letter.id, letter.reason);
///     match letter.body {
///         Some(_) => drop(dead.replay(&letter.id).await?),
///         None => drop(dead.remove(&letter.id).await?),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct DeadLetters(RedisWire);

impl DeadLetters {
    pub(crate) fn new(wire: RedisWire) -> Self {
        Self(wire)
    }

    /// How many there are.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`].
    pub async fn count(&self) -> Result<u64> {
        let count = commands::length(&self.0.keys().dead());
        let count = self.one(count).await?.int()?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// At most `count` of them, the oldest first, from the one after the id `after` on.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`]; [`Config`](ErrorKind::Config) too when `after` is no id.
    pub async fn list(&self, after: Option<&str>, count: NonZeroUsize) -> Result<Vec<DeadLetter>> {
        let from = match after {
            Some(after) => id(after)?.next(),
            None => StreamId::MIN,
        };
        let list = commands::range(&self.0.keys().dead(), from, count.get());
        let letters = Entry::all(self.one(list).await?)?;
        Ok(letters.into_iter().map(DeadLetter::read).collect())
    }

    /// Puts a request on the request stream once more, as a new one, and removes its letter, in one
    /// step. Its caller was told and waits no more: the response stands under the id that is
    /// returned, for 600 s, as one for a Python caller does. `None` if there is no such letter.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`]; [`Config`](ErrorKind::Config) too when `letter` is no id, or the letter
    /// has no body.
    pub async fn replay(&self, letter: &str) -> Result<Option<String>> {
        let keys = self.0.keys();
        let replay = commands::replay(&keys.dead(), keys.request(), id(letter)?);
        let added = match send_one(self.0.client(), replay).await? {
            Value::Refused(refusal) if refusal.code == "NOBODY" => {
                let text =
                    format!("the dead letter {letter} has no body to send again: `remove` it");
                return Err(Error::new(ErrorKind::Config, text));
            }
            reply => reply.accepted()?.optional_text()?,
        };
        Ok(added.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }

    /// Removes a letter for good. False if there is none.
    ///
    /// # Errors
    ///
    /// See [`DeadLetters`]; [`Config`](ErrorKind::Config) too when `letter` is no id.
    pub async fn remove(&self, letter: &str) -> Result<bool> {
        let remove = commands::delete_entries(&self.0.keys().dead(), [id(letter)?]);
        Ok(self.one(remove).await?.int()? > 0)
    }

    async fn one(&self, command: Command) -> Result<Value> {
        send_one(self.0.client(), command).await?.accepted()
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadLetters")
            .field(&self.0.keys().dead())
            .finish()
    }
}

fn id(text: &str) -> Result<StreamId> {
    StreamId::parse(text.as_bytes()).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            format!("{text:?} is no id of a dead letter, one looks like 1732435200000-0"),
        )
    })
}

impl DeadLetter {
    /// What somebody else has written there is read as far as it goes.
    fn read(Entry { id, fields }: Entry) -> Self {
        let field = |wanted: &str| {
            let mut fields = fields.pairs();
            let found = fields.find(|(name, _)| *name == wanted.as_bytes());
            found.map(|(_, value)| value.to_owned())
        };
        let text = |name| String::from_utf8(field(name).unwrap_or_default()).unwrap_or_default();
        let request_id = text(REQUEST);
        let sent = StreamId::parse(request_id.as_bytes()).unwrap_or(id).millis;
        Self {
            id: id.to_string(),
            request_id,
            body: field(BODY),
            reason: text(REASON),
            attempts: text(ATTEMPTS).parse().unwrap_or_default(),
            consumer: text(CONSUMER),
            sent: time(sent),
            last_delivered: time(text(LAST).parse().unwrap_or(id.millis)),
        }
    }
}

fn time(millis: u64) -> SystemTime {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A request on its way to the dead letters.
pub(crate) struct Burial<'a> {
    pub(crate) id: StreamId,
    pub(crate) body: Body<'a>,
    pub(crate) reason: &'a str,
    pub(crate) deliveries: u32,
    pub(crate) consumer: &'a str,
    /// In the server's milliseconds; `None`: just now.
    pub(crate) last_delivered: Option<u64>,
    pub(crate) acknowledge: bool,
}

/// The body of a letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    None,
    Given(&'a [u8]),
    /// As it stands in the entry, which the server takes it from.
    OfEntry,
}

impl Burial<'_> {
    pub(crate) fn command(&self, place: &Place) -> Command {
        let take_body = self.body == Body::OfEntry;
        let mut command = commands::bury(place, self.id, self.acknowledge, take_body);
        if let Body::Given(body) = self.body {
            command = command.arg(BODY).arg(body);
        }
        if let Some(last) = self.last_delivered {
            command = command.arg(LAST).number(last);
        }
        let command = command.arg(FIRST).number(self.id.millis);
        let command = command.arg(REASON).arg(self.reason);
        let command = command.arg(ATTEMPTS).number(self.deliveries);
        let command = command.arg(CONSUMER).arg(self.consumer);
        command.arg(REQUEST).number(self.id)
    }
}

/// An entry that was delivered as often as is permitted.
pub(crate) struct Exhausted {
    /// With an empty body.
    pub(crate) entry: Entry,
    pub(crate) deliveries: u32,
    pub(crate) consumer: String,
    pub(crate) last_delivered: u64,
}

/// Tells the callers of these, then buries them, each once, whoever else does the same. Those whose
/// callers cannot be told now stay until they are found again.
pub(crate) async fn give_up(place: &Place, exhausted: Vec<Exhausted>) -> Result<()> {
    let mut tell = Vec::new();
    let mut bury = Vec::new();
    let mut reply_stream = None;
    for Exhausted {
        entry,
        deliveries,
        consumer,
        last_delivered,
    } in exhausted
    {
        let id = entry.id;
        let (caller, request) = place.parse(&entry, &mut reply_stream);
        let error = Error::new(ErrorKind::Undeliverable { deliveries }, "");
        tracing::error!("the request {id}, last had by {consumer}: {error}");
        let told = answer::failure(id, &caller, &error);
        let burial = Burial {
            id,
            body: match request {
                Ok(_) => Body::OfEntry,
                Err(_) => Body::None,
            },
            reason: &error.to_string(),
            deliveries,
            consumer: &consumer,
            last_delivered: Some(last_delivered),
            acknowledge: !matches!(caller, Caller::Documented),
        };
        bury.push((told.is_some(), burial.command(place)));
        tell.extend(told);
    }
    if bury.is_empty() {
        return Ok(());
    }
    let mut told = send_though_full(&*place.client, &tell).await?.into_iter();
    bury.retain(|(is_told, _)| !is_told || told.next().is_some_and(counts_as_told));
    let bury: Vec<_> = bury.into_iter().map(|(_, burial)| burial).collect();
    send_accepted(&*place.client, &bury).await
}

/// A caller that can never be told must not keep its request from being buried.
fn counts_as_told(reply: Value) -> bool {
    match reply {
        Value::Refused(refusal) => {
            tracing::warn!("the caller of a request that was given up is not told: {refusal}");
            !refusal.passes()
        }
        _ => true,
    }
}
