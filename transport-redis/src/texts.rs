//! A list of texts, as the fields of an entry are: held as one, not each by itself.

use std::fmt;
use std::iter;
use std::ops::Range;

use bytes::Bytes;

use crate::numbers::{self, digit};

/// What a line and a text of a reply end with.
pub(crate) const END: &[u8] = b"\r\n";

/// Texts in the order in which the server sent them.
#[derive(Clone)]
pub(crate) enum Texts {
    /// As they stand in its reply, each behind its length: a part of the memory that the whole reply
    /// is in, and what is in it is looked for when it is asked for.
    #[cfg_attr(
        not(any(feature = "client-redis", feature = "bench-internals", test)),
        expect(dead_code, reason = "replies are read here of the crate `redis` alone")
    )]
    Together { reply: Bytes, count: usize },
    /// Each as a client crate hands it out.
    Apart(Vec<Bytes>),
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Together { count, .. } => *count,
            Self::Apart(texts) => texts.len(),
        }
    }

    /// The texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (reply, texts) = match self {
            Self::Together { reply, .. } => (&reply[..], &[][..]),
            Self::Apart(texts) => (&[][..], &texts[..]),
        };
        let together = places(reply, 0).map_while(|place| reply.get(place));
        together.chain(texts.iter().map(|text| &text[..]))
    }

    /// Two at a time, names and their values; a last one without a value is none.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut texts = self.iter();
        iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// Each by itself.
    pub(crate) fn apart(self) -> Vec<Bytes> {
        match self {
            Self::Together { reply, .. } => {
                places(&reply, 0).map(|place| reply.slice(place)).collect()
            }
            Self::Apart(texts) => texts,
        }
    }
}

/// Where the texts are that stand in a reply one behind the other, from `at` on.
pub(crate) fn places(reply: &[u8], mut at: usize) -> impl Iterator<Item = Range<usize>> {
    iter::from_fn(move || {
        let place = place(reply, at)?;
        at = place.end + END.len();
        Some(place)
    })
}

/// Where the text is whose line begins at `at`, with its length, though it may not be all there. `None`
/// where no such line begins, or it is not all there, or is not as the server writes it.
#[inline]
pub(crate) fn place(reply: &[u8], at: usize) -> Option<Range<usize>> {
    let (b'$', line) = reply.get(at..)?.split_first()? else {
        return None;
    };
    // Most texts in an entry are of less than ten bytes, or of less than a hundred.
    let (length, digits) = match *line {
        [ones, b'\r', b'\n', ..] => (usize::from(digit(ones)?), 1),
        [tens, ones, b'\r', b'\n', ..] => (usize::from(digit(tens)? * 10 + digit(ones)?), 2),
        _ => longer(line)?,
    };
    let start = at + 1 + digits + END.len();
    Some(start..start + length)
}

/// The length that a line begins with, and in how many digits.
fn longer(line: &[u8]) -> Option<(usize, usize)> {
    /// Of lengths that fit everywhere. What is longer is no part of [`Texts`] that are together.
    const MOST_DIGITS: usize = 9;
    let digits = line.iter().take(MOST_DIGITS);
    let digits = digits.take_while(|byte| digit(**byte).is_some()).count();
    let length = numbers::read(line.get(..digits)?)?;
    let ends = line.get(digits..digits + END.len()) == Some(END);
    Some((usize::try_from(length).ok()?, digits)).filter(|_| ends)
}

impl Default for Texts {
    fn default() -> Self {
        Self::Apart(Vec::new())
    }
}

impl FromIterator<Bytes> for Texts {
    fn from_iter<I: IntoIterator<Item = Bytes>>(texts: I) -> Self {
        Self::Apart(texts.into_iter().collect())
    }
}

/// Equal are those that say the same, wherever it stands.
impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Texts {}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().apart()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_together_are_like_those_apart() {
        let apart: Texts = ["a", "", "bc"].into_iter().map(Bytes::from).collect();
        let together = Texts::Together {
            reply: Bytes::from("$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n"),
            count: 3,
        };
        assert_eq!(together, apart);
        assert_eq!(format!("{together:?}"), format!("{apart:?}"));
        for texts in [together, apart] {
            // The last one is a name without a value.
            assert_eq!(texts.pairs().collect::<Vec<_>>(), [(&b"a"[..], &b""[..])]);
            assert_eq!(texts.len(), 3);
            assert_eq!(texts.apart(), ["a", "", "bc"]);
        }
    }
}
