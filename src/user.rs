//! Who a session belongs to.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::{SmolStr, ToSmolStr};

use crate::error::{SessionError, SessionErrorKind};

/// The longest user id, in bytes.
const MAX_BYTES: usize = 255;

/// Who a session belongs to: text of 1 to 255 bytes, such as the primary key of the application's
/// user table.
///
/// Integers convert by themselves; text is checked, for its length alone: it may have any
/// characters, also those that no header can carry. Cloning is cheap.
///
/// ```
/// use tower_wristband::UserId;
///
/// let alice = UserId::try_from("alice")?;
/// assert_eq!(alice.as_str(), "alice");
///
/// let number = UserId::from(42_u64);
/// assert_eq!(number.parse::<u64>()?, 42);
/// assert!(UserId::try_from("").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(SmolStr);

impl UserId {
    /// A user id from text.
    ///
    /// # Errors
    ///
    /// [`InvalidUserId`] if the text is empty or longer than 255 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidUserId> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(InvalidUserId(()));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as another type, such as the integer it was made from.
    ///
    /// # Errors
    ///
    /// What the type's own parser says of the text.
    pub fn parse<T: FromStr>(&self) -> Result<T, T::Err> {
        self.0.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for UserId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for UserId {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl From<&UserId> for UserId {
    fn from(user: &UserId) -> Self {
        user.clone()
    }
}

macro_rules! try_from_text {
    ($($text:ty),*) => {$(
        impl TryFrom<$text> for UserId {
            type Error = InvalidUserId;

            fn try_from(text: $text) -> Result<Self, InvalidUserId> {
                Self::new(text)
            }
        }
    )*};
}
try_from_text!(&str, String, &String);

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for UserId {
            fn from(integer: $integer) -> Self {
                Self(integer.to_smolstr())
            }
        }
    )*};
}
from_integer!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

impl FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(text: &str) -> Result<Self, InvalidUserId> {
        Self::new(text)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The text is empty or longer than 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUserId(());

impl fmt::Display for InvalidUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user id has 1 to 255 bytes")
    }
}

impl Error for InvalidUserId {}

impl From<InvalidUserId> for SessionError {
    fn from(error: InvalidUserId) -> Self {
        Self::with_source(SessionErrorKind::UserId, error)
    }
}
