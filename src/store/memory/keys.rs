//! Hashing of session keys.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use papaya::Equivalent;

use crate::token::SessionKey;

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

    /// A [`Fingerprint`] is a hash already.
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash of a key, half its size, which finds the key in the map. Where two keys share one,
/// either is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
// Not one number of 64 bits, beside which a hint would take 16 bytes instead of 12.
pub(super) struct Fingerprint([u32; 2]);

impl Fingerprint {
    pub(super) fn of(key: &SessionKey) -> Self {
        let hash = HashKeys::default().hash_one(key);
        Self([(hash >> 32) as u32, hash as u32])
    }

    /// One of `count` equal parts of all fingerprints.
    pub(super) fn part(self, count: usize) -> usize {
        self.0[1] as usize % count
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.0;
        state.write_u64(u64::from(high) << 32 | u64::from(low));
    }
}

impl Equivalent<SessionKey> for Fingerprint {
    fn equivalent(&self, key: &SessionKey) -> bool {
        *self == Self::of(key)
    }
}
