//! The secret token, the public key in it, and the proof that stores keep.

mod wiped;
mod wire;

use std::{error::Error, fmt, str::FromStr, sync::Arc};

use rand::{TryRng, rngs::SysRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use self::wiped::Wiped;
use crate::error::{BoxError, SessionError, SessionErrorKind};

const KEY_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = KEY_BYTES + SECRET_BYTES;
const VERSION_BYTES: usize = 8;

/// The secret that a browser holds: 16 bytes of public [`SessionKey`] and 32 bytes (256 bits) of
/// secret, all from the operating system's generator.
///
/// On the wire it is exactly 64 base64url characters. 48 bytes fill them without a bit to spare, so
/// each token has one spelling.
///
/// # Security
///
/// It can't be printed, serialized or compared, and is wiped from memory when dropped. Only
/// [`SessionToken::generate`] and the reader of the `Cookie` header make one. Entropy: OWASP ASVS
/// 5, 7.2.3; NIST SP 800-63B-4, section 5.1.
#[derive(Clone)]
pub struct SessionToken(Wiped<TOKEN_BYTES>);

impl SessionToken {
    /// The length of a token on the wire, in bytes.
    pub const WIRE_LENGTH: usize = wire::CHARACTERS;

    /// A new token from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the generator fails; there is no weaker source to fall back on.
    pub fn generate() -> Result<Self, RandomError> {
        RandomSource::OperatingSystem.token_and_version().map(|(token, _)| token)
    }

    /// Reads the one spelling a token has; anything else is `None`.
    pub(crate) fn parse(wire: &[u8]) -> Option<Self> {
        wire::decode(wire.try_into().ok()?).map(Wiped).map(Self)
    }

    /// The 64 characters of the cookie's value.
    pub(crate) fn to_wire(&self) -> Wiped<{ Self::WIRE_LENGTH }> {
        Wiped(wire::encode(&self.0))
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&self.0[..KEY_BYTES]);
        SessionKey(key)
    }

    /// The same key with this token's secret: what a rotation moves to.
    pub(crate) fn with_key(mut self, key: SessionKey) -> Self {
        self.0[..KEY_BYTES].copy_from_slice(&key.0);
        self
    }

    /// What a store keeps of the token.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof(Sha256::digest(self.0.as_slice()).into())
    }

    /// Whether both are the same token, in constant time.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(redacted)")
    }
}

/// The public half of a token, 16 bytes: what stores are keyed by.
///
/// It stays the same for the session's whole life, through every rotation, and is worth nothing
/// without the secret: safe to show, to log, and to put into a "sign out this device" link. It is
/// written as 32 lower-case hexadecimal digits, so it can't be mistaken for a token.
///
/// ```
/// use tower_wristband::SessionKey;
///
/// let key: SessionKey = "000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(key.to_string(), "000102030405060708090a0b0c0d0e0f");
/// # Ok::<(), tower_wristband::InvalidSessionKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; KEY_BYTES]);

impl SessionKey {
    /// A key from its bytes, as a store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Hexadecimal, in lower case.
    pub(crate) fn digits(&self) -> [u8; 2 * KEY_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 2 * KEY_BYTES];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
        }
        digits
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}

impl FromStr for SessionKey {
    type Err = InvalidSessionKey;

    /// Strict: 32 lower-case hexadecimal digits, nothing else.
    fn from_str(text: &str) -> Result<Self, InvalidSessionKey> {
        let one_spelling = text.len() == 2 * KEY_BYTES
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !one_spelling {
            return Err(InvalidSessionKey(()));
        }
        match u128::from_str_radix(text, 16) {
            Ok(number) => Ok(Self(number.to_be_bytes())),
            Err(_) => Err(InvalidSessionKey(())),
        }
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The text is not a [`SessionKey`]: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSessionKey(());

impl fmt::Display for InvalidSessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session key has 32 lower-case hexadecimal digits")
    }
}

impl Error for InvalidSessionKey {}

/// SHA-256 of a token: what a store keeps, and what a presented token is checked against.
///
/// Nobody can make the token from it: a copied store logs nobody in. All comparisons take constant
/// time. A plain hash is enough for a secret of 256 bits (OWASP ASVS 5, 6.5.2).
#[derive(Clone, Copy)]
pub struct Proof([u8; 32]);

impl Proof {
    /// A proof from its bytes, as a store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        // By words: `subtle` hides each element from the optimizer, and 4 take less time than 32.
        let same = words(&self.0).zip(words(&other.0)).map(|(word, other)| word.ct_eq(&other));
        same.fold(Choice::from(1), |all, word| all & word).into()
    }
}

impl Eq for Proof {}

fn words(bytes: &[u8; 32]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word))
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(redacted)")
    }
}

/// The operating system's random generator failed.
#[derive(Debug)]
pub struct RandomError(BoxError);

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random generator failed")
    }
}

impl Error for RandomError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<RandomError> for SessionError {
    fn from(error: RandomError) -> Self {
        Self::with_source(SessionErrorKind::Random, error)
    }
}

/// What fills a buffer with random bytes, in place of the operating system.
type FillBytes = dyn Fn(&mut [u8]) -> Result<(), BoxError> + Send + Sync;

/// Where tokens and versions come from. Only tests have another than the operating system.
#[derive(Clone, Default)]
pub(crate) enum RandomSource {
    #[default]
    OperatingSystem,
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "tests alone inject one"))]
    Injected(Arc<FillBytes>),
}

impl RandomSource {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        match self {
            Self::OperatingSystem => {
                SysRng.try_fill_bytes(bytes).map_err(|error| RandomError(error.into()))
            }
            Self::Injected(fill) => fill(bytes).map_err(RandomError),
        }
    }

    /// A new version of a record.
    pub(crate) fn version(&self) -> Result<u64, RandomError> {
        let mut version = [0; VERSION_BYTES];
        self.fill(&mut version)?;
        Ok(u64::from_be_bytes(version))
    }

    /// A new token, and the version of the record that gets it. The operating system is asked for
    /// both at once: how often it is asked is most of what a login costs.
    pub(crate) fn token_and_version(&self) -> Result<(SessionToken, u64), RandomError> {
        let mut bytes = Wiped([0; TOKEN_BYTES + VERSION_BYTES]);
        self.fill(&mut *bytes)?;
        let mut token = SessionToken(Wiped([0; TOKEN_BYTES]));
        let mut version = [0; VERSION_BYTES];
        token.0.copy_from_slice(&bytes[..TOKEN_BYTES]);
        version.copy_from_slice(&bytes[TOKEN_BYTES..]);
        Ok((token, u64::from_be_bytes(version)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_token_and_a_version_take_no_more_random_bytes_than_they_have() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let random = RandomSource::Injected(Arc::new(|bytes: &mut [u8]| {
            ASKED.fetch_add(bytes.len(), Ordering::Relaxed);
            bytes.fill(7);
            Ok(())
        }));
        let (token, version) = random.token_and_version().expect("it does not fail");
        assert_eq!(ASKED.load(Ordering::Relaxed), 16 + 32 + 8);
        assert_eq!(token.key().as_bytes(), &[7; 16]);
        assert_eq!(version, 0x0707_0707_0707_0707);
    }
}
