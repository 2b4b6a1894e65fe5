//! What a request does.

use crate::peers::Peer;

/// The cases of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// The user is read from the session.
    Read,
    /// One key gets another value.
    Write,
    /// The token of a living session is replaced.
    Rotate,
    /// A visitor without a session writes one key, and gets a session.
    AnonymousCreate,
    /// A visitor without a session becomes a user with one.
    Login,
    /// A session is removed.
    Logout,
}

impl Case {
    pub(super) const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Rotate, Self::AnonymousCreate, Self::Login, Self::Logout];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Rotate => "rotate",
            Self::AnonymousCreate => "anonymous_create",
            Self::Login => "login",
            Self::Logout => "logout",
        }
    }

    /// Whether the requests have a cookie.
    pub(super) fn has_session(self) -> bool {
        !matches!(self, Self::AnonymousCreate | Self::Login)
    }

    /// Whether the session is loaded first, and something else is done then.
    pub(super) fn begins_with_load<P: Peer>(self) -> bool {
        match self {
            Self::Read | Self::AnonymousCreate | Self::Login => false,
            Self::Write | Self::Rotate => P::KEEPS_SESSIONS,
            Self::Logout => P::KEEPS_SESSIONS && P::LOADS_BEFORE_LOGOUT,
        }
    }
}
