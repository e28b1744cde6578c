//! A request as it stands on the request stream.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::Result;
use dynamic_batcher::trace::TraceContext;

use crate::command::Command;
use crate::entry::{Entry, unreadable};
use crate::idem::Idem;
use crate::numbers;
#[cfg(test)]
use crate::texts::Texts;

/// The request's body, JSON: the one field that the Python package knows.
const BODY: &[u8] = b"body";
/// The version of the extension fields. Without it an entry comes from a Python caller.
const VERSION: &[u8] = b"v";
const REPLY_TO: &[u8] = b"reply_to";
const IDEM: &[u8] = b"idem";
const TIMEOUT: &[u8] = b"timeout_ms";
/// The place in the caller's trace, as the W3C writes it.
const TRACEPARENT: &[u8] = b"traceparent";

/// Who asked, and so how the answer goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A Python caller: a string key named like the entry's id, and `null` for any failure.
    Documented,
    /// A caller of ours: its reply stream, and its name for the request.
    Stream { reply_to: Arc<str>, idem: Idem },
    /// An entry that says `v` and not where to answer: it goes to the dead letters.
    Nobody { body: Option<Vec<u8>> },
}

/// A request as a processor reads it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) body: Vec<u8>,
    /// How long the caller waits, from the id's milliseconds; a Python caller does not say.
    pub(crate) timeout: Option<Duration>,
    /// Where it stands in its caller's trace, if that is known. What cannot be read is not known.
    pub(crate) trace: Option<TraceContext>,
}

/// What is the same in every request of ours: the names of its fields in the order in which an entry
/// has them, and behind that of the version the version.
pub(crate) const SAME: [&[u8]; 6] = [BODY, VERSION, b"1", REPLY_TO, IDEM, TIMEOUT];

/// The name of a further field, which requests may have: of requests among which one has it. What
/// is each one's own then has a place for it.
pub(crate) fn further_field(is_traced: bool) -> &'static [u8] {
    if is_traced { TRACEPARENT } else { b"" }
}

/// Appends what is a request's own: its body, its number and how long it is awaited.
pub(crate) fn write(command: &mut Command, body: &[u8], idem: u64, timeout: Duration) {
    command.push(body);
    command.push_number(idem);
    command.push_number(timeout.as_millis());
}

/// Appends a request's place in its caller's trace, or nothing in its place.
pub(crate) fn write_trace(command: &mut Command, trace: Option<TraceContext>) {
    match trace {
        Some(trace) => command.push(trace.to_string()),
        None => command.push(b""),
    }
}

impl Request {
    /// Reads a request. Of what is wrong with it, the caller that can be told is told.
    ///
    /// `reply_stream` returns a name if it has the shape of a reply stream of this request stream: an
    /// answer goes nowhere else, whatever an entry asks for.
    pub(crate) fn parse(
        entry: &Entry,
        reply_stream: impl FnOnce(&[u8]) -> Option<Arc<str>>,
    ) -> (Caller, Result<Self>) {
        let (mut body, mut version, mut reply_to) = (None, None, None);
        let (mut idem, mut timeout, mut trace) = (None, None, None);
        for (name, value) in entry.fields.pairs() {
            let known = match name {
                BODY => &mut body,
                VERSION => &mut version,
                REPLY_TO => &mut reply_to,
                IDEM => &mut idem,
                TIMEOUT => &mut timeout,
                TRACEPARENT => &mut trace,
                _ => continue,
            };
            // Of several the last counts, as in the Python package.
            *known = Some(value);
        }
        // All is copied: what waits does not keep the memory of all that was read with it.
        let body = body.map(<[u8]>::to_vec);
        let reply_to = reply_to.and_then(reply_stream);
        let caller = match (version, reply_to, idem.and_then(Idem::read)) {
            (Some(_), Some(reply_to), Some(idem)) => Caller::Stream { reply_to, idem },
            (None, _, _) => Caller::Documented,
            (Some(_), _, _) => {
                let error = unreadable("the entry says `v` without a usable `reply_to` and `idem`");
                return (Caller::Nobody { body }, Err(error));
            }
        };
        let Some(body) = body else {
            let error = unreadable("the entry has no field `body`");
            return (caller, Err(error));
        };
        let timeout = match timeout.map(numbers::read) {
            None => None,
            Some(Some(millis)) => Some(Duration::from_millis(millis)),
            Some(None) => {
                let error = unreadable("the entry's `timeout_ms` is no number");
                return (caller, Err(error));
            }
        };
        let request = Self {
            body,
            timeout,
            trace: trace.and_then(TraceContext::parse),
        };
        (caller, Ok(request))
    }
}

/// The fields that the script makes of a request.
#[cfg(test)]
pub(crate) fn written(body: &[u8], reply_to: &str, idem: u64, timeout: Duration) -> Texts {
    let mut command = Command::new("EVAL");
    write(&mut command, body, idem, timeout);
    let own: Vec<_> = command.iter().collect();
    let [body, version, one, to, number, time] = SAME;
    let fields = [
        (body, own[0]),
        (version, one),
        (to, reply_to.as_bytes()),
        (number, own[1]),
        (time, own[2]),
    ];
    let flat = fields.map(<[_; 2]>::from);
    let texts = flat.as_flattened().iter().copied();
    texts.map(bytes::Bytes::copy_from_slice).collect()
}

#[cfg(test)]
mod tests {
    use dynamic_batcher::ErrorKind;

    use super::*;
    use crate::entry::StreamId;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let flat = fields.iter().flat_map(|(name, value)| [name, value]);
        Entry {
            id: StreamId::MIN,
            fields: flat.map(|text| (*text).to_owned().into()).collect(),
        }
    }

    fn reply_stream(name: &[u8]) -> Option<Arc<str>> {
        (name == b"reply").then(|| "reply".into())
    }

    fn parse(fields: &[(&str, &str)]) -> (Caller, Result<Request>) {
        Request::parse(&entry(fields), reply_stream)
    }

    #[test]
    fn a_request_of_ours_comes_back_as_it_was_sent() {
        let fields = written(b"[1]", "reply", 7, Duration::from_millis(1_500));
        let entry = Entry {
            id: StreamId::MIN,
            fields,
        };
        let (caller, request) = Request::parse(&entry, reply_stream);
        let request = request.unwrap();
        assert_eq!(request.body, b"[1]");
        assert_eq!(request.timeout, Some(Duration::from_millis(1_500)));
        let idem = Idem::Number(7);
        let reply_to = "reply".into();
        assert_eq!(caller, Caller::Stream { reply_to, idem });
    }

    #[test]
    fn a_traceparent_is_read_if_it_is_one() {
        let known = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |text| {
            let (_, request) = parse(&[("body", "1"), ("traceparent", text)]);
            request.unwrap().trace
        };
        assert_eq!(read(known).unwrap().to_string(), known);
        assert_eq!(read("garbage"), None);
        assert_eq!(parse(&[("body", "1")]).1.unwrap().trace, None);
    }

    #[test]
    fn an_entry_without_v_is_a_python_callers_whatever_else_it_says() {
        for fields in [
            &[("body", "1")][..],
            &[("other", "x"), ("body", "0"), ("body", "1")],
            &[("body", "1"), ("reply_to", "reply"), ("idem", "7")],
        ] {
            let (caller, request) = parse(fields);
            assert_eq!(caller, Caller::Documented);
            let request = request.unwrap();
            // Of two bodies the last counts, as in the Python package.
            assert_eq!((&*request.body, request.timeout), (&b"1"[..], None));
        }
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_told_to_whom_it_can_be() {
        let ours = ("v", "1");
        let to = ("reply_to", "reply");
        let idem = ("idem", "7");
        let cases = [
            (vec![("other", "1")], false),
            (vec![ours, to, idem], true),
            (
                vec![("body", "1"), ours, to, idem, ("timeout_ms", "soon")],
                true,
            ),
            // An answer goes to reply streams of this request stream, and nowhere else.
            (
                vec![("body", "1"), ours, ("reply_to", "request"), idem],
                false,
            ),
            (vec![("body", "1"), ours, to], false),
        ];
        for (fields, can_be_told) in cases {
            let (caller, request) = parse(&fields);
            assert_eq!(
                matches!(caller, Caller::Stream { .. }),
                can_be_told,
                "{fields:?}"
            );
            assert_eq!(request.unwrap_err().kind(), ErrorKind::Decode, "{fields:?}");
        }
    }
}
