//! Whatever stands on the request stream is read, and is answered to nobody but callers.

use bytes::Bytes;
use futures_util::FutureExt as _;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::client::scripted::{Scripted, texts};
use crate::entry::StreamId;
use crate::idem::Idem;
use crate::strategies::{any_bytes, matching};

const PREFIX: &str = "{request}:reply:";

impl Place {
    /// Where the tests are, with names that are easily told apart.
    pub(crate) async fn sample(client: Arc<dyn Client>) -> Self {
        let clock = Clock::read(&*client).await.unwrap();
        Self {
            client,
            clock,
            request_stream: "request".into(),
            again_stream: "again".into(),
            dead_stream: "dead".into(),
            reply_prefix: PREFIX.into(),
            group: "group".into(),
            consumer: "me".into(),
            lease: Duration::from_secs(3),
            grace: Duration::from_secs(30),
            max_deliveries: 3,
            max_dead_letters: 10,
        }
    }
}

fn place() -> Place {
    let (client, _line) = Scripted::with_routine(|_| Some(texts(["100", "0"])));
    Place::sample(client).now_or_never().unwrap()
}

fn field() -> impl Strategy<Value = (Bytes, Bytes)> {
    let name = prop_oneof![
        4 => matching("body|v|reply_to|idem|timeout_ms"),
        1 => any_bytes(),
    ];
    let value = prop_oneof![
        any_bytes(),
        matching("[0-9]{0,25}"),
        matching("\\{request\\}:reply:[0-9a-f-]{0,70}"),
        matching("\\{request\\}:(dead|again|reply:.{0,20})"),
    ];
    (name, value)
}

/// What a caller of ours names its stream.
fn is_one(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    let hex = rest
        .chars()
        .all(|each| matches!(each, '0'..='9' | 'a'..='f' | 'A'..='F' | '-'));
    hex && rest.len() >= 16 && rest.len() <= 64
}

#[test]
fn a_name_has_the_right_length() {
    for (length, is_one) in [(15, false), (16, true), (64, true), (65, false)] {
        let name = format!("{PREFIX}{}", "a".repeat(length));
        assert_eq!(is_reply_stream(PREFIX, &name), is_one, "{length}");
    }
}

/// Who asked, of an entry that wants its answer there.
fn asks(reply_to: &str, last: &mut Option<Arc<str>>) -> Caller {
    let fields = crate::request::written(b"1", reply_to, 7, Duration::ZERO);
    let id = StreamId::MIN;
    place().parse(&Entry { id, fields }, last).0
}

#[test]
fn a_name_is_looked_at_again_unless_it_is_that_of_the_entry_before() {
    let [a, b] = ["a", "b"].map(|hex| format!("{PREFIX}{}", hex.repeat(32)));
    let mut last = None;
    let mut to = |name: &str| match asks(name, &mut last) {
        Caller::Stream { reply_to, .. } => Some(reply_to),
        _ => None,
    };
    let first = to(&a).unwrap();
    assert!(Arc::ptr_eq(&first, &to(&a).unwrap()));
    assert_eq!(to(&b).as_deref(), Some(&*b));
    assert_eq!(to("request"), None);
    assert_eq!(to("request"), None);
    assert_eq!(to(&a).as_deref(), Some(&*a));
}

proptest! {
    #[test]
    fn any_entry_is_read_and_answers_go_only_to_names_of_the_right_shape(
        fields in vec(field(), 0..8),
        millis in any::<u64>(),
    ) {
        let place = place();
        let has = |name: &str| fields.iter().any(|(each, _)| each == name.as_bytes());
        let id = StreamId::parse(format!("{millis}-0").as_bytes()).unwrap();
        // As deep in the past or in the future as an id may say.
        let _ = place.clock.instant(id.millis);

        let (caller, request) = {
            let flat = fields.iter().flat_map(|(name, value)| [name, value]);
            let fields = flat.cloned().collect();
            place.parse(&Entry { id, fields }, &mut None)
        };
        match &caller {
            Caller::Documented => prop_assert!(!has("v")),
            Caller::Stream { reply_to, .. } => {
                prop_assert!(has("v") && has("idem"));
                prop_assert!(is_one(reply_to), "{}", reply_to);
            }
            Caller::Nobody { .. } => prop_assert!(has("v") && request.is_err()),
        }
        if let Ok(request) = request {
            let mut bodies = fields.iter().filter(|(name, _)| name == "body");
            prop_assert_eq!(&request.body, &bodies.next_back().unwrap().1);
        }
    }

    #[test]
    fn what_a_caller_of_ours_writes_is_read_as_it_was_meant(
        body in any::<Vec<u8>>(),
        name in "[0-9a-f]{32}",
        number in any::<u64>(),
        millis in any::<u64>(),
    ) {
        let reply_stream = format!("{PREFIX}{name}");
        let timeout = Duration::from_millis(millis);
        let fields = crate::request::written(&body, &reply_stream, number, timeout);
        let entry = Entry { id: StreamId::MIN, fields };
        let (caller, request) = place().parse(&entry, &mut None);
        let request = request.unwrap();
        prop_assert_eq!((request.body, request.timeout), (body, Some(timeout)));
        let idem = Idem::read(number.to_string().as_bytes()).unwrap();
        prop_assert_eq!(caller, Caller::Stream { reply_to: reply_stream.into(), idem });
    }
}
