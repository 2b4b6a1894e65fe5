//! Names of a session's fields, plain and typed.

use std::{fmt, marker::PhantomData};

use smol_str::SmolStr;

use crate::error::{SessionError, SessionErrorKind};

/// The longest name of a field, in bytes.
const MAX_BYTES: usize = 255;

/// A typed name of a field, for names that are used in more than one place.
///
/// It is accepted wherever a `&str` name is, and brings the type of the value along.
///
/// ```
/// use tower_wristband::{Field, Session, SessionError};
///
/// const CART: Field<Vec<u32>> = Field::new("cart");
///
/// fn add_to_cart(session: &Session, item: u32) -> Result<(), SessionError> {
///     let mut cart = session.get(CART)?.unwrap_or_default();
///     cart.push(item);
///     session.insert(CART, &cart)
/// }
/// ```
pub struct Field<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Field<T> {
    /// A field of this name.
    ///
    /// # Panics
    ///
    /// If the name is empty, longer than 255 bytes, or has a control character. For a `const`, that
    /// is an error at compile time.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_valid(name.as_bytes()),
            "a field's name has 1 to 255 bytes, no control characters"
        );
        Self { name, value: PhantomData }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

/// Whether this is the UTF-8 of a name: 1 to 255 bytes, no control characters (Unicode's `Cc`).
const fn is_valid(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if name[at] < b' ' || name[at] == 0x7f {
            return false;
        }
        // U+0080 to U+009F, the control characters beyond ASCII, are 0xC2 and 0x80 to 0x9F.
        if name[at] == 0xc2 && at + 1 < name.len() && name[at + 1] < 0xa0 {
            return false;
        }
        at += 1;
    }
    !name.is_empty() && name.len() <= MAX_BYTES
}

/// A name that has been checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(unreachable_pub, reason = "a sealed trait names it")]
pub struct CheckedName(SmolStr);

impl CheckedName {
    pub(crate) fn new(name: &str) -> Result<Self, SessionError> {
        if is_valid(name.as_bytes()) {
            Ok(Self(name.into()))
        } else {
            Err(SessionError::new(SessionErrorKind::FieldName))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for CheckedName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

mod sealed {
    use super::{CheckedName, SessionError};

    pub trait Name {
        fn checked(self) -> Result<CheckedName, SessionError>;
    }
}

/// What names a field: a `&str` or a [`Field`].
pub trait FieldName: sealed::Name {}

/// What names a field that is read as a `T`: a `&str` (of any type) or a [`Field<T>`].
pub trait FieldOf<T>: FieldName {}

/// What names a field that is written from a `V`: a `&str` (of any type), a [`Field<V>`], or a
/// `Field<String>` for a `str`.
pub trait FieldAccepting<V: ?Sized>: FieldName {}

impl sealed::Name for &str {
    fn checked(self) -> Result<CheckedName, SessionError> {
        CheckedName::new(self)
    }
}

impl FieldName for &str {}
impl<T> FieldOf<T> for &str {}
impl<V: ?Sized> FieldAccepting<V> for &str {}

impl sealed::Name for &String {
    fn checked(self) -> Result<CheckedName, SessionError> {
        CheckedName::new(self)
    }
}

impl FieldName for &String {}
impl<T> FieldOf<T> for &String {}
impl<V: ?Sized> FieldAccepting<V> for &String {}

impl<T> sealed::Name for Field<T> {
    fn checked(self) -> Result<CheckedName, SessionError> {
        Ok(CheckedName(SmolStr::new_static(self.name)))
    }
}

impl<T> FieldName for Field<T> {}
impl<T> FieldOf<T> for Field<T> {}
impl<V> FieldAccepting<V> for Field<V> {}
impl FieldAccepting<str> for Field<String> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_255_bytes() {
        assert!(!is_valid(b""));
        assert!(is_valid(b"a"));
        assert!(is_valid(&[b'a'; 255]));
        assert!(!is_valid(&[b'a'; 256]));
    }

    #[test]
    fn a_name_has_no_control_character_anywhere_and_may_have_every_other() {
        for letter in '\0'..='\u{2fff}' {
            for name in [format!("{letter}"), format!("a{letter}"), format!("{letter}a")] {
                assert_eq!(is_valid(name.as_bytes()), !letter.is_control(), "{name:?}");
            }
        }
    }

    #[test]
    fn half_a_letter_at_the_end_is_no_panic() {
        assert!(is_valid(&[0xc2]));
        assert!(is_valid(&[b'a', 0xc2]));
    }
}
