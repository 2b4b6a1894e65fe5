//! A record in parts, for stores that keep it in columns.

use std::fmt;

use super::{Fields, Label, Record};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    lifetime::Lifetime,
    token::Proof,
    user::UserId,
};

/// Everything a [`Record`] is made of, for a store that keeps it in columns.
///
/// A new session is taken apart with [`Record::parts`], and a stored one put together with
/// [`Record::from_parts`]. Destructure it without `..`, so that the compiler names what a later
/// version adds.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a store must handle all of it")]
pub struct RecordParts<'a> {
    /// 64 random bits that each writer chooses anew.
    pub version: u64,
    /// SHA-256 of the token that is valid now.
    pub proof: Proof,
    /// When the last rotation replaced the proof.
    pub rotated_at: Option<Timestamp>,
    /// How many times a user was bound.
    pub logins: u32,
    /// The id of the user that the session belongs to.
    pub user: Option<&'a str>,
    /// The label for a page of devices.
    pub label: Option<&'a str>,
    /// When the session was created.
    pub created_at: Timestamp,
    /// When a user was last bound: there if and only if there is a user.
    pub authenticated_at: Option<Timestamp>,
    /// When activity was last written.
    pub last_seen_at: Timestamp,
    /// How long the session lives. Its three durations are whole seconds, and its fourth part is
    /// whether it [ends with the browser](Lifetime::ends_with_browser).
    pub lifetime: Lifetime,
    /// The fields in any order: names and the text of the JSON value.
    pub fields: Vec<(&'a str, &'a str)>,
}

impl Record {
    /// The record, taken apart.
    #[must_use]
    pub fn parts(&self) -> RecordParts<'_> {
        RecordParts {
            version: self.version,
            proof: self.proof,
            rotated_at: self.rotated_at,
            logins: self.logins,
            user: self.user().map(UserId::as_str),
            label: self.label(),
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            last_seen_at: self.last_seen_at,
            lifetime: self.lifetime,
            fields: self.fields().collect(),
        }
    }

    /// The record of these parts, as a store kept them.
    ///
    /// For a [summary](Self::summary), or to ask whether it is [alive](Self::is_alive), the fields
    /// can be left out.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](StoreErrorKind::Corrupt) if no record can have been of these parts.
    pub fn from_parts(parts: RecordParts<'_>) -> Result<Self, StoreError> {
        parts.check().map_err(|broken| StoreError::with_source(StoreErrorKind::Corrupt, broken))
    }
}

impl RecordParts<'_> {
    /// The record, if it keeps what every record keeps; otherwise what it breaks.
    pub(super) fn check(self) -> Result<Record, &'static str> {
        if self.user.is_some() != self.authenticated_at.is_some() {
            return Err("a record has an authentication time if and only if it has a user");
        }
        self.lifetime.validate().map_err(|_| "the lifetime is not a valid one")?;
        let user = self.user.map(UserId::new).transpose();
        let label = self.label.map(Label::new).transpose();
        Ok(Record {
            version: self.version,
            proof: self.proof,
            rotated_at: self.rotated_at,
            logins: self.logins,
            user: user.map_err(|_| "the user id is empty or longer than 255 bytes")?,
            label: label.map_err(|_| "the label is longer than 255 bytes")?,
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            last_seen_at: self.last_seen_at,
            lifetime: self.lifetime,
            fields: Fields::from_texts(self.fields)?,
        })
    }
}

impl fmt::Debug for RecordParts<'_> {
    /// Of the fields only the names: values may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("RecordParts")
            .field("version", &self.version)
            .field("proof", &self.proof)
            .field("rotated_at", &self.rotated_at)
            .field("logins", &self.logins)
            .field("user", &self.user)
            .field("label", &self.label)
            .field("created_at", &self.created_at)
            .field("authenticated_at", &self.authenticated_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("lifetime", &self.lifetime)
            .field("fields", &names)
            .finish()
    }
}
