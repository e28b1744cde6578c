//! Numbers as they stand in Redis: as text.
//!
//! By hand or by a crate, as there are several of them in each request, and the standard library's ways,
//! `Display` and `str::parse`, take about twice as many instructions.

/// A number, or an id, which is two.
pub(crate) trait Number {
    fn write_to(self, text: &mut Vec<u8>);
}

impl<N: itoa::Integer> Number for N {
    fn write_to(self, text: &mut Vec<u8>) {
        text.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

/// Reads a number of digits alone.
pub(crate) fn read(digits: &[u8]) -> Option<u64> {
    /// So many fit whatever they are.
    const SAFE: usize = 19;
    let mut number = 0_u64;
    let (safe, rest) = digits.split_at(digits.len().min(SAFE));
    for byte in safe {
        number = number.wrapping_mul(10).wrapping_add(digit(*byte)?.into());
    }
    for byte in rest {
        number = number.checked_mul(10)?.checked_add(digit(*byte)?.into())?;
    }
    (!digits.is_empty()).then_some(number)
}

/// What one digit says.
#[inline]
pub(crate) fn digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number in any::<u64>()) {
            let mut text = Vec::new();
            number.write_to(&mut text);
            prop_assert_eq!(read(&text), Some(number));
        }

        #[test]
        fn any_text_is_read_as_the_standard_library_does_or_refused(text in "[0-9]{0,22}|.{0,3}") {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let expected = text.parse().ok().filter(|_| digits);
            prop_assert_eq!(read(text.as_bytes()), expected);
        }
    }
}
