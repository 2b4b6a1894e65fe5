//! Hashing of session keys.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type HashKeys = BuildHasherDefault<KeyHasher>;

/// Spreads keys over the map. It need not withstand chosen keys: those that are stored are random
/// and made by this crate; a client chooses only what is looked up.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // Both halves of the product, so that every bit of the key reaches every bit of the
            // hash.
            let product = u128::from(self.0 ^ u64::from_le_bytes(word)) * 0x9e37_79b9_7f4a_7c15;
            self.0 = (product as u64) ^ ((product >> 64) as u64);
        }
    }

    /// What is a hash already stays as it is.
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
