//! What is written is what is read, for every kind of outcome.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::strategies::{any_bytes, matching};

/// What is added for replies: for each its number, its outcome and its position in the batch.
fn entries(batch: Option<&BatchInfo>, replies: Vec<(u64, Result<Vec<u8>>, u32)>) -> Vec<Texts> {
    let idems = replies.iter().map(|(idem, ..)| Idem::Number(*idem));
    let idems: Vec<_> = idems.collect();
    let replies = replies.into_iter().zip(&idems);
    let replies = replies.map(|((_, outcome, position), idem)| Outgoing {
        id: StreamId::MIN,
        reply_to: "reply",
        idem,
        outcome,
        position,
        queued: Duration::from_micros(u64::from(position) * 10),
    });
    let replies: Vec<_> = replies.collect();
    let parts = parts(&replies).into_iter();
    let commands = parts.map(|(_, part)| write(Command::new("XADD"), batch, part));
    commands.map(|command| fields(&command)).collect()
}

fn fields(command: &Command) -> Texts {
    command.iter().map(Bytes::copy_from_slice).collect()
}

fn batch() -> BatchInfo {
    let ran = Duration::from_micros(1_500);
    BatchInfo::new(BatchId::new(7, 9), 64, CloseReason::LastAttempt, ran)
}

#[test]
fn replies_come_back_with_their_batch() {
    let replies = vec![
        (3, Ok(b"{\"sum\":8}".to_vec()), 5),
        (4, Err(Error::handler("negative")), 6),
    ];
    let entries = entries(Some(&batch()), replies);
    assert_eq!(entries.len(), 1);
    let mut read = parse(&entries[0]).into_iter();

    let (idem, reply) = read.next().unwrap();
    let reply = reply.unwrap();
    assert_eq!((idem, &*reply.value), (3, &b"{\"sum\":8}"[..]));
    let info = reply.info.unwrap();
    assert_eq!(*info.batch, batch());
    assert_eq!((info.position, info.queued), (5, Duration::from_micros(50)));

    let (idem, reply) = read.next().unwrap();
    let error = reply.unwrap_err();
    assert_eq!((idem, error.kind()), (4, ErrorKind::Handler));
    assert_eq!(error.to_string(), "the handler failed: negative");
}

#[test]
fn no_entry_has_replies_to_two_callers() {
    let idem = Idem::Text("".into());
    let outgoing = |(position, reply_to)| Outgoing {
        id: StreamId::MIN,
        reply_to,
        idem: &idem,
        outcome: Ok(Vec::new()),
        position,
        queued: Duration::ZERO,
    };
    let callers = ["a", "a", "b", "c", "c"];
    let replies: Vec<_> = (0..).zip(callers).map(outgoing).collect();
    let parts = parts(&replies);
    let each = |(to, part): &(_, &[Outgoing<'_>])| {
        assert!(part.iter().all(|reply| reply.reply_to == *to));
        (*to, part.len())
    };
    let counts: Vec<_> = parts.iter().map(each).collect();
    assert_eq!(counts, [("a", 2), ("b", 1), ("c", 2)]);
}

#[test]
fn every_kind_of_error_keeps_its_kind_and_its_text() {
    let kinds = [
        ErrorKind::Timeout {
            queued: Duration::from_millis(3),
            started: false,
        },
        ErrorKind::Timeout {
            queued: Duration::from_millis(4),
            started: true,
        },
        ErrorKind::QueueFull {
            retry_after: Duration::from_millis(5),
        },
        ErrorKind::Handler,
        ErrorKind::Panic,
        ErrorKind::HandlerTimeout {
            run_timeout: Duration::from_millis(6),
        },
        ErrorKind::WrongNumberOfOutputs {
            expected: 7,
            actual: 8,
        },
        ErrorKind::Encode,
        ErrorKind::Decode,
        ErrorKind::Undeliverable { deliveries: 9 },
        ErrorKind::Lost,
        ErrorKind::Connection,
        ErrorKind::Closed,
        ErrorKind::Config,
    ];
    for kind in kinds {
        let error = Error::new(kind, "why");
        let replies = vec![(1, Err(error.clone()), 0)];
        let fields = entries(None, replies).remove(0);
        let (_, read) = parse(&fields).remove(0);
        let read = read.unwrap_err();
        assert_eq!(read.kind(), kind);
        assert_eq!(read.to_string(), error.to_string());
    }
}

#[test]
fn many_bytes_are_split_over_entries_and_each_place_stays_with_its_reply() {
    let body = vec![b'1'; 400_000];
    let replies = (0..5).map(|n| (n, Ok(body.clone()), n as u32 + 10));
    let entries = entries(Some(&batch()), replies.collect());
    assert_eq!(entries.len(), 3);
    let read = entries.into_iter().flat_map(|fields| parse(&fields));
    for (n, (idem, reply)) in read.enumerate() {
        assert_eq!(idem, n as u64);
        assert_eq!(reply.unwrap().info.unwrap().position, n as u32 + 10);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_of_that_request_alone() {
    let fields = [
        ("made", "1"),
        ("1", "?"),
        ("2", "-no json"),
        ("3", "+3"),
        ("batch", "no json"),
    ];
    let fields = fields.into_iter().flat_map(|(name, value)| [name, value]);
    let read = parse(&fields.map(Bytes::from).collect());
    let idems: Vec<_> = read.iter().map(|(idem, _)| *idem).collect();
    assert_eq!(idems, [1, 2, 3]);
    assert_eq!(read[0].1.as_ref().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(read[1].1.as_ref().unwrap_err().kind(), ErrorKind::Decode);
    let last = read[2].1.as_ref().unwrap();
    assert_eq!((&*last.value, &last.info), (&b"3"[..], &None));
}

fn kind() -> impl Strategy<Value = ErrorKind> {
    let millis = || (0..u64::MAX).prop_map(Duration::from_millis);
    prop_oneof![
        (millis(), any::<bool>())
            .prop_map(|(queued, started)| ErrorKind::Timeout { queued, started }),
        millis().prop_map(|retry_after| ErrorKind::QueueFull { retry_after }),
        millis().prop_map(|run_timeout| ErrorKind::HandlerTimeout { run_timeout }),
        any::<(usize, usize)>().prop_map(|(expected, actual)| {
            ErrorKind::WrongNumberOfOutputs { expected, actual }
        }),
        any::<u32>().prop_map(|deliveries| ErrorKind::Undeliverable { deliveries }),
        Just(ErrorKind::Handler),
        Just(ErrorKind::Panic),
        Just(ErrorKind::Decode),
        Just(ErrorKind::Lost),
    ]
}

/// An outcome, of which a large one is shown by its size.
#[derive(Clone, Debug)]
enum Drawn {
    Response(Vec<u8>),
    LargeResponse(usize),
    Error(ErrorKind, String),
    LargeError(usize),
}

impl Drawn {
    fn outcome(&self) -> Result<Vec<u8>> {
        match self {
            Self::Response(bytes) => Ok(bytes.clone()),
            Self::LargeResponse(size) => Ok(vec![b'1'; *size]),
            Self::Error(kind, detail) => Err(Error::new(*kind, detail)),
            Self::LargeError(size) => Err(Error::handler("x".repeat(*size))),
        }
    }
}

/// Some are as large as an entry may be.
fn drawn() -> impl Strategy<Value = Drawn> {
    prop_oneof![
        6 => any::<Vec<u8>>().prop_map(Drawn::Response),
        1 => (0..MOST_BYTES + 2).prop_map(Drawn::LargeResponse),
        3 => (kind(), any::<String>()).prop_map(|(kind, detail)| Drawn::Error(kind, detail)),
        1 => (0..MOST_BYTES + 2).prop_map(Drawn::LargeError),
    ]
}

/// What can be compared of an outcome.
fn seen(outcome: &Result<Vec<u8>>) -> std::result::Result<&[u8], (ErrorKind, &str)> {
    match outcome {
        Ok(value) => Ok(value),
        Err(error) => Err((error.kind(), error.detail())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_outcomes_come_back_in_order_in_entries_that_are_not_too_large(
        outcomes in proptest::collection::vec(drawn(), 0..12),
        with_batch in any::<bool>(),
    ) {
        let outcomes: Vec<_> = outcomes.iter().map(Drawn::outcome).collect();
        let replies = (0..).zip(&outcomes).map(|(n, outcome)| {
            (u64::from(n) * 3, outcome.clone(), n)
        });
        let batch = with_batch.then(batch);
        let entries = entries(batch.as_ref(), replies.collect());
        for fields in &entries {
            let replies = fields.pairs().filter(|(name, _)| *name != b"batch");
            let sizes: Vec<_> = replies.map(|(name, value)| name.len() + value.len()).collect();
            // The escapes in the texts of errors are not counted.
            prop_assert!(sizes.iter().sum::<usize>() <= MOST_BYTES + (1 << 14) || sizes.len() == 1);
        }
        let read = entries.into_iter().flat_map(|fields| parse(&fields));
        let read: Vec<_> = read.collect();
        prop_assert_eq!(read.len(), outcomes.len());
        for ((n, outcome), (idem, reply)) in (0..).zip(&outcomes).zip(read) {
            prop_assert_eq!(idem, u64::from(n) * 3);
            let info = reply.as_ref().ok().and_then(|reply| reply.info.clone());
            if let (true, Ok(_)) = (with_batch, &reply) {
                prop_assert_eq!(info.unwrap().position, n);
            }
            let reply = reply.map(|reply| reply.value);
            prop_assert!(seen(&reply) == seen(outcome), "of {}", n);
        }
    }

    #[test]
    fn any_fields_are_read_and_each_named_by_a_number_has_an_outcome(
        fields in proptest::collection::vec(
            (
                prop_oneof![
                    any_bytes(),
                    matching("[0-9]{1,20}"),
                    Just(Bytes::from("batch")),
                ],
                prop_oneof![
                    any_bytes(),
                    matching("[+-].*"),
                    matching("-\\{\"kind\":\"[a-z_]{0,9}\",\"message\":\"[a-z]*\"\\}"),
                    matching("\\{\"processor\":1,\"sequence\":2,\"size\":3,\"reason\":\"full\",\"ran_us\":4,\
                     \"positions\":\\[[0-9]?\\],\"queued_us\":\\[[0-9]{0,19}\\]\\}"),
                ],
            ),
            0..6,
        ),
    ) {
        let number = |name: &[u8]| std::str::from_utf8(name).ok()?.parse::<u64>().ok();
        let named: Vec<_> = fields.iter().filter_map(|(name, _)| number(name)).collect();
        let flat = fields.iter().flat_map(|(name, value)| [name, value]);
        let read = parse(&flat.cloned().collect());
        let read: Vec<_> = read.into_iter().map(|(idem, _)| idem).collect();
        prop_assert_eq!(read, named);
    }
}
