//! What is written is what is read, for every kind of outcome.

use super::*;

/// An entry's fields, as the server hands them out.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What is added for replies: for each its number, its outcome and its position in the batch.
fn entries(batch: Option<&BatchInfo>, replies: Vec<(u64, Result<Vec<u8>>, u32)>) -> Vec<Fields> {
    let idems: Vec<_> = replies.iter().map(|(idem, ..)| idem.to_string()).collect();
    let replies = replies.into_iter().zip(&idems);
    let replies = replies.map(|((_, outcome, position), idem)| Outgoing {
        idem,
        outcome,
        position,
        queued: Duration::from_micros(u64::from(position) * 10),
    });
    let commands = commands("reply", batch, &replies.collect::<Vec<_>>());
    commands.iter().map(fields).collect()
}

fn fields(command: &Command) -> Fields {
    let args: Vec<_> = command.iter().map(<[u8]>::to_vec).collect();
    let (to, fields) = args.split_at(3);
    assert_eq!(to, [&b"reply"[..], b"NOMKSTREAM", b"*"]);
    let pairs = fields.chunks_exact(2);
    pairs
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect()
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
    let mut read = parse(entries.into_iter().flatten().collect()).into_iter();

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
        let (_, read) = parse(fields).remove(0);
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
    let read = entries.into_iter().flat_map(parse);
    for (n, (idem, reply)) in read.enumerate() {
        assert_eq!(idem, n as u64);
        assert_eq!(reply.unwrap().info.unwrap().position, n as u32 + 10);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_of_that_request_alone() {
    let fields = vec![
        (b"made".to_vec(), b"1".to_vec()),
        (b"1".to_vec(), b"?".to_vec()),
        (b"2".to_vec(), b"-no json".to_vec()),
        (b"3".to_vec(), b"+3".to_vec()),
        (b"batch".to_vec(), b"no json".to_vec()),
    ];
    let read = parse(fields);
    let idems: Vec<_> = read.iter().map(|(idem, _)| *idem).collect();
    assert_eq!(idems, [1, 2, 3]);
    assert_eq!(read[0].1.as_ref().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(read[1].1.as_ref().unwrap_err().kind(), ErrorKind::Decode);
    let last = read[2].1.as_ref().unwrap();
    assert_eq!((&*last.value, &last.info), (&b"3"[..], &None));
}
