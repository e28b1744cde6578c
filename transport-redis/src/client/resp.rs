//! A reply as the server sends it: where it ends, and what it says, in either version of the protocol.
//! What a server sends of itself, as to those who subscribe, is no reply and is refused.
//!
//! The parts of a reply share its memory, and lists of texts are left as they are: an entry of a stream
//! costs no allocation for its fields. Of these, most of a reply, the lines are read by [`texts::place`], each
//! three times: to find the reply's end, the list's, and the text.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use dynamic_batcher::{Error, ErrorKind, Result};

use crate::numbers;
use crate::texts::{self, END, Texts};
use crate::value::{Refusal, Value};

/// The deepest list in a list that is read: those of the server are at most five deep.
const DEEPEST: usize = 32;
/// The longest line that is waited for, in bytes: of those of the server the texts of errors are longest.
const LONGEST_LINE: usize = 64 * 1024;

/// What a value's line tells of what follows it.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// It says all itself.
    Line,
    /// How long the text is that follows.
    Text,
    /// How many values follow.
    List,
    /// How many pairs of them.
    Pairs,
}

impl Shape {
    /// That of the lines that begin so; `None` if none does.
    fn of(kind: u8) -> Option<Self> {
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(Self::Line),
            b'$' | b'=' | b'!' => Some(Self::Text),
            b'*' | b'~' => Some(Self::List),
            b'%' => Some(Self::Pairs),
            _ => None,
        }
    }
}

/// Looks for the end of a reply of which more and more arrives.
#[derive(Debug)]
pub(crate) struct Scan {
    /// How far has been looked; beyond what is there, where a text is known to be longer.
    at: usize,
    /// How many values are still to come.
    missing: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { at: 0, missing: 1 }
    }
}

impl Scan {
    /// How long the reply is that `bytes` begin with, or `None` as long as it is not all there. What
    /// has been looked at is not looked at again: the next call has the same bytes, and more.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        while self.missing > 0 {
            if let Some(place) = texts::place(bytes, self.at) {
                self.at = place.end + END.len();
                self.missing -= 1;
                continue;
            }
            let Some((shape, number, after)) = header(bytes, self.at)? else {
                return Ok(None);
            };
            let (length, more) = match shape {
                Shape::Line => (0, 0),
                Shape::Text => (number.checked_add(END.len()).ok_or_else(malformed)?, 0),
                Shape::List => (0, number),
                Shape::Pairs => (0, twice(number)?),
            };
            self.at = after.checked_add(length).ok_or_else(malformed)?;
            self.missing = (self.missing - 1).checked_add(more).ok_or_else(malformed)?;
        }
        Ok((self.at <= bytes.len()).then_some(self.at))
    }
}

/// Reads a reply that is all there.
pub(crate) fn read(reply: &Bytes) -> Result<Value> {
    let mut reader = Reader { reply, at: 0 };
    reader
        .value(0)
        .map_err(|error| Error::with_source(ErrorKind::Connection, error))
}

struct Reader<'a> {
    reply: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> io::Result<Value> {
        let (line, after) = line(self.reply, self.at).ok_or_else(malformed)?;
        let start = self.at + 1;
        let end = self.at + line.len();
        self.at = after;
        match line {
            [b'+' | b',' | b'(', ..] => Ok(Value::Text(self.reply.slice(start..end))),
            [b'-', text @ ..] => Ok(refused(text)),
            [b':', digits @ ..] => Ok(Value::Int(integer(digits)?)),
            [b'#', truth] => Ok(Value::Int((*truth == b't').into())),
            [b'_'] => Ok(Value::Nil),
            [b'$', length @ ..] => match number(length)? {
                None => Ok(Value::Nil),
                Some(length) => {
                    let place = self.text(length)?;
                    Ok(Value::Text(self.reply.slice(place)))
                }
            },
            [b'=', length @ ..] => {
                /// What kind of text it is, in three letters.
                const KIND: usize = 4;
                let place = self.text(number(length)?.ok_or_else(malformed)?)?;
                if place.len() < KIND {
                    return Err(malformed());
                }
                Ok(Value::Text(self.reply.slice(place.start + KIND..place.end)))
            }
            [b'!', length @ ..] => {
                let place = self.text(number(length)?.ok_or_else(malformed)?)?;
                Ok(refused(self.reply.get(place).unwrap_or_default()))
            }
            [b'*' | b'~', count @ ..] => match number(count)? {
                None => Ok(Value::Nil),
                Some(count) => self.list(count, depth + 1),
            },
            [b'%', pairs @ ..] => {
                let pairs = number(pairs)?.ok_or_else(malformed)?;
                self.list(twice(pairs)?, depth + 1)
            }
            _ => Err(malformed()),
        }
    }

    /// Where the text of this length is that comes next.
    fn text(&mut self, length: usize) -> io::Result<Range<usize>> {
        let end = self.at.checked_add(length).ok_or_else(malformed)?;
        let place = self.at..end;
        self.pass(end)?;
        Ok(place)
    }

    /// Goes on behind a text that ends there.
    fn pass(&mut self, end: usize) -> io::Result<()> {
        let behind = end.saturating_add(END.len());
        if self.reply.get(end..behind) != Some(END) {
            return Err(malformed());
        }
        self.at = behind;
        Ok(())
    }

    fn list(&mut self, count: usize, depth: usize) -> io::Result<Value> {
        /// What the shortest value takes.
        const SHORTEST: usize = 3;
        if depth > DEEPEST {
            return Err(malformed());
        }
        let start = self.at;
        let texts = self.pass_texts(count)?;
        if texts == count && count > 0 {
            let reply = self.reply.slice(start..self.at);
            return Ok(Value::Texts(Texts::Together { reply, count }));
        }
        let most = (self.reply.len() - self.at) / SHORTEST + texts;
        let mut values = Vec::with_capacity(count.min(most));
        let places = texts::places(self.reply, start).take(texts);
        values.extend(places.map(|place| Value::Text(self.reply.slice(place))));
        while values.len() < count {
            values.push(self.value(depth)?);
        }
        Ok(Value::list_of(values))
    }

    /// Passes as many texts as follow upon each other, but no more than so many; how many they are.
    fn pass_texts(&mut self, most: usize) -> io::Result<usize> {
        let mut count = 0;
        while count < most
            && let Some(place) = texts::place(self.reply, self.at)
        {
            self.pass(place.end)?;
            count += 1;
        }
        Ok(count)
    }
}

/// The line that a value begins with at `at`: its shape, the number that it says, and where what follows
/// begins; `None` as long as it is not all there.
fn header(bytes: &[u8], at: usize) -> io::Result<Option<(Shape, usize, usize)>> {
    let Some(kind) = bytes.get(at) else {
        return Ok(None);
    };
    let shape = Shape::of(*kind).ok_or_else(malformed)?;
    let Some((line, after)) = line(bytes, at) else {
        return match bytes.len() - at > LONGEST_LINE {
            true => Err(malformed()),
            false => Ok(None),
        };
    };
    let number = match shape {
        Shape::Line => None,
        Shape::Text | Shape::List | Shape::Pairs => number(line.get(1..).unwrap_or_default())?,
    };
    Ok(Some(match number {
        Some(number) => (shape, number, after),
        // Nothing, in the place of a text or a list: the line says all itself.
        None => (Shape::Line, 0, after),
    }))
}

/// The line that begins at `at`, without its end, and where the next one begins; `None` as long as its
/// end is not there.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    let line = rest.get(..length)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + length + 1))
}

fn refused(text: &[u8]) -> Value {
    Value::Refused(Refusal::new(&String::from_utf8_lossy(text)))
}

/// How many values are in so many pairs.
fn twice(pairs: usize) -> io::Result<usize> {
    pairs.checked_mul(2).ok_or_else(malformed)
}

/// A length or a count; `None` for the negative ones, which stand for nothing.
fn number(digits: &[u8]) -> io::Result<Option<usize>> {
    match integer(digits)? {
        ..0 => Ok(None),
        number => usize::try_from(number).map(Some).map_err(|_| malformed()),
    }
}

fn integer(text: &[u8]) -> io::Result<i64> {
    let number = match text {
        [b'-', digits @ ..] => numbers::read(digits).and_then(|n| 0_i64.checked_sub_unsigned(n)),
        [b'+', digits @ ..] | digits => numbers::read(digits).and_then(|n| n.try_into().ok()),
    };
    number.ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what answers is no Redis: its reply is not of the protocol",
    )
}

#[cfg(test)]
mod tests;
