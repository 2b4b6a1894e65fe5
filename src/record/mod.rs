//! What a store keeps of a session, and a delta to it.

mod format;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;
use smol_str::SmolStr;

use crate::{
    clock::Timestamp,
    error::{SessionError, SessionErrorKind},
    field::{CheckedName, FieldName, FieldOf},
    lifetime::Lifetime,
    token::{Proof, SessionKey},
    user::UserId,
};

/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 255;

/// The values of a session by name, each the text of a JSON value. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Fields(Option<Arc<BTreeMap<CheckedName, SmolStr>>>);

impl Fields {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name).map(SmolStr::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CheckedName, &SmolStr)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }

    /// `None` as a value removes the field.
    pub(crate) fn set(&mut self, name: CheckedName, json: Option<SmolStr>) {
        match json {
            Some(json) => {
                Arc::make_mut(self.0.get_or_insert_default()).insert(name, json);
            }
            None => {
                if let Some(fields) = &mut self.0
                    && fields.contains_key(&name)
                {
                    Arc::make_mut(fields).remove(&name);
                }
                self.0.take_if(|fields| fields.is_empty());
            }
        }
    }
}

/// A text of at most 255 bytes that the owner of a session sees on a page of devices.
#[derive(Clone, PartialEq, Eq)]
// A thin pointer: most records have no label, and each keeps room for one.
pub(crate) struct Label(Arc<SmolStr>);

impl Label {
    pub(crate) fn new(text: &str) -> Result<Self, SessionError> {
        if text.len() > MAX_LABEL_BYTES {
            return Err(SessionError::new(SessionErrorKind::Label));
        }
        Ok(Self(Arc::new(text.into())))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a store keeps of a session. Cloning is cheap.
///
/// It holds no secret: the [`Proof`] is a hash of the token.
#[derive(Clone)]
pub struct Record {
    pub(crate) version: u64,
    pub(crate) proof: Proof,
    pub(crate) rotated_at: Option<Timestamp>,
    pub(crate) logins: u32,
    pub(crate) user: Option<UserId>,
    pub(crate) label: Option<Label>,
    pub(crate) created_at: Timestamp,
    // Set if and only if there is a user.
    pub(crate) authenticated_at: Option<Timestamp>,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) lifetime: Lifetime,
    pub(crate) fields: Fields,
}

impl Record {
    /// A new anonymous session without data. Its contents are a [`Change`] that is
    /// [applied](Self::apply) to it.
    #[must_use]
    pub fn new(proof: Proof, lifetime: Lifetime, now: Timestamp) -> Self {
        Self {
            version: 0,
            proof,
            rotated_at: None,
            logins: 0,
            user: None,
            label: None,
            created_at: now,
            authenticated_at: None,
            last_seen_at: now,
            lifetime,
            fields: Fields::default(),
        }
    }

    /// 64 random bits that each writer chooses anew; not changed by a touch.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the token that is valid now.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// When the last rotation replaced the proof; `None` if there was none.
    #[must_use]
    pub fn rotated_at(&self) -> Option<Timestamp> {
        self.rotated_at
    }

    /// How many times a user was bound.
    #[must_use]
    pub fn logins(&self) -> u32 {
        self.logins
    }

    /// Who the session belongs to; `None` for an anonymous one.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// The label for a page of devices.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().map(Label::as_str)
    }

    /// When the session was created.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When a user was last bound; `None` for an anonymous session.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.authenticated_at
    }

    /// When activity was last written.
    #[must_use]
    pub fn last_seen_at(&self) -> Timestamp {
        self.last_seen_at
    }

    /// How long the session lives.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The text of one field's JSON value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.value(name)
    }

    /// All fields in the order of their names, each with the text of its JSON value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, json)| (name.as_str(), json.as_str()))
    }

    /// When the absolute lifetime began: at the login, or at the creation of an anonymous session.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.authenticated_at.unwrap_or(self.created_at)
    }

    /// When the session ends at the latest, whatever happens.
    #[must_use]
    pub fn absolute_deadline(&self) -> Timestamp {
        self.lifetime.absolute_deadline(self.started_at())
    }

    /// When the session ends unless it is seen before.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.lifetime.deadline(self.started_at(), self.last_seen_at)
    }

    /// Whether the session has not expired at `now`.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }

    /// Moves last-seen forward; never back, and never past the absolute deadline.
    pub fn touch(&mut self, now: Timestamp) {
        self.last_seen_at = self.last_seen_at.max(now.min(self.absolute_deadline()));
    }

    /// Applies a delta at `now`: what an `update` does to a record that it may change.
    ///
    /// A write is activity, so it moves last-seen as well.
    pub fn apply(&mut self, change: &Change, now: Timestamp) {
        let ChangeParts { version, user, label, lifetime, clears_fields, fields: _ } =
            change.parts();
        self.version = version;
        if let Some(user) = user {
            self.user = Some(user.clone());
            self.authenticated_at = Some(now);
            self.logins = self.logins.saturating_add(1);
        }
        if label.is_some() {
            self.label.clone_from(&change.label);
        }
        if let Some(lifetime) = lifetime {
            self.lifetime = lifetime;
        }
        if clears_fields {
            self.fields = Fields::default();
        }
        for (name, json) in &change.fields {
            self.fields.set(name.clone(), json.clone());
        }
        self.touch(now);
    }

    /// Replaces the proof and applies a delta at `now`: what a `rotate` does to a record that it may
    /// change.
    pub fn rotate(&mut self, to: Proof, change: &Change, now: Timestamp) {
        self.proof = to;
        self.rotated_at = Some(now);
        self.apply(change, now);
    }

    /// Takes over the contents of a session that this one replaces.
    pub(crate) fn inherit(&mut self, lost: &Self) {
        self.fields = lost.fields.clone();
        self.label.clone_from(&lost.label);
    }

    /// Becomes what the store has now, but keeps the proof that the holder has shown: another's
    /// rotation must not be undone by one who never got its token.
    ///
    /// `false` if another login has happened since: then it is not the holder's session any more.
    pub(crate) fn refresh(&mut self, current: Self) -> bool {
        let same = self.logins == current.logins;
        if same {
            *self = Self { proof: self.proof, ..current };
        }
        same
    }

    /// What a page of devices shows of the record.
    #[must_use]
    pub fn summary(&self, key: SessionKey) -> SessionSummary {
        SessionSummary {
            key,
            label: self.label.clone(),
            created_at: self.created_at,
            authenticated_at: self.started_at(),
            last_seen_at: self.last_seen_at,
            expires_at: self.expires_at(),
        }
    }
}

impl fmt::Debug for Record {
    /// Neither the proof nor any value is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("user", &self.user)
            .field("logins", &self.logins)
            .field("created_at", &self.created_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// One line of a page of devices: a session without its data.
#[derive(Clone)]
pub struct SessionSummary {
    key: SessionKey,
    label: Option<Label>,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
}

impl SessionSummary {
    /// The public key: safe in a link that ends the session.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.key
    }

    /// The label, as it was set by [`Session::set_label`](crate::Session::set_label).
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().map(Label::as_str)
    }

    /// When the session was created.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When the user last logged in on it.
    #[must_use]
    pub fn authenticated_at(&self) -> Timestamp {
        self.authenticated_at
    }

    /// When activity was last written: up to a touch interval ago for an active session.
    #[must_use]
    pub fn last_seen_at(&self) -> Timestamp {
        self.last_seen_at
    }

    /// When the session ends unless it is seen before.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for SessionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSummary")
            .field("key", &self.key)
            .field("label", &self.label())
            .field("created_at", &self.created_at)
            .field("authenticated_at", &self.authenticated_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// A delta to a [`Record`]: what one request wants changed, field by field.
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
/// Destructure it without `..`, so that the compiler names what a later version adds.
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
pub struct FieldChanges<'a>(std::collections::btree_map::Iter<'a, CheckedName, Option<SmolStr>>);

impl<'a> Iterator for FieldChanges<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, json)| (name.as_str(), json.as_deref()))
    }
}

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
    /// [`SessionErrorKind::Label`] if it is longer than 255 bytes.
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
    /// [`SessionErrorKind::FieldName`] or [`SessionErrorKind::Encode`].
    pub fn with_field<T: Serialize>(
        mut self,
        field: impl FieldOf<T>,
        value: &T,
    ) -> Result<Self, SessionError> {
        self.fields.insert(field.checked()?, Some(to_json(value)?));
        Ok(self)
    }

    /// Removes a field.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::FieldName`].
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

/// A value as the text of JSON.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<SmolStr, SessionError> {
    match serde_json::to_string(value) {
        Ok(json) => Ok(json.into()),
        Err(error) => Err(SessionError::with_source(SessionErrorKind::Encode, error)),
    }
}
