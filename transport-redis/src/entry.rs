//! An entry of a stream: its id, and its fields as the server sends them.

use std::fmt;

use bytes::Bytes;
use dynamic_batcher::{Error, ErrorKind, Result};

use crate::numbers::{self, Number};
use crate::texts::Texts;
use crate::value::Value;

/// The id of a stream entry. Ids compare as two numbers; as text `…-10` sorts before `…-9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId {
    /// Redis's clock when the entry was added, in milliseconds since 1970.
    pub(crate) millis: u64,
    sequence: u64,
}

impl StreamId {
    pub(crate) const MIN: Self = Self {
        millis: 0,
        sequence: 0,
    };

    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let dash = text.iter().position(|byte| *byte == b'-');
        let parsed = match dash.and_then(|at| text.split_at_checked(at)) {
            Some((millis, [_, sequence @ ..])) => {
                numbers::read(millis).zip(numbers::read(sequence))
            }
            _ => numbers::read(text).map(|millis| (millis, 0)),
        };
        let parsed = parsed.map(|(millis, sequence)| Self { millis, sequence });
        parsed.ok_or_else(|| {
            let text = String::from_utf8_lossy(text);
            unreadable(format!("{text:?} where a stream entry's id was expected"))
        })
    }

    /// The id after this one.
    pub(crate) fn next(self) -> Self {
        match (self.sequence.checked_add(1), self.millis.checked_add(1)) {
            (Some(sequence), _) => Self { sequence, ..self },
            (None, Some(millis)) => Self {
                millis,
                sequence: 0,
            },
            // There is none.
            (None, None) => self,
        }
    }

    /// Divides ids where one does not follow directly upon the one before it: within a run, no stream has
    /// another entry.
    pub(crate) fn runs(ids: &[Self]) -> impl Iterator<Item = &[Self]> {
        ids.chunk_by(|before, id| before.next() == *id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

impl Number for StreamId {
    fn write_to(self, text: &mut Vec<u8>) {
        self.millis.write_to(text);
        text.push(b'-');
        self.sequence.write_to(text);
    }
}

/// An entry as a read returns it: its id and its fields; none when it was deleted meanwhile.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: StreamId,
    /// Names and values in turn.
    pub(crate) fields: Texts,
}

impl Entry {
    /// Reads the entries of a reply to XRANGE or XCLAIM, or of one stream of XREAD.
    pub(crate) fn all(value: Value) -> Result<Vec<Self>> {
        value.list()?.into_iter().map(Self::one).collect()
    }

    /// Reads one entry.
    pub(crate) fn one(value: Value) -> Result<Self> {
        let (id, fields) = value.entry()?;
        let id = StreamId::parse(&id)?;
        Ok(Self { id, fields })
    }

    /// Reads a reply to XREAD or XREADGROUP: for each stream that has any its entries, by key.
    pub(crate) fn by_stream(value: Value) -> Result<Vec<(Bytes, Vec<Self>)>> {
        let mut values = value.list()?.into_iter();
        let mut streams = Vec::new();
        while let Some(value) = values.next() {
            let (key, entries) = match value {
                // A map (protocol 3), which arrives flattened.
                Value::Text(key) => (key, values.next()),
                // A pair in a list of its own.
                pair => {
                    let mut pair = pair.list()?.into_iter();
                    (pair.next().unwrap_or(Value::Nil).text()?, pair.next())
                }
            };
            let entries = entries.ok_or_else(|| Value::Nil.unexpected("a stream's entries"))?;
            streams.push((key, Self::all(entries)?));
        }
        Ok(streams)
    }
}

/// The error of what stands in Redis and cannot be read.
pub(crate) fn unreadable(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Decode, detail)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::client::scripted::{entry, list, text};
    use crate::strategies::any_bytes;
    use crate::value::Refusal;

    #[test]
    fn ids_compare_as_numbers() {
        let id = |text: &str| StreamId::parse(text.as_bytes()).unwrap();
        assert!(id("1-9") < id("1-10"));
        assert!(id("9-0") < id("10-0"));
        assert_eq!(id("5-7").to_string(), "5-7");
        assert_eq!(id("5-7").next(), id("5-8"));
        assert_eq!(id("5-18446744073709551615").next(), id("6-0"));
        let last = id("18446744073709551615-18446744073709551615");
        assert_eq!(last.next(), last);
        for wrong in ["", "x", "1-", "-1", "1-x"] {
            assert!(StreamId::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_of_several_streams_are_told_apart_in_either_protocol() {
        let entries = || list([entry("1-1", &["body", "1"])]);
        let pairs = list([list([text("a"), entries()]), list([text("b"), entries()])]);
        let map = list([text("a"), entries(), text("b"), entries()]);
        for reply in [pairs, map] {
            let streams = Entry::by_stream(reply).unwrap();
            let keys: Vec<_> = streams.iter().map(|(key, _)| &**key).collect();
            assert_eq!(keys, [b"a", b"b"]);
            let fields: Vec<_> = streams[0].1[0].fields.pairs().collect();
            assert_eq!(fields, [(&b"body"[..], &b"1"[..])]);
        }
        assert!(Entry::by_stream(Value::Nil).unwrap().is_empty());
    }

    /// Read as nothing, it would be asked for again at once.
    #[test]
    fn what_is_no_list_of_entries_is_refused() {
        let texts = || list([text("a")]);
        for reply in [
            list([list([text("a"), texts()])]),
            list([text("a"), texts()]),
            list([list([text("a"), list([list([]), texts()])])]),
        ] {
            assert!(Entry::by_stream(reply.clone()).is_err(), "{reply:?}");
        }
    }

    /// What a server could send, and what none would.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(text),
            "[0-9]{0,21}-?[0-9]{0,21}".prop_map(text),
            "[A-Z]{1,9}( .*)?".prop_map(|text| Value::Refused(Refusal::new(&text))),
        ];
        leaf.prop_recursive(5, 64, 4, |inner| vec(inner, 0..4).prop_map(list))
    }

    fn id() -> impl Strategy<Value = StreamId> {
        (any::<u64>(), any::<u64>()).prop_map(|(millis, sequence)| StreamId { millis, sequence })
    }

    proptest! {
        #[test]
        fn any_reply_is_read_or_refused(value in value()) {
            if let Ok(streams) = Entry::by_stream(value.clone()) {
                prop_assert!(streams.is_empty() || matches!(value, Value::List(_)), "{:?}", value);
            }
            let _ = Entry::all(value);
        }

        #[test]
        fn ids_come_back_as_they_are_written_and_order_as_numbers(a in id(), b in id()) {
            prop_assert_eq!(StreamId::parse(a.to_string().as_bytes()).unwrap(), a);
            let numbers = |id: StreamId| (id.millis, id.sequence);
            prop_assert_eq!(a.cmp(&b), numbers(a).cmp(&numbers(b)));
            prop_assert!(a.next() >= a);
        }

        #[test]
        fn a_run_goes_on_as_long_as_ids_leave_no_gap(
            starts in vec(id(), 0..4),
            lengths in vec(1..5_usize, 4),
        ) {
            let from = |start| std::iter::successors(Some(start), |id: &StreamId| Some(id.next()));
            let rows = starts.into_iter().zip(lengths);
            let ids: Vec<_> = rows.flat_map(|(start, length)| from(start).take(length)).collect();
            let runs: Vec<_> = StreamId::runs(&ids).collect();
            prop_assert_eq!(runs.concat(), ids.clone());
            let follows = |pair: &[StreamId]| pair[1] == pair[0].next();
            prop_assert!(runs.iter().all(|run| run.windows(2).all(follows)));
            let gaps = ids.windows(2).filter(|pair| !follows(pair)).count();
            prop_assert_eq!(runs.len(), usize::from(!ids.is_empty()) + gaps);
        }

        #[test]
        fn any_text_is_an_id_or_is_refused(bytes in any::<Vec<u8>>(), text in "[0-9-]{0,45}") {
            let _ = StreamId::parse(&bytes);
            if let Ok(id) = StreamId::parse(text.as_bytes()) {
                prop_assert_eq!(StreamId::parse(id.to_string().as_bytes()).unwrap(), id);
            }
        }

        #[test]
        fn what_is_read_are_the_entries_of_their_streams(
            entries in vec((id(), vec((any_bytes(), any_bytes()), 0..4)), 0..4),
            key in any_bytes(),
        ) {
            let all = entries.iter().map(|(id, fields)| {
                let flat = fields.iter().flat_map(|(name, value)| [text(name), text(value)]);
                list([text(id.to_string()), list(flat)])
            });
            let reply = list([list([text(&key), list(all)])]);
            let mut streams = Entry::by_stream(reply).unwrap();
            let (read_key, read) = streams.pop().unwrap();
            let read = read.into_iter().map(|Entry { id, fields }| {
                let copy = Bytes::copy_from_slice;
                (id, fields.pairs().map(|(name, value)| (copy(name), copy(value))).collect())
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), entries);
            prop_assert_eq!((&*read_key, streams.len()), (&*key, 0));
        }
    }
}
