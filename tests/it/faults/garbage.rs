//! Entries that nobody should write.

use redis::Cmd;

use crate::rig::{Client, LIMIT, PATIENCE, Rig, ends, eventually, kind, start};

fn add(rig: &Rig, fields: &[(&str, &[u8])]) -> String {
    let mut add = Cmd::new();
    add.arg("XADD").arg("request").arg("*");
    for (name, value) in fields {
        add.arg(*name).arg(*value);
    }
    rig.probe.ask(&add)
}

/// They are on the stream before their processor is, among good ones, so that they share a batch.
pub(crate) async fn what_nobody_should_write_fails_alone(client: Client) {
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let good = rig.begin(&caller, 5, PATIENCE);
    let huge = vec![b'['; 64 << 20];
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let mut deep_inside = br#"{"values":[1],"other":"#.to_vec();
    deep_inside.extend(&deep);
    deep_inside.push(b'}');
    let bad: [&[(&str, &[u8])]; 7] = [
        &[("body", &huge)],
        &[("body", &deep)],
        &[("body", b"\xff\xfe")],
        &[("body", b"{\"values\":[NaN]}")],
        &[("body", b"")],
        &[("bodies", b"{\"values\":[1]}")],
        &[("body", b"{\"values\":[1]}"), ("body", b"]")],
    ];
    let bad = bad.map(|fields| add(&rig, fields));
    // Of two bodies the last counts; what nobody asks for is passed over.
    let readable: [&[(&str, &[u8])]; 2] = [
        &[("body", b"]"), ("body", b"{\"values\":[1]}")],
        &[("body", &deep_inside)],
    ];
    let readable = readable.map(|fields| add(&rig, fields));
    let more_good = rig.begin(&caller, 5, PATIENCE);

    let mut processor = start(&rig.config());
    for end in ends(good.into_iter().chain(more_good).collect()).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    // Whoever wrote them waits for what a Python caller would.
    let bad = bad.iter().map(|id| (id, "null"));
    let readable = readable.iter().map(|id| (id, r#"{"sum":1}"#));
    for (number, (id, expected)) in bad.chain(readable).enumerate() {
        let there = || rig.probe.say::<i64>(&format!("EXISTS {id}")) == 1;
        eventually("it is told", there).await;
        let answer: String = rig.probe.say(&format!("GETDEL {id}"));
        assert_eq!(answer, expected, "of number {number}");
    }
    assert!(!processor.has_ended());
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Of an entry that says where its answer goes: to a reply stream of this request stream or nowhere.
pub(crate) async fn a_processor_answers_nowhere_outside_its_names(client: Client) {
    const NAME: &str = "0123456789abcdef0123456789abcdef";
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let places = [
        "request".to_owned(),
        "response".to_owned(),
        "{request}:again".to_owned(),
        "{request}:dead".to_owned(),
        "{request}:reply:".to_owned(),
        "{request}:reply:../../other".to_owned(),
        "other".to_owned(),
        format!("{{other}}:reply:{NAME}"),
        format!("{{request}}:reply:{NAME}:dead"),
        // Of the right shape, but nobody's: it must not be made.
        format!("{{request}}:reply:{NAME}"),
    ];
    let foreign = ["other".to_owned(), format!("{{other}}:reply:{NAME}")];
    for key in &foreign {
        rig.probe.say::<String>(&format!("XADD {key} * its own"));
    }
    for place in &places {
        let reply_to = ("reply_to", place.as_bytes());
        let ours: [(&str, &[u8]); 4] = [
            ("body", b"{\"values\":[1]}"),
            ("v", b"1"),
            reply_to,
            ("idem", b"1"),
        ];
        add(&rig, &ours);
        // An error is told no other way than a response is.
        add(&rig, &[("v", b"1"), reply_to, ("idem", b"1")]);
    }
    let processor = rig.processor().await;
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    eventually("all are done with", || rig.probe.length("request") == 0).await;
    for key in &foreign {
        assert_eq!(rig.probe.length(key), 1, "{key}");
        rig.probe.say::<i64>(&format!("DEL {key}"));
    }
    assert_eq!(rig.probe.length("response"), 0);
    assert_eq!(rig.probe.length("{request}:again"), 0);
    let others: i64 = rig.probe.say(&format!("EXISTS {}", places[9]));
    assert_eq!(others, 0, "nobody reads it");
    // Those whose writer could not be told.
    let dead = rig.probe.length("{request}:dead");
    assert_eq!(dead, 2 * 9, "dead letters");
    rig.probe.say::<i64>("DEL {request}:dead");
    drop(caller);
    rig.probe.is_clean(1, LIMIT).await;
    rig.end(vec![processor]).await;
}
