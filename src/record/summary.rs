//! A session without its data.

use std::fmt;

use super::{Record, fields::Label};
use crate::{clock::Timestamp, token::SessionKey};

/// One line of a page of devices: a session without its data.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSummary {
    key: SessionKey,
    label: Option<Label>,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
}

impl SessionSummary {
    pub(super) fn new(key: SessionKey, record: &Record) -> Self {
        Self {
            key,
            label: record.label.clone(),
            created_at: record.created_at,
            authenticated_at: record.started_at(),
            last_seen_at: record.last_seen_at,
            expires_at: record.expires_at(),
        }
    }

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
