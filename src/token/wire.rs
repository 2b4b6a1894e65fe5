//! The 64 characters of a token: base64url (RFC 4648, section 5) of exactly 48 bytes, which fill
//! them without a bit to spare and without padding.
//!
//! Neither a branch nor an address depends on a character: how long it takes, and what is in the
//! cache afterwards, tells nothing of the token. The loops over all characters become vector
//! instructions.

use super::TOKEN_BYTES;

pub(super) const CHARACTERS: usize = 64;

/// What is not among the 64 characters.
const INVALID: u8 = 0xff;

/// The bytes behind the characters; `None` if one of them is not of the alphabet.
pub(super) fn decode(characters: &[u8; CHARACTERS]) -> Option<[u8; TOKEN_BYTES]> {
    let mut values = *characters;
    values.iter_mut().for_each(|byte| *byte = value(*byte));
    let seen = values.iter().fold(0, |seen, value| seen | value);
    let mut bytes = [0; TOKEN_BYTES];
    for (six, eight) in bytes.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
        *six = join(u64::from_be_bytes(*eight));
    }
    (seen != INVALID).then_some(bytes)
}

/// Eight times six bits, each at the end of a byte, without the gaps between them: they move
/// together in pairs, first of bytes, then of 16 bits, then of 32.
fn join(values: u64) -> [u8; 6] {
    let twelves = (values & 0x3f00_3f00_3f00_3f00) >> 2 | values & 0x003f_003f_003f_003f;
    let halves = (twelves & 0x0fff_0000_0fff_0000) >> 4 | twelves & 0x0000_0fff_0000_0fff;
    let whole = (halves & 0x00ff_ffff_0000_0000) << 8 | (halves & 0x00ff_ffff) << 16;
    let [bytes @ .., _, _] = whole.to_be_bytes();
    bytes
}

/// The characters of the bytes.
pub(super) fn encode(bytes: &[u8; TOKEN_BYTES]) -> [u8; CHARACTERS] {
    let mut values = [0; CHARACTERS];
    for (four, &[a, b, c]) in values.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
        let group = u32::from_be_bytes([0, a, b, c]);
        *four = [18, 12, 6, 0].map(|shift| (group >> shift) as u8 & 0x3f);
    }
    values.iter_mut().for_each(|byte| *byte = character(*byte));
    values
}

/// The six bits that a character stands for.
fn value(character: u8) -> u8 {
    let is_among = |first: u8, last: u8| mask(character.wrapping_sub(first) <= last - first);
    let upper = is_among(b'A', b'Z');
    let lower = is_among(b'a', b'z');
    let digit = is_among(b'0', b'9');
    let hyphen = is_among(b'-', b'-');
    let underscore = is_among(b'_', b'_');
    (upper & character.wrapping_sub(b'A'))
        | (lower & character.wrapping_sub(b'a').wrapping_add(26))
        | (digit & character.wrapping_sub(b'0').wrapping_add(52))
        | (hyphen & 62)
        | (underscore & 63)
        | (INVALID & !(upper | lower | digit | hyphen | underscore))
}

/// The character that stands for six bits.
fn character(value: u8) -> u8 {
    let is_among = |first: u8, last: u8| mask(value.wrapping_sub(first) <= last - first);
    (is_among(0, 25) & value.wrapping_add(b'A'))
        | (is_among(26, 51) & value.wrapping_sub(26).wrapping_add(b'a'))
        | (is_among(52, 61) & value.wrapping_sub(52).wrapping_add(b'0'))
        | (is_among(62, 62) & b'-')
        | (is_among(63, 63) & b'_')
}

/// All bits set, or none.
fn mask(condition: bool) -> u8 {
    u8::from(condition).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_in_each_place_is_a_character_of_the_alphabet_or_refused() {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for place in 0..CHARACTERS {
            for byte in 0..=u8::MAX {
                let mut characters = [b'A'; CHARACTERS];
                characters[place] = byte;
                let decoded = decode(&characters);
                assert_eq!(decoded.is_some(), ALPHABET.contains(&byte), "{byte} at {place}");
                assert!(decoded.is_none_or(|bytes| encode(&bytes) == characters));
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_base64url_of_others(bytes: [u8; 32], more: [u8; 16]) {
            let mut token = [0; TOKEN_BYTES];
            token[..32].copy_from_slice(&bytes);
            token[32..].copy_from_slice(&more);
            let characters = encode(&token);
            prop_assert_eq!(characters.to_vec(), URL_SAFE_NO_PAD.encode(token).into_bytes());
            prop_assert_eq!(decode(&characters), Some(token));
        }
    }
}
