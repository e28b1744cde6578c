//! A caller's name for its request.

use crate::command::Command;
use crate::numbers;

/// What a caller calls its request: ours count them, and that takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Idem {
    Number(u64),
    /// Any other, also a number that is not written as ours are.
    Text(Box<str>),
}

impl Idem {
    /// Reads the name that stands in an entry; `None` if it is no text.
    pub(crate) fn read(name: &[u8]) -> Option<Self> {
        let number = match name {
            [b'1'..=b'9', ..] => numbers::read(name),
            _ => None,
        };
        match number {
            Some(number) => Some(Self::Number(number)),
            None => Some(Self::Text(std::str::from_utf8(name).ok()?.into())),
        }
    }

    /// How long it is as text, in bytes, at the most.
    pub(crate) fn max_len(&self) -> usize {
        match self {
            Self::Number(_) => 20,
            Self::Text(name) => name.len(),
        }
    }

    /// Appends it as an argument.
    pub(crate) fn push_to(&self, command: &mut Command) {
        match self {
            Self::Number(number) => command.push_number(*number),
            Self::Text(name) => command.push(&**name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_written_as_it_was_read(name in "[0+-]?[0-9]{0,21}|.*") {
            let idem = Idem::read(name.as_bytes()).unwrap();
            let mut command = Command::new("XADD");
            idem.push_to(&mut command);
            prop_assert_eq!(command.iter().next().unwrap(), name.as_bytes());
            prop_assert!(idem.max_len() >= name.len());
        }

        #[test]
        fn a_number_as_ours_are_is_held_as_one(number in 1..=u64::MAX) {
            prop_assert_eq!(Idem::read(number.to_string().as_bytes()), Some(Idem::Number(number)));
        }
    }

    #[test]
    fn what_is_no_text_is_no_name() {
        assert_eq!(Idem::read(b"\xff"), None);
    }
}
