//! The errors of the crate: opaque, with a `kind()` and the source kept.

use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

/// Any error of another library, as the source of one of ours.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a configuration was refused by
/// [`SessionLayerBuilder::build`](crate::SessionLayerBuilder::build) or
/// [`RedirectToLogin::to`](crate::RedirectToLogin::to), or a value by
/// [`Session::set_lifetime`](crate::Session::set_lifetime).
#[derive(Debug)]
pub struct ConfigError {
    kind: ConfigErrorKind,
    message: String,
}

/// What part of a configuration is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The cookie's name is not one that a browser accepts, or its prefix demands other attributes.
    CookieName,
    /// The cookie's attributes contradict each other: a browser would ignore the cookie.
    CookieAttributes,
    /// The cookie's `Path` is not one that a browser accepts.
    CookiePath,
    /// The cookie's `Domain` is not one that a browser accepts.
    CookieDomain,
    /// A lifetime is zero, contradicts itself, or is longer than a browser keeps a cookie (400
    /// days).
    Lifetime,
    /// The realm of the challenge can't be written into a header.
    Realm,
    /// A limit is zero or out of its range.
    Limit,
    /// The address of the login page is not one that a browser can be sent to.
    LoginAddress,
    /// The name of a store's table or schema is not a plain one.
    TableName,
    /// What the keys of a store are to begin with is not plain, or too long.
    KeyPrefix,
    /// The store has no feed, which is what the configuration would rest on.
    Feed,
}

impl ConfigError {
    pub(crate) fn new(kind: ConfigErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What part of the configuration is wrong.
    #[must_use]
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {}

/// An error of a [`SessionStore`](crate::store::SessionStore).
///
/// The kind decides how the layer answers; the source says what happened and never reaches a
/// response.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a store failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store can't be reached or can't serve now, or a record is of a newer format than this
    /// node reads. The request may succeed later.
    Unavailable,
    /// The store did not answer in time; whether it did what was asked is unknown.
    Timeout,
    /// `create` found its key taken; nothing was changed.
    Collision,
    /// A record can't be decoded. It is refused like a missing one and never overwritten.
    Corrupt,
    /// A bounded store has no room; nothing was changed.
    Full,
    /// Anything else.
    Other,
}

impl StoreError {
    /// An error of this kind, without a source.
    #[must_use]
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of this kind, with what caused it.
    #[must_use]
    pub fn with_source(kind: StoreErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into().into()) }
    }

    /// What the store failed at.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the session store is unavailable",
            StoreErrorKind::Timeout => "the session store did not answer in time",
            StoreErrorKind::Collision => "the session key is taken",
            StoreErrorKind::Corrupt => "the session record can't be decoded",
            StoreErrorKind::Full => "the session store is full",
            StoreErrorKind::Other => "the session store failed",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error of an operation on a [`Session`](crate::Session).
///
/// [`status_code`](Self::status_code) says how to answer it. With the feature `axum` it is such a
/// response, so that handlers can use `?`; its text never reaches the client. The text doesn't
/// repeat the [source](Error::source), which tells the cause: log both.
#[derive(Debug)]
pub struct SessionError {
    kind: SessionErrorKind,
    source: Option<BoxError>,
}

/// What an operation on a session failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionErrorKind {
    /// A value can't be written as JSON.
    Encode,
    /// A stored value doesn't decode as the type that was asked for.
    Decode,
    /// A field's name is empty, longer than 255 bytes, or has a control character.
    FieldName,
    /// The text is not a [`UserId`](crate::UserId): empty or longer than 255 bytes.
    UserId,
    /// A label is longer than 255 bytes.
    Label,
    /// The lifetime is not a valid one.
    Lifetime,
    /// The session's data would be larger than the limit; nothing changed.
    TooLarge,
    /// The request brought a token that a rotation has just replaced: it has no session.
    Superseded,
    /// The request brought the tokens of two live sessions: it has none of them.
    Ambiguous,
    /// The session ended meanwhile (or another login happened on it); nothing was written.
    Gone,
    /// Others kept changing the session; nothing was written.
    Conflict,
    /// The response's head is on its way: a cookie can't be sent or removed any more.
    HeadSent,
    /// The request is a WebSocket handshake, whose response can't set a cookie.
    WebSocket,
    /// There is no session layer around the service.
    MissingLayer,
    /// The session is one of another layer: another store may have it, under other rules.
    OtherLayer,
    /// The operating system's random generator failed; nothing was written.
    Random,
    /// The store failed; the source is the [`StoreError`].
    Store(StoreErrorKind),
}

impl SessionError {
    pub(crate) fn new(kind: SessionErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn with_source(kind: SessionErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }

    /// Whether the cause is an outage: of the store or of the random generator.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self.kind, SessionErrorKind::Random | SessionErrorKind::Store(_))
    }

    /// How to answer the request, where nothing better is known: 503 for an outage, 401 if there is
    /// no session (any more), 409 if the client should try again, 413 and 400 for what came from
    /// it, 500 for what the program did.
    ///
    /// What is pending is dropped only if the answer is a server error (5xx). With a 4xx it is
    /// stored, a login included: an operation that is an error has changed nothing, and takes
    /// nothing of what was asked for before it back.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        match self.kind {
            SessionErrorKind::Random | SessionErrorKind::Store(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            SessionErrorKind::Gone | SessionErrorKind::Ambiguous => StatusCode::UNAUTHORIZED,
            SessionErrorKind::Superseded | SessionErrorKind::Conflict => StatusCode::CONFLICT,
            SessionErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            SessionErrorKind::FieldName | SessionErrorKind::UserId | SessionErrorKind::Label => {
                StatusCode::BAD_REQUEST
            }
            SessionErrorKind::Encode
            | SessionErrorKind::Decode
            | SessionErrorKind::Lifetime
            | SessionErrorKind::HeadSent
            | SessionErrorKind::WebSocket
            | SessionErrorKind::MissingLayer
            | SessionErrorKind::OtherLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same as the code of a gRPC status: 14 (unavailable) for an outage, 16 (unauthenticated),
    /// 10 (aborted) if the client should try again, 8 (resource exhausted) and 3 (invalid argument)
    /// for what came from it, 13 (internal) for what the program did.
    ///
    /// ```
    /// use tonic::{Code, Status};
    /// use tower_wristband::SessionError;
    ///
    /// fn status(error: &SessionError) -> Status {
    ///     // The error's text is for the log.
    ///     Status::new(Code::from_i32(error.grpc_code()), "")
    /// }
    /// ```
    #[must_use]
    pub fn grpc_code(&self) -> i32 {
        match self.status_code() {
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::CONFLICT => 10,
            StatusCode::PAYLOAD_TOO_LARGE => 8,
            StatusCode::BAD_REQUEST => 3,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            _ => 13,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SessionErrorKind::Encode => "the value can't be written as JSON",
            SessionErrorKind::Decode => "the stored value is of another type",
            SessionErrorKind::FieldName => {
                "a field's name has 1 to 255 bytes and no control characters"
            }
            SessionErrorKind::UserId => "a user id has 1 to 255 bytes",
            SessionErrorKind::Label => "a label has at most 255 bytes",
            SessionErrorKind::Lifetime => "the lifetime is not a valid one",
            SessionErrorKind::TooLarge => "the session's data would exceed its limit",
            SessionErrorKind::Superseded => "the request's token was replaced by a rotation",
            SessionErrorKind::Ambiguous => "the request brought two live sessions",
            SessionErrorKind::Gone => "the session has ended",
            SessionErrorKind::Conflict => "the session was changed by others too often",
            SessionErrorKind::HeadSent => "the response's head has been sent",
            SessionErrorKind::WebSocket => "a WebSocket handshake can't set a cookie",
            SessionErrorKind::MissingLayer => "no `SessionLayer` around this service",
            SessionErrorKind::OtherLayer => "the session is one of another `SessionLayer`",
            SessionErrorKind::Random => "the random generator failed",
            SessionErrorKind::Store(_) => "the session store failed",
        })
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::with_source(SessionErrorKind::Store(error.kind()), error)
    }
}

impl From<MissingLayer> for SessionError {
    fn from(error: MissingLayer) -> Self {
        Self::with_source(SessionErrorKind::MissingLayer, error)
    }
}

impl From<std::convert::Infallible> for SessionError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// There is no [`SessionLayer`](crate::SessionLayer) around the service that asked for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingLayer(pub(crate) ());

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no `SessionLayer` around this service: add `.layer(sessions.optional())` (or \
             `.route_layer(sessions.clone())` to demand a login) to the router, after the routes \
             that need it",
        )
    }
}

impl Error for MissingLayer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_status_and_its_code_and_either_drops_what_is_pending_or_none() {
        for (kind, status, code) in [
            (SessionErrorKind::Random, 503, 14),
            (SessionErrorKind::Store(StoreErrorKind::Timeout), 503, 14),
            (SessionErrorKind::Gone, 401, 16),
            (SessionErrorKind::Ambiguous, 401, 16),
            (SessionErrorKind::Superseded, 409, 10),
            (SessionErrorKind::Conflict, 409, 10),
            (SessionErrorKind::TooLarge, 413, 8),
            (SessionErrorKind::UserId, 400, 3),
            (SessionErrorKind::Decode, 500, 13),
        ] {
            let error = SessionError::new(kind);
            assert_eq!(
                (error.status_code().as_u16(), error.grpc_code()),
                (status, code),
                "{kind:?}"
            );
            let drops = [2, 13, 14, 15].contains(&code);
            assert_eq!(error.status_code().is_server_error(), drops, "{kind:?}");
        }
    }
}
