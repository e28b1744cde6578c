use super::*;

const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_traceparent_comes_back_as_it_was() {
    for text in [
        TEXT,
        "00-00000000000000000000000000000001-0000000000000001-00",
        "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-ff",
    ] {
        let context = TraceContext::parse(text.as_bytes()).unwrap();
        assert_eq!(context.to_string(), text);
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let known = TraceContext::parse(TEXT.as_bytes());
    for later in [
        TEXT.replacen("00", "01", 1),
        format!("cc{}-more", &TEXT[2..]),
    ] {
        assert_eq!(TraceContext::parse(later.as_bytes()), known, "{later}");
    }
}

#[test]
fn what_is_no_traceparent_is_none() {
    for wrong in [
        String::new(),
        "garbage".into(),
        TEXT[..54].into(),
        format!("{TEXT}0"),
        format!("{TEXT}-more"),
        TEXT.to_uppercase(),
        TEXT.replacen("00", "ff", 1),
        TEXT.replacen('-', "_", 1),
        TEXT.replacen('a', "g", 1),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01".into(),
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".into(),
    ] {
        assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
    }
    // Not cut within a character.
    let bytes = [
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        &[0xff][..],
    ]
    .concat();
    assert_eq!(TraceContext::parse(&bytes), None);
}
