//! The mark at the beginning of a text of the load: which of its sender's
//! messages it is.

use crate::wire::HEAD_BYTES;

/// The shortest text that holds a mark, in bytes.
pub const MIN_TEXT_BYTES: usize = HEAD_BYTES;

const SIGN: u8 = b'#';

/// A text of `bytes` bytes that carries `number`.
pub(super) fn text(number: u32, bytes: usize) -> String {
    let mut text = format!("{}{number:08x}", SIGN as char);
    while text.len() < bytes {
        text.push('x');
    }
    text
}

/// The number that a text carries, from its first bytes. `None`: it is not
/// from a load.
pub(super) fn number(head: &[u8; HEAD_BYTES]) -> Option<u32> {
    let (&sign, digits) = head.split_first()?;
    digits
        .iter()
        .try_fold(0, |number, &digit| {
            let digit = (digit as char).to_digit(16)?;
            Some(number << 4 | digit)
        })
        .filter(|_| sign == SIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gives_its_number_back_and_has_its_length() {
        for n in [0, 1, 0xabc, u32::MAX] {
            for bytes in [MIN_TEXT_BYTES, 10, 128] {
                let text = text(n, bytes);
                assert_eq!(text.len(), bytes);
                let head = text.as_bytes()[..HEAD_BYTES].try_into().unwrap();
                assert_eq!(number(head), Some(n));
            }
        }
        for other in [
            b"hello you",
            b"#0000000g",
            b"x00000000",
            b"#\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(number(other), None);
        }
    }
}
