use proptest::prelude::*;

use super::*;
use crate::client::scripted::{list, text};

fn read_all(reply: &str) -> Result<Value> {
    read(&Bytes::copy_from_slice(reply.as_bytes()))
}

#[test]
fn each_kind_of_reply_is_read() {
    let refused = |reply| Value::Refused(Refusal::new(reply));
    for (reply, value) in [
        ("+OK\r\n", text("OK")),
        ("-ERR no such key\r\n", refused("ERR no such key")),
        (":-7\r\n", Value::Int(-7)),
        (":+7\r\n", Value::Int(7)),
        (":9223372036854775807\r\n", Value::Int(i64::MAX)),
        (":-9223372036854775808\r\n", Value::Int(i64::MIN)),
        ("$3\r\na\r\n\r\n", text("a\r\n")),
        ("$0\r\n\r\n", text("")),
        ("$-1\r\n", Value::Nil),
        ("*-1\r\n", Value::Nil),
        ("*0\r\n", list([])),
        (
            "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            list([list([Value::Int(1)]), text("x")]),
        ),
        ("*2\r\n:1\r\n-NOPERM no\r\n", refused("NOPERM no")),
        ("*2\r\n$1\r\na\r\n-NOPERM no\r\n", refused("NOPERM no")),
        // The texts of a list together, and apart.
        ("*2\r\n$1\r\na\r\n$0\r\n\r\n", list([text("a"), text("")])),
        ("*2\r\n$1\r\na\r\n+b\r\n", list([text("a"), text("b")])),
        (
            "*3\r\n$1\r\na\r\n$-1\r\n$1\r\nb\r\n",
            list([text("a"), Value::Nil, text("b")]),
        ),
        // As no server writes its numbers.
        ("$000000001\r\nx\r\n", text("x")),
        ("$0000000001\r\nx\r\n", text("x")),
        ("*0000000001\r\n$+1\r\nx\r\n", list([text("x")])),
        // Version 3.
        ("_\r\n", Value::Nil),
        (",3.25\r\n", text("3.25")),
        ("#t\r\n", Value::Int(1)),
        ("#f\r\n", Value::Int(0)),
        ("(12345678901234567890\r\n", text("12345678901234567890")),
        ("=6\r\ntxt:ab\r\n", text("ab")),
        ("!10\r\nERR broken\r\n", refused("ERR broken")),
        ("~1\r\n:1\r\n", list([Value::Int(1)])),
        ("%1\r\n+k\r\n%0\r\n", list([text("k"), list([])])),
    ] {
        assert_eq!(read_all(reply).unwrap(), value, "{reply:?}");
        let length = Scan::default().end(reply.as_bytes()).unwrap();
        assert_eq!(length, Some(reply.len()), "{reply:?}");
        // As where the crate reads itself; of big numbers it has a type by its features.
        if !reply.starts_with('(') {
            let by_crate = redis::parse_redis_value(reply.as_bytes()).unwrap();
            assert_eq!(Value::from(by_crate), value, "{reply:?}");
        }
    }
}

#[test]
fn what_is_not_of_the_protocol_is_refused() {
    for reply in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "$x\r\n",
        ">3\r\n+message\r\n+channel\r\n+text\r\n",
        "*9999999999999999999\r\n",
        "$9223372036854775807\r\n$9223372036854775807\r\n",
        "*9223372036854775807\r\n*9223372036854775807\r\n*9223372036854775807\r\n",
    ] {
        assert!(read_all(reply).is_err(), "{reply:?}");
        let looked = Scan::default().end(reply.as_bytes());
        assert!(!matches!(looked, Ok(Some(_))), "{reply:?}");
    }
    for number in ["", "-", "1:", "9223372036854775808", "-9223372036854775809"] {
        assert!(read_all(&format!(":{number}\r\n")).is_err(), "{number:?}");
    }
    // Nor is more of it waited for.
    for begun in ["HTTP/1.1 400 Bad", "<", "\r"] {
        assert!(Scan::default().end(begun.as_bytes()).is_err(), "{begun:?}");
    }
    let endless = "+".repeat(LONGEST_LINE + 1);
    assert!(Scan::default().end(endless.as_bytes()).is_err());
    let long = endless.get(..LONGEST_LINE).unwrap();
    assert_eq!(Scan::default().end(long.as_bytes()).unwrap(), None);

    let deep = "*1\r\n".repeat(1_000_000) + ":1\r\n";
    assert!(read_all(&deep).is_err());
}

/// Any reply, and how the server writes it.
fn reply() -> impl Strategy<Value = (Value, Vec<u8>)> {
    let leaf = prop_oneof![
        Just((Value::Nil, b"$-1\r\n".to_vec())),
        any::<i64>().prop_map(|n| (Value::Int(n), format!(":{n}\r\n").into_bytes())),
        any::<Vec<u8>>().prop_map(|bytes| {
            let mut written = format!("${}\r\n", bytes.len()).into_bytes();
            written.extend_from_slice(&bytes);
            written.extend_from_slice(b"\r\n");
            (text(bytes), written)
        }),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        proptest::collection::vec(inner, 0..6).prop_map(|values| {
            let mut written = format!("*{}\r\n", values.len()).into_bytes();
            let values = values.into_iter().map(|(value, bytes)| {
                written.extend_from_slice(&bytes);
                value
            });
            (list(values.collect::<Vec<_>>()), written)
        })
    })
}

proptest! {
    #[test]
    fn a_reply_ends_where_it_ends_and_says_what_was_written(
        (value, written) in reply(),
        behind in any::<Vec<u8>>(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let mut all = written.clone();
        all.extend_from_slice(&behind);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(written.len())).collect();
        cuts.sort_unstable();
        // However it arrives.
        let mut scan = Scan::default();
        for cut in cuts {
            prop_assert_eq!(scan.end(&all[..cut]).unwrap(), None);
        }
        prop_assert_eq!(scan.end(&all).unwrap(), Some(written.len()));
        prop_assert_eq!(read(&Bytes::from(written)).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let _ = Scan::default().end(&bytes);
        let _ = read(&Bytes::from(bytes));
    }
}
