//! What the server is sent for one request, seen by `MONITOR`: the package's documented steps, in
//! order, whoever of the two languages takes which.

use std::fmt;

use dynamic_batcher::Batcher;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peers::{LIMIT, Peers, Sum, Values, sum_values};

/// Commands without an effect on a request or its answer, and those that only wrap others.
const IGNORED: [&str; 23] = [
    "AUTH",
    "CLIENT",
    "COMMAND",
    "ECHO",
    "EVAL",
    "EVALSHA",
    "EXISTS",
    "EXPIRE",
    "GET",
    "HELLO",
    "INFO",
    "MGET",
    "PING",
    "SCRIPT",
    "TIME",
    "TTL",
    "XGROUP",
    "XINFO",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREAD",
    "XREADGROUP",
];
/// Ends a trace.
const END: &str = "the end of the trace";

pub(crate) async fn the_steps_of_a_request_from_python_to_rust(peers: Peers) {
    let mut trace = Trace::start(&peers).await;
    let processor = peers.processor(sum_values).await;
    trace.read_until(|sent| sent.is("XREADGROUP")).await;
    // A caller that looks seldom, so that an acknowledgement that does not wait for it comes first.
    let bodies = vec![vec![json!({ "values": [1, 5, 2] })]];
    let calls = peers.python_callers(1.0, bodies).await;
    assert_eq!(calls[0][0].answer, json!({ "sum": 8 }));
    trace.read_until(|sent| sent.is("XACK")).await;
    // The drain may acknowledge again, as long as the reply has not come.
    let trace = trace.end(&peers).await;
    peers.drain(processor).await;

    trace.assert_ours_keep_the_rules();
    let mut python = trace.shown(|sent| sent.by_python && !sent.is("CLIENT") && !sent.is("HELLO"));
    python.dedup();
    let documented = [
        "Python: PING",
        "Python: XGROUP CREATE request processor $ MKSTREAM",
        "Python: XGROUP CREATE response batcher $ MKSTREAM",
        r#"Python: XADD request * body {"values": [1, 5, 2]}"#,
        "Python: XPENDING request processor <id> <id> 1",
        "Python: GET <id>",
        "Python: DEL <id>",
    ];
    assert_eq!(python, documented);
    let effects = trace.effects(&["request", "<id>"]);
    let expected = [
        r#"Python: XADD request * body {"values": [1, 5, 2]}"#,
        r#"Rust: SET <id> {"sum":8} EX 600"#,
        "Rust: XDEL request <id>",
        "Python: DEL <id>",
        "Rust: XACK request processor <id>",
    ];
    assert_eq!(effects, expected);
    let after_set = trace.position("SET") + 1;
    assert_eq!(after_set, trace.position("XDEL"), "not in one go");
    peers.assert_nothing_left().await;
}

pub(crate) async fn the_steps_of_a_request_from_rust_to_python(peers: Peers) {
    let mut trace = Trace::start(&peers).await;
    let _python = peers.python_processor(16, 0.1);
    trace
        .read_until(|sent| sent.by_python && sent.is("XREADGROUP"))
        .await;
    let batcher = Batcher::new(peers.transport().await);
    send(&batcher).await;
    trace.read_until(|sent| sent.is("XACK")).await;
    // Once a round, for both streams.
    trace.read_until(|sent| sent.is("XTRIM")).await;
    let trace = trace.end(&peers).await;

    trace.assert_ours_keep_the_rules();
    trace.assert_ours_added_a_request();
    let of_round = |sent: &Sent| sent.is("XREADGROUP") || sent.is("XTRIM");
    let mut rounds = trace.shown(|sent| sent.by_python && of_round(sent));
    rounds.sort();
    rounds.dedup();
    let documented = [
        "Python: XREADGROUP GROUP processor processor COUNT 1 STREAMS request >",
        "Python: XTRIM request MAXLEN ~ 160",
        "Python: XTRIM response MAXLEN ~ 160",
    ];
    assert_eq!(rounds, documented);

    // The two languages clean up at the same time, so in any order.
    let all = trace.effects(&["request", "<id>"]);
    let of = |language: &str| {
        let mut effects = all.clone();
        effects.retain(|shown| shown.starts_with(language) && !shown.contains(" XTRIM "));
        effects
    };
    let [added, taken @ ..] = &of("Rust")[..] else {
        panic!("nothing was added: {all:?}");
    };
    // The entry too: nobody else would delete it if its processor had died after the SET.
    let expected = [
        "Rust: DEL <id>",
        "Rust: XDEL request <id>",
        "Rust: XACK request processor <id>",
    ];
    assert_eq!(taken, expected, "after {added}");
    let expected = [
        r#"Python: SET <id> {"sum": 8} EX 600"#,
        "Python: XDEL request <id>",
    ];
    assert_eq!(of("Python"), expected);
    let order = ["SET", "DEL", "XACK"].map(|name| trace.position(name));
    assert!(order.is_sorted(), "{all:?}");
    let polled = trace.shown(|sent| sent.is_ours() && !sent.by_script() && sent.is("XPENDING"));
    assert_eq!(polled, [""; 0]);
    drop(batcher);
    peers.assert_nothing_left().await;
}

pub(crate) async fn the_steps_of_a_request_from_rust_to_rust(peers: Peers) {
    let trace = Trace::start(&peers).await;
    let processor = peers.processor(sum_values).await;
    let batcher = Batcher::new(peers.transport().await);
    send(&batcher).await;
    peers.drain(processor).await;
    let trace = trace.end(&peers).await;

    trace.assert_ours_keep_the_rules();
    let reply_stream = trace.assert_ours_added_a_request();
    let mut effects = trace.effects(&["request", "<id>", &reply_stream]);
    // The caller makes its stream, and alone trims it.
    let upkeep = [
        format!("Rust: XADD {reply_stream} * "),
        format!("Rust: XTRIM {reply_stream} MINID "),
    ];
    effects.retain(|shown| !upkeep.iter().any(|upkeep| shown.starts_with(&**upkeep)));
    let [request, reply, rest @ ..] = &effects[..] else {
        panic!("no answer: {effects:?}");
    };
    assert!(
        request.starts_with("Rust: XADD request * body "),
        "{request}"
    );
    let start = format!("Rust: XADD {reply_stream} NOMKSTREAM * batch ");
    assert!(reply.starts_with(&start), "{reply}");
    assert!(reply.ends_with(r#" 1 +{"sum":8}"#), "{reply}");
    let expected = [
        "Rust: XDEL request <id>",
        "Rust: XACK request processor <id>",
    ];
    assert_eq!(rest, expected);
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn send(batcher: &Batcher<Values, Sum>) {
    let values = vec![1, 5, 2];
    let answer = batcher.send(Values { values }).await.expect("an answer");
    assert_eq!(answer, Sum { sum: 8 });
}

/// One command that the server has run.
struct Sent {
    source: String,
    by_python: bool,
    words: Vec<String>,
}

impl Sent {
    fn is(&self, name: &str) -> bool {
        self.words[0] == name
    }

    fn is_ours(&self) -> bool {
        !self.by_python
    }

    fn by_script(&self) -> bool {
        self.source == "lua"
    }

    fn is_effect_on(&self, keys: &[&str]) -> bool {
        let key = self.words.get(1);
        !IGNORED.contains(&&*self.words[0]) && key.is_some_and(|key| keys.contains(&&**key))
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let language = if self.by_python { "Python" } else { "Rust" };
        write!(f, "{language}: {}", self.words.join(" "))
    }
}

/// All that the server is sent, as far as it has been read.
struct Trace {
    lines: Lines<BufReader<TcpStream>>,
    sent: Vec<Sent>,
}

impl Trace {
    /// Sees everything from here on.
    async fn start(peers: &Peers) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", peers.server.port())).await;
        let mut stream = stream.expect("the server listens");
        stream.write_all(b"MONITOR\r\n").await.expect("it reads");
        let mut lines = BufReader::new(stream).lines();
        let reply = lines.next_line().await.expect("it answers");
        assert_eq!(reply.as_deref(), Some("+OK"));
        Self {
            lines,
            sent: Vec::new(),
        }
    }

    async fn read_until(&mut self, is_last: impl Fn(&Sent) -> bool) {
        let read = async {
            loop {
                let line = self.lines.next_line().await.expect("it lives");
                let (source, words) = parse(&line.expect("a line"));
                let by_python = self.sent.iter().any(|s| s.by_python && s.source == source);
                let sent = Sent {
                    source,
                    by_python,
                    words,
                };
                // With this the package starts on a connection; ours begins at `0`.
                if sent.words.join(" ") == "XGROUP CREATE request processor $ MKSTREAM" {
                    let same = |earlier: &&mut Sent| earlier.source == sent.source;
                    let earlier = self.sent.iter_mut().filter(same);
                    earlier.for_each(|sent| sent.by_python = true);
                    self.sent.push(Sent {
                        by_python: true,
                        ..sent
                    });
                } else {
                    self.sent.push(sent);
                }
                if self.sent.last().is_some_and(&is_last) {
                    return;
                }
            }
        };
        let in_time = timeout(LIMIT, read).await.is_ok();
        assert!(in_time, "more was to come: {:#?}", self.shown(|_| true));
    }

    /// Reads to the end, and calls the only request by name: `<id>`.
    async fn end(mut self, peers: &Peers) -> Self {
        peers.ask::<String>(redis::cmd("ECHO").arg(END));
        self.read_until(|sent| sent.words == ["ECHO", END]).await;
        let delete = |sent: &&Sent| sent.is("XDEL") && sent.words[1] == "request";
        let deleted = self.sent.iter().find(delete).expect("it was deleted");
        let id = deleted.words[2].clone();
        for word in self.sent.iter_mut().flat_map(|sent| &mut sent.words) {
            if *word == id {
                "<id>".clone_into(word);
            }
        }
        self
    }

    fn shown(&self, which: impl Fn(&Sent) -> bool) -> Vec<String> {
        let which = self.sent.iter().filter(|sent| which(sent));
        which.map(Sent::to_string).collect()
    }

    fn effects(&self, keys: &[&str]) -> Vec<String> {
        self.shown(|sent| sent.is_effect_on(keys))
    }

    /// Where the first of such commands is that names the request.
    fn position(&self, name: &str) -> usize {
        let named = |sent: &Sent| sent.is(name) && sent.words.iter().any(|word| word == "<id>");
        let position = self.sent.iter().position(named);
        position.unwrap_or_else(|| panic!("no {name}: {:#?}", self.shown(|_| true)))
    }

    /// What holds whoever is at the other end.
    fn assert_ours_keep_the_rules(&self) {
        let ours = || self.sent.iter().filter(|sent| sent.is_ours());
        for sent in ours() {
            assert!(!sent.is("XAUTOCLAIM"), "{sent}");
            // What was answered at the head of the stream is cut off, but not of so few requests.
            let trims = sent.is("XTRIM") || sent.words.iter().any(|word| word == "MAXLEN");
            let shared = sent.words.get(1).is_some_and(|key| !key.starts_with('{'));
            assert!(!(trims && shared), "{sent}");
        }
        for sent in ours().filter(|sent| sent.is("XREADGROUP")) {
            let [_, group, named, consumer, ..] = &sent.words[..] else {
                panic!("{sent}");
            };
            assert_eq!([&**group, named], ["GROUP", "processor"], "{sent}");
            assert!(consumer.starts_with("rust-"), "{sent}");
        }
    }

    /// The entry that ours added: the documented field first, then those that Python processors
    /// ignore. Returns where it is to be answered.
    fn assert_ours_added_a_request(&self) -> String {
        let add = |sent: &&Sent| sent.is_ours() && sent.is_effect_on(&["request"]);
        let added = self.sent.iter().find(add).expect("it was added");
        let (documented, ours) = added.words.split_at(5);
        let body = r#"{"values":[1,5,2]}"#;
        assert_eq!(documented, ["XADD", "request", "*", "body", body]);
        let [v, one, reply_to, stream, idem, _, timeout_ms, millis] = ours else {
            panic!("{added}");
        };
        let fields = [&**v, one, reply_to, idem, timeout_ms];
        assert_eq!(fields, ["v", "1", "reply_to", "idem", "timeout_ms"]);
        assert!(stream.starts_with("{request}:reply:"), "{added}");
        assert!(
            millis.parse().is_ok_and(|millis: u32| millis > 0),
            "{added}"
        );
        stream.clone()
    }
}

/// Where a command came from, and its words: `1732435200.123456 [0 127.0.0.1:1234] "GET" "a\"b"`.
/// They have to be UTF-8.
fn parse(line: &str) -> (String, Vec<String>) {
    let (before, quoted) = line.split_once("] ").expect("a source");
    let source = before.rsplit(' ').next().expect("an address");
    let mut words = Vec::new();
    let mut word = None;
    let mut bytes = quoted.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, &mut word) {
            (b'"', None) => word = Some(Vec::new()),
            (b'"', Some(_)) => words.extend(word.take()),
            (b'\\', Some(word)) => word.push(unescape(&mut bytes)),
            (_, Some(word)) => word.push(byte),
            (_, None) => {}
        }
    }
    let words = words.into_iter().map(String::from_utf8);
    let mut words: Vec<_> = words.collect::<Result<_, _>>().expect("UTF-8");
    words[0].make_ascii_uppercase();
    (source.to_owned(), words)
}

fn unescape(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next().expect("something is escaped") {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'x' => {
            let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("two digits"));
            let digits = std::str::from_utf8(&digits).expect("digits");
            u8::from_str_radix(digits, 16).expect("hexadecimal digits")
        }
        other => other,
    }
}
