//! The events of a session's life, told to `tracing` where that feature is on.
//!
//! An event names the session by its public key; no token is ever near this module. What clients
//! can cause at will (unknown, expired and malformed cookies) is `debug`; what an operator should
//! look at is `warn` or `error`.

use std::fmt;

#[cfg(feature = "axum")]
use crate::error::SessionError;
use crate::{error::StoreError, token::SessionKey, user::UserId};

macro_rules! event {
    ($level:ident, $message:literal $(, $sigil:tt $field:ident)*) => {{
        #[cfg(feature = "tracing")]
        tracing::event!(
            target: "tower_wristband",
            tracing::Level::$level,
            $($field = $sigil $field,)*
            $message
        );
        #[cfg(not(feature = "tracing"))]
        {
            $(let _ = &$field;)*
        }
    }};
}

pub(crate) fn created(key: SessionKey) {
    event!(INFO, "session created", %key);
}

pub(crate) fn logged_in(key: SessionKey, user: &UserId) {
    let user = user.as_str();
    event!(INFO, "session logged in", %key, &user);
}

pub(crate) fn rotated(key: SessionKey) {
    event!(INFO, "session rotated", %key);
}

pub(crate) fn ended(key: SessionKey) {
    event!(INFO, "session ended", %key);
}

pub(crate) fn ended_all(user: &UserId, sessions: usize) {
    let user = user.as_str();
    event!(INFO, "a user's sessions ended", &user, %sessions);
}

/// A record that the store still has, but that has reached its end.
pub(crate) fn expired(key: SessionKey) {
    event!(DEBUG, "session expired", %key);
}

/// A well-formed token that belongs to no living session: expired, ended, or never issued.
pub(crate) fn unknown(key: SessionKey) {
    event!(DEBUG, "unknown session token", %key);
}

/// The key of a living session with a secret that is not its own: somebody has seen the key and
/// guesses, or has a token that was replaced a while ago.
pub(crate) fn wrong_secret(key: SessionKey) {
    event!(WARN, "wrong secret for a session key", %key);
}

/// The same within a minute of a rotation: most likely a request that raced it.
pub(crate) fn superseded(key: SessionKey) {
    event!(DEBUG, "superseded session token", %key);
}

pub(crate) fn malformed() {
    event!(DEBUG, "malformed session cookie");
}

pub(crate) fn duplicate() {
    event!(DEBUG, "request with more than one session cookie");
}

/// The session ended while the request was under way.
pub(crate) fn gone(key: SessionKey) {
    event!(INFO, "session gone before its changes were stored", %key);
}

/// What a request wanted stored is not. Without a key, it had no session.
pub(crate) fn dropped(key: Option<SessionKey>, reason: impl fmt::Display) {
    match key {
        Some(key) => event!(WARN, "session changes dropped", %key, %reason),
        None => event!(WARN, "session changes dropped", %reason),
    }
}

pub(crate) fn corrupt(key: SessionKey, error: &StoreError) {
    event!(ERROR, "session record can't be decoded", %key, ?error);
}

/// A row that is no session's: its key is none.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(crate) fn corrupt_key(error: &StoreError) {
    event!(ERROR, "the key of a session record can't be decoded", ?error);
}

pub(crate) fn store_failed(operation: &'static str, error: &StoreError) {
    event!(ERROR, "session store failed", %operation, ?error);
}

/// What changes elsewhere is not told until the feed is connected again.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn feed_lost(error: &StoreError) {
    event!(WARN, "feed of the session store lost", ?error);
}

pub(crate) fn random_failed(error: &dyn fmt::Debug) {
    event!(ERROR, "random generator failed", ?error);
}

/// A handler has answered with an error that is the program's.
#[cfg(feature = "axum")]
pub(crate) fn handler_failed(error: &SessionError) {
    let (kind, source) = (error.kind(), Source(error));
    event!(ERROR, "handler failed on its session", ?kind, %source);
}

/// A handler has answered with an error that is the client's.
#[cfg(feature = "axum")]
pub(crate) fn handler_refused(error: &SessionError) {
    let (kind, source) = (error.kind(), Source(error));
    event!(DEBUG, "handler refused on its session", ?kind, %source);
}

/// What caused an error, without the value that serde's errors repeat: it is nobody's business.
#[cfg(feature = "axum")]
struct Source<'a>(&'a SessionError);

#[cfg(feature = "axum")]
impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(source) = std::error::Error::source(self.0) else { return f.write_str("none") };
        match source.downcast_ref::<serde_json::Error>() {
            Some(json) => {
                let (category, line, column) = (json.classify(), json.line(), json.column());
                write!(f, "{category:?} error at line {line} column {column}")
            }
            None => write!(f, "{source}"),
        }
    }
}

pub(crate) fn misconfigured(cookie: &str) {
    event!(
        ERROR,
        "two session configurations with one cookie name are nested: build one `SessionLayer` and \
         derive the other mounts from it with `with_access`, `optional` or `with_rejection`, or \
         give the cookies different names",
        %cookie
    );
}
