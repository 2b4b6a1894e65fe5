//! A delta to a record.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    iter::FusedIterator,
};

use serde::Serialize;
use smol_str::SmolStr;

use super::fields::{Label, to_json};
use crate::{
    error::SessionError,
    field::{CheckedName, FieldAccepting, FieldName},
    lifetime::Lifetime,
    user::UserId,
};

/// A delta to a [`Record`](super::Record): what one request wants changed, field by field.
#[derive(Clone)]
pub struct Change {
    version: u64,
    user: Option<UserId>,
    label: Option<Label>,
    lifetime: Option<Lifetime>,
    clears_fields: bool,
    fields: BTreeMap<CheckedName, Option<SmolStr>>,
}

/// Everything a [`Change`] asks for, for a store that keeps a record in columns.
///
/// A delta moves last-seen as well, as a [touch](crate::store::SessionStore::touch) does that comes
/// right after it. Destructure it without `..`, so that the compiler names what a later version
/// adds.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a store must handle all of it")]
pub struct ChangeParts<'a> {
    /// The record's new version, 64 random bits.
    pub version: u64,
    /// The user to bind: also sets the authentication time to now and counts a login.
    pub user: Option<&'a UserId>,
    /// A new label.
    pub label: Option<&'a str>,
    /// A new lifetime.
    pub lifetime: Option<Lifetime>,
    /// Whether all fields are removed before [`fields`](Self::fields) are written.
    pub clears_fields: bool,
    /// The fields to write.
    pub fields: FieldChanges<'a>,
}

/// The fields that a [`Change`] writes: names and the text of the JSON value, `None` to remove it.
#[derive(Clone)]
pub struct FieldChanges<'a>(btree_map::Iter<'a, CheckedName, Option<SmolStr>>);

impl<'a> Iterator for FieldChanges<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, json)| (name.as_str(), json.as_deref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for FieldChanges<'_> {}

impl FusedIterator for FieldChanges<'_> {}

impl fmt::Debug for FieldChanges<'_> {
    /// The names alone: values may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.clone().map(|(name, _)| name.as_str())).finish()
    }
}

impl Change {
    /// A delta that changes nothing but the version, which is 64 random bits.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self {
            version,
            user: None,
            label: None,
            lifetime: None,
            clears_fields: false,
            fields: BTreeMap::new(),
        }
    }

    /// Binds the record to a user.
    #[must_use]
    pub fn with_user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets the label.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Label`](crate::SessionErrorKind::Label) if it is longer than 255 bytes.
    pub fn with_label(mut self, label: &str) -> Result<Self, SessionError> {
        self.label = Some(Label::new(label)?);
        Ok(self)
    }

    /// Sets the lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Removes all fields, whoever wrote them, before the delta's own are written.
    #[must_use]
    pub fn with_cleared_fields(mut self) -> Self {
        self.clears_fields = true;
        self
    }

    /// Writes a field.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::FieldName`](crate::SessionErrorKind::FieldName) or
    /// [`SessionErrorKind::Encode`](crate::SessionErrorKind::Encode).
    pub fn with_field<T: Serialize + ?Sized>(
        mut self,
        field: impl FieldAccepting<T>,
        value: &T,
    ) -> Result<Self, SessionError> {
        self.fields.insert(field.checked()?, Some(to_json(value)?));
        Ok(self)
    }

    /// Removes a field.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::FieldName`](crate::SessionErrorKind::FieldName).
    pub fn without_field(mut self, field: impl FieldName) -> Result<Self, SessionError> {
        self.fields.insert(field.checked()?, None);
        Ok(self)
    }

    /// Everything the delta asks for.
    #[must_use]
    pub fn parts(&self) -> ChangeParts<'_> {
        ChangeParts {
            version: self.version,
            user: self.user.as_ref(),
            label: self.label.as_ref().map(Label::as_str),
            lifetime: self.lifetime,
            clears_fields: self.clears_fields,
            fields: FieldChanges(self.fields.iter()),
        }
    }

    pub(super) fn label(&self) -> Option<Label> {
        self.label.clone()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&CheckedName, &Option<SmolStr>)> {
        self.fields.iter()
    }

    pub(crate) fn set_label(&mut self, label: Option<Label>) {
        self.label = label;
    }

    pub(crate) fn set_field(&mut self, name: CheckedName, json: Option<SmolStr>) {
        self.fields.insert(name, json);
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}
