//! A list of texts, as the fields of an entry are: held as one, not each by itself.

use std::fmt;
use std::iter;
use std::ops::Range;

use bytes::Bytes;

/// Texts in the order in which the server sent them.
#[derive(Clone)]
pub(crate) enum Texts {
    /// Parts of one piece of memory, which is held once for all of them.
    #[cfg_attr(
        not(any(feature = "client-redis", feature = "bench-internals", test)),
        expect(dead_code, reason = "replies are read here of the crate `redis` alone")
    )]
    Together {
        memory: Bytes,
        /// Within the memory, all of them.
        places: Box<[Range<usize>]>,
    },
    /// Each as a client crate hands it out.
    Apart(Vec<Bytes>),
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Together { places, .. } => places.len(),
            Self::Apart(texts) => texts.len(),
        }
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Together { memory, places } => memory.get(places.get(index)?.clone()),
            Self::Apart(texts) => texts.get(index).map(|text| &**text),
        }
    }

    /// The texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// Two at a time, names and their values; a last one without a value is none.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut texts = self.iter();
        iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// Each by itself.
    pub(crate) fn apart(self) -> Vec<Bytes> {
        match self {
            Self::Together { memory, places } => {
                let places = places.into_iter();
                places.map(|place| memory.slice(place)).collect()
            }
            Self::Apart(texts) => texts,
        }
    }
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
            memory: Bytes::from("a-bc"),
            places: [0..1, 1..1, 2..4].into(),
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
