//! A short form of session keys.

use std::hash::{BuildHasher, Hash, Hasher};

use papaya::Equivalent;

use crate::{store::keys::HashKeys, token::SessionKey};

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
