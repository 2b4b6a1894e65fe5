//! What a store keeps of a session, and a delta to it.

mod change;
mod fields;
mod format;
mod outcome;
mod parts;
mod summary;

use std::fmt;

pub(crate) use self::fields::{Fields, Label, to_json};
pub use self::{
    change::{Change, ChangeParts, FieldChanges},
    outcome::{Rotated, Updated},
    parts::RecordParts,
    summary::SessionSummary,
};
use crate::{
    clock::Timestamp,
    lifetime::Lifetime,
    token::{Proof, SessionKey},
    user::UserId,
};

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
        self.fields.value(name).map(|json| json.as_str())
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
    pub(crate) fn see(&mut self, now: Timestamp) {
        self.last_seen_at = self.last_seen_at.max(now.min(self.absolute_deadline()));
    }

    /// Applies a delta at `now`, to a new record or to one that may be changed in this way. A store
    /// calls [`update`](Self::update) and [`rotate`](Self::rotate), which look first.
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
            self.label = change.label();
        }
        if let Some(lifetime) = lifetime {
            self.lifetime = lifetime;
        }
        if clears_fields {
            self.fields = Fields::default();
        }
        for (name, json) in change.fields() {
            self.fields.set(name.clone(), json.clone());
        }
        self.see(now);
    }

    /// Replaces the proof and applies a delta at `now`.
    pub(crate) fn replace_proof(&mut self, to: Proof, change: &Change, now: Timestamp) {
        self.proof = to;
        self.rotated_at = Some(now);
        self.apply(change, now);
    }

    /// Does what [`SessionStore::update`](crate::store::SessionStore::update) asks for, if the
    /// record is alive and it may be done: points 3 to 5 of the contract. Otherwise nothing
    /// changes.
    pub fn update(
        &mut self,
        change: &Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> Updated {
        if !self.is_alive(now) || self.logins != logins || !self.may_bind(change) {
            return Updated::Gone;
        }
        if expect.is_some_and(|version| version != self.version) {
            return Updated::Conflict(Some(Box::new(self.clone())));
        }
        self.apply(change, now);
        Updated::Stored
    }

    /// Does what [`SessionStore::rotate`](crate::store::SessionStore::rotate) asks for, if the
    /// record is alive and it may be done: point 6 of the contract. Otherwise nothing changes.
    pub fn rotate(&mut self, from: Proof, to: Proof, change: &Change, now: Timestamp) -> Rotated {
        if !self.is_alive(now) {
            return Rotated::Gone;
        }
        if self.proof == to {
            return Rotated::Stored;
        }
        if self.proof != from || !self.may_bind(change) {
            return Rotated::Gone;
        }
        self.replace_proof(to, change, now);
        Rotated::Stored
    }

    /// Does what [`SessionStore::touch`](crate::store::SessionStore::touch) asks for, if the record
    /// is alive and it may be done: points 3 and 7 of the contract. Answers whether it is.
    pub fn touch(&mut self, logins: u32, now: Timestamp) -> bool {
        let is_same = self.is_alive(now) && self.logins == logins;
        if is_same {
            self.see(now);
        }
        is_same
    }

    /// A record is bound to one user in its life.
    pub(crate) fn may_bind(&self, change: &Change) -> bool {
        match (self.user(), change.parts().user) {
            (Some(owner), Some(user)) => owner == user,
            _ => true,
        }
    }

    /// Applies a delta that is in the store, where others may have written as well since this
    /// record was read. The version stays the one whose fields are known: an update that expects it
    /// is told of the others.
    pub(crate) fn apply_unread(&mut self, change: &Change, now: Timestamp) {
        let known = self.version;
        self.apply(change, now);
        self.version = known;
    }

    /// As [`apply_unread`](Self::apply_unread), for a rotation.
    pub(crate) fn replace_proof_unread(&mut self, to: Proof, change: &Change, now: Timestamp) {
        let known = self.version;
        self.replace_proof(to, change, now);
        self.version = known;
    }

    /// Takes over the contents of a session that this one replaces.
    pub(crate) fn inherit(&mut self, lost: &Self) {
        self.fields = lost.fields.clone();
        self.label.clone_from(&lost.label);
        self.lifetime = lost.lifetime;
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
        SessionSummary::new(key, self)
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
