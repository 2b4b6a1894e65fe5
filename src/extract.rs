//! Extractors for axum, and the errors as its responses.
//!
//! `Session` and `UserId` are extractors wherever a [`SessionLayer`](crate::SessionLayer) is around
//! the handler; without one they answer 500 and say where it is missing. `Option<UserId>` is `None`
//! when nobody is signed in, `Option<Session>` when no session is stored; neither hides a missing
//! layer.

use std::{error::Error, fmt};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{
    error::{MissingLayer, SessionError, StoreError},
    rejection::{RejectionKind, Unanswered},
    report,
    session::Session,
    user::UserId,
};

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = MissingLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, MissingLayer> {
        Self::of(&parts.extensions).cloned()
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = MissingLayer;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Self>, MissingLayer> {
        let session = Self::of(&parts.extensions)?;
        Ok(session.key().is_some().then(|| session.clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for UserId {
    type Rejection = NotSignedIn;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NotSignedIn> {
        let missing = |error| NotSignedIn(Reason::MissingLayer(error));
        let session = Session::of(&parts.extensions).map_err(missing)?;
        session.user_id().ok_or(NotSignedIn(Reason::Nobody))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for UserId {
    type Rejection = MissingLayer;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Self>, MissingLayer> {
        Ok(Session::of(&parts.extensions)?.user_id())
    }
}

/// Why the extractor found no [`UserId`]: nobody is signed in (answered by the innermost session
/// layer, in its way), or the layer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSignedIn(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Nobody,
    MissingLayer(MissingLayer),
}

impl NotSignedIn {
    /// Whether the session layer is missing: a mistake of the program, and not of the client.
    #[must_use]
    pub fn is_missing_layer(&self) -> bool {
        matches!(self.0, Reason::MissingLayer(_))
    }
}

impl fmt::Display for NotSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Nobody => "nobody is signed in",
            Reason::MissingLayer(_) => "nothing says who is signed in",
        })
    }
}

impl Error for NotSignedIn {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Nobody => None,
            Reason::MissingLayer(missing) => Some(missing),
        }
    }
}

impl IntoResponse for NotSignedIn {
    fn into_response(self) -> Response {
        match self.0 {
            Reason::MissingLayer(missing) => missing.into_response(),
            Reason::Nobody => unauthenticated(),
        }
    }
}

impl IntoResponse for MissingLayer {
    /// 500, with a text for the developer who forgot the layer.
    fn into_response(self) -> Response {
        report::handler_failed(&self.into());
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl IntoResponse for SessionError {
    /// Its [status code](Self::status_code) with an empty body. A 401 is answered by the innermost
    /// session layer, in its way.
    ///
    /// What is pending is dropped after a server error (5xx) alone: beside a 4xx, what was asked
    /// for before the error is stored, a login included.
    fn into_response(self) -> Response {
        let status = self.status_code();
        if status.is_client_error() {
            report::handler_refused(&self);
        } else if !self.is_outage() {
            // An outage has been reported where it happened.
            report::handler_failed(&self);
        }
        match status {
            StatusCode::UNAUTHORIZED => unauthenticated(),
            status => (status, Body::empty()).into_response(),
        }
    }
}

impl IntoResponse for StoreError {
    /// 503, with an empty body.
    fn into_response(self) -> Response {
        let error = SessionError::from(self);
        report::handler_failed(&error);
        error.into_response()
    }
}

/// A 401 that the innermost session layer answers in its way.
fn unauthenticated() -> Response {
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    response.extensions_mut().insert(Unanswered(RejectionKind::Unauthenticated));
    response
}
