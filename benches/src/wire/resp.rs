//! Redis's protocol by hand, as little of it as the floors need: commands gathered for one write,
//! replies read in place.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;

/// More than the server sends at once.
const BUFFER: usize = 256 << 10;

/// Commands, encoded one after the other.
#[derive(Default)]
pub(crate) struct Commands(Vec<u8>);

impl Commands {
    /// Begins a command of so many words.
    pub(crate) fn command(&mut self, words: usize) -> &mut Self {
        self.header(b'*', words)
    }

    pub(crate) fn word(&mut self, word: &[u8]) -> &mut Self {
        self.header(b'$', word.len());
        self.0.extend_from_slice(word);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let from = write_digits(number, &mut digits);
        self.word(&digits[from..])
    }

    /// Words that are encoded already.
    pub(crate) fn encoded(&mut self, words: &Self) -> &mut Self {
        self.0.extend_from_slice(&words.0);
        self
    }

    /// A whole command whose words have no spaces.
    pub(crate) fn line(&mut self, line: &str) -> &mut Self {
        self.command(line.split(' ').count());
        for word in line.split(' ') {
            self.word(word.as_bytes());
        }
        self
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn header(&mut self, kind: u8, length: usize) -> &mut Self {
        let mut digits = [0; 20];
        let from = write_digits(length as u64, &mut digits);
        self.0.push(kind);
        self.0.extend_from_slice(&digits[from..]);
        self.0.extend_from_slice(b"\r\n");
        self
    }
}

/// Writes the digits to the end; where they begin. The formatter of the standard library takes
/// several times as long, and a request has a dozen lengths.
fn write_digits(mut number: u64, digits: &mut [u8; 20]) -> usize {
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return from;
        }
    }
}

/// A part of a reply: a list is followed by its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<Text> {
    /// A text, also one of a line.
    Text(Text),
    /// An error.
    Error(Text),
    Number(i64),
    /// The head of a list with so many items.
    List(usize),
    /// No text or no list.
    Nil,
}

/// The first item of `bytes`, its text as a range of them, and its length; `None` where it is cut
/// off.
///
/// # Panics
///
/// When what is there is not of the protocol's version 2.
fn first_item(bytes: &[u8]) -> Option<(Item<Range<usize>>, usize)> {
    let kind = *bytes.first()?;
    let line_end = 1 + bytes[1..].iter().position(|byte| *byte == b'\r')?;
    let after = line_end + 2;
    if bytes.len() < after {
        return None;
    }
    // By hand, as a request has a dozen of them.
    let number = || {
        let (sign, digits) = match &bytes[1..line_end] {
            [b'-', digits @ ..] => (-1, digits),
            digits => (1, digits),
        };
        let number = digits.iter().fold(0, |number, digit| {
            assert!(digit.is_ascii_digit(), "the server sends a number here");
            number * 10 + i64::from(digit - b'0')
        });
        sign * number
    };
    let item = match kind {
        b'+' => Item::Text(1..line_end),
        b'-' => Item::Error(1..line_end),
        b':' => Item::Number(number()),
        b'$' | b'*' => match (kind, usize::try_from(number())) {
            (_, Err(_)) => Item::Nil,
            (b'*', Ok(items)) => Item::List(items),
            (_, Ok(length)) => {
                let end = after + length;
                let whole = bytes.len() >= end + 2;
                return whole.then_some((Item::Text(after..end), end + 2));
            }
        },
        other => panic!("{other:?} is no kind of reply"),
    };
    Some((item, after))
}

/// A connection: what is gathered in `commands` is sent in one write, and what comes is read one
/// item after the other.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) commands: Commands,
    received: Vec<u8>,
    /// What has been received and not read.
    unread: Range<usize>,
}

/// It is a benchmark: when its own server fails it ends, so every method panics then.
impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP connection");
        Self {
            stream,
            commands: Commands::default(),
            received: vec![0; BUFFER],
            unread: 0..0,
        }
    }

    pub(crate) fn send(&mut self) {
        let sent = self.stream.write_all(&self.commands.0);
        sent.expect("the server reads");
        self.commands.clear();
    }

    /// Waits for the next item.
    pub(crate) fn item(&mut self) -> Item<&[u8]> {
        let (item, at) = loop {
            let found = first_item(&self.received[self.unread.clone()]);
            if let Some((item, length)) = found {
                let at = self.unread.start;
                self.unread.start += length;
                break (item, at);
            }
            self.receive();
        };
        let text = |range: Range<usize>| &self.received[at + range.start..at + range.end];
        match item {
            Item::Text(range) => Item::Text(text(range)),
            Item::Error(range) => Item::Error(text(range)),
            Item::Number(number) => Item::Number(number),
            Item::List(items) => Item::List(items),
            Item::Nil => Item::Nil,
        }
    }

    /// The text that has to come next; `None` for nil.
    pub(crate) fn text(&mut self) -> Option<&[u8]> {
        match self.item() {
            Item::Text(text) => Some(text),
            Item::Nil => None,
            other => panic!("{other:?} where a text was expected"),
        }
    }

    /// The number that has to come next.
    pub(crate) fn number(&mut self) -> i64 {
        match self.item() {
            Item::Number(number) => number,
            other => panic!("{other:?} where a number was expected"),
        }
    }

    /// How many items the list has that has to come next; nil is an empty list.
    pub(crate) fn list(&mut self) -> usize {
        match self.item() {
            Item::List(items) => items,
            Item::Nil => 0,
            other => panic!("{other:?} where a list was expected"),
        }
    }

    /// Sends one command and reads its reply, a text.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.commands.line(line);
        self.send();
        let text = self.text().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    fn receive(&mut self) {
        if self.unread.end == self.received.len() {
            self.received.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.received.len() {
            self.received.resize(self.received.len() * 2, 0);
        }
        let received = self.stream.read(&mut self.received[self.unread.end..]);
        let received = received.expect("the server answers");
        assert!(received > 0, "the server closed the connection");
        self.unread.end += received;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn commands_are_lists_of_texts_with_their_lengths() {
        let mut commands = Commands::default();
        commands.line("XACK s g").command(2).word(b"").number(0);
        let mut more = Commands::default();
        more.number(u64::MAX).number(10);
        commands.encoded(&more);
        let expected = "*3\r\n$4\r\nXACK\r\n$1\r\ns\r\n$1\r\ng\r\n*2\r\n$0\r\n\r\n$1\r\n0\r\n\
                        $20\r\n18446744073709551615\r\n$2\r\n10\r\n";
        assert_eq!(String::from_utf8(commands.0).unwrap(), expected);
    }

    #[test]
    fn every_kind_of_item_is_read_and_none_that_is_cut_off() {
        let cases = [
            ("+OK\r\n", Item::Text("OK")),
            ("-ERR no\r\n", Item::Error("ERR no")),
            (":-12\r\n", Item::Number(-12)),
            ("$3\r\na\r\n\r\n", Item::Text("a\r\n")),
            ("$0\r\n\r\n", Item::Text("")),
            ("$-1\r\n", Item::Nil),
            ("*-1\r\n", Item::Nil),
            ("*2\r\n", Item::List(2)),
        ];
        for (bytes, expected) in cases {
            for cut in 0..bytes.len() {
                let found = first_item(&bytes.as_bytes()[..cut]);
                assert!(found.is_none(), "{bytes:?} cut off after {cut}");
            }
            // What follows is not its own.
            let followed = format!("{bytes}$1\r\n");
            let (item, length) = first_item(followed.as_bytes()).unwrap();
            let item = match item {
                Item::Text(range) => Item::Text(&bytes[range]),
                Item::Error(range) => Item::Error(&bytes[range]),
                Item::Number(number) => Item::Number(number),
                Item::List(items) => Item::List(items),
                Item::Nil => Item::Nil,
            };
            assert_eq!((item, length), (expected, bytes.len()));
        }
    }

    #[test]
    fn replies_larger_than_the_buffer_arrive_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut replies = Vec::new();
            for length in [3, BUFFER / 2, 2 * BUFFER, 5] {
                write!(replies, "*1\r\n${length}\r\n").unwrap();
                replies.extend((0..length).map(|at| (at % 251) as u8));
                replies.extend(b"\r\n");
            }
            stream.write_all(&replies).unwrap();
        });
        let mut connection = Connection::open(port);
        for length in [3, BUFFER / 2, 2 * BUFFER, 5] {
            assert_eq!(connection.list(), 1);
            let text = connection.text().unwrap();
            let expected = (0..length).map(|at| (at % 251) as u8);
            assert!(text.iter().copied().eq(expected), "{length}");
        }
        server.join().unwrap();
    }
}
