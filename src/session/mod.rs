//! The handle that a request has of its session.

mod awaited;
mod commit;
mod end;
mod ended;
mod inner;
mod lookup;
mod pending;
pub(crate) mod plan;
mod state;
mod turn;
mod update;

use std::{fmt, sync::Arc, time::Duration};

use http::Extensions;
use serde::{Serialize, de::DeserializeOwned};

use self::inner::Inner;
pub(crate) use self::{
    end::{Closed, CookieToSend, End, PendingEnd},
    inner::Arrival,
    lookup::{Lookup, PendingLookup},
    plan::{Head, Verdict},
    state::State,
};
use crate::{
    clock::Timestamp,
    error::{MissingLayer, SessionError, SessionErrorKind},
    field::{FieldAccepting, FieldName, FieldOf},
    lifetime::Lifetime,
    record::{Label, Record, to_json},
    token::SessionKey,
    user::UserId,
};

/// The session of a request: a cheap, cloneable handle from the request's extensions.
///
/// What is called without `.await` only records a wish; it is stored, all at once, **before** the
/// response's head is released, so that whoever receives a cookie can use it. What is awaited is in
/// the store when it returns.
///
/// An anonymous session comes into being when a handler first writes a field. A request without a
/// session that writes nothing causes no store call and gets no cookie.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower_wristband::{Session, SessionError};
///
/// async fn log_in(request: Request<String>) -> Result<Response<String>, SessionError> {
///     let session = Session::of(request.extensions())?;
///     // … the credentials have been checked …
///     session.log_in("alice")?;
///     session.set_label("Firefox on Linux")?;
///     Ok(Response::new("welcome".to_owned()))
/// }
///
/// async fn count(session: &Session) -> Result<u32, SessionError> {
///     // Holds under contention: 100 parallel requests add 100.
///     let stored = session.update("count", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).await?;
///     Ok(stored.unwrap_or_default())
/// }
/// ```
///
/// # When nothing is stored
///
/// If the service answers with a server error (5xx, or a gRPC status 2, 13, 14 or 15 in the head,
/// where tonic has the `Err` of a method), what is pending is dropped, a login included. If the
/// session ended while the request was under way, its changes are dropped and the response stays as
/// it is. Both are told to `tracing`.
///
/// # After the head
///
/// In the body of a streaming response and on a WebSocket no cookie can be sent any more: there
/// [`rotate`](Self::rotate), [`log_in`](Self::log_in) and [`log_out`](Self::log_out) are errors,
/// and data is stored by [`save`](Self::save) or [`update`](Self::update).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    /// The session of another configuration's mount around this one.
    enclosing: Option<Arc<Session>>,
}

impl Session {
    /// The session in a request's extensions, where [`SessionLayer`](crate::SessionLayer) puts it.
    ///
    /// # Errors
    ///
    /// [`MissingLayer`] if there is no session layer around the service.
    pub fn of(extensions: &Extensions) -> Result<&Self, MissingLayer> {
        extensions.get().ok_or(MissingLayer(()))
    }

    /// The user whom the session belongs to, or who is about to be [logged in](Self::log_in).
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.read().user().cloned()
    }

    /// The public key of the session that is stored now; `None` while nothing is.
    ///
    /// It stays the same for the session's whole life and is safe to show and to log.
    #[must_use]
    pub fn key(&self) -> Option<SessionKey> {
        self.read().live().map(|(key, _)| key)
    }

    /// When the session was created; `None` while nothing is stored.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.read().record().map(Record::created_at)
    }

    /// When the user last logged in. Neither activity nor rotation moves it.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.read().record()?.authenticated_at()
    }

    /// Whether the user has logged in less than `age` ago, by the layer's clock: what to ask before
    /// a sensitive change (OWASP ASVS 5, 7.5.1).
    #[must_use]
    pub fn authenticated_within(&self, age: Duration) -> bool {
        let now = self.config().now();
        self.authenticated_at().is_some_and(|login| now.saturating_since(login) < age)
    }

    /// When activity was last written to the store.
    #[must_use]
    pub fn last_seen_at(&self) -> Option<Timestamp> {
        self.read().record().map(Record::last_seen_at)
    }

    /// When the session ends unless it is seen before.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.read().record().map(Record::expires_at)
    }

    /// The value of a field as this request sees it, its own writes included.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Decode`] if the stored value is not a `T`; other fields are not
    /// affected. [`SessionErrorKind::FieldName`].
    pub fn get<T: DeserializeOwned>(
        &self,
        field: impl FieldOf<T>,
    ) -> Result<Option<T>, SessionError> {
        let name = field.checked()?;
        // Foreign code decodes: not under the lock.
        let json = self.read().value(name.as_str()).cloned();
        decode(json.as_deref())
    }

    /// Sets a field.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::TooLarge`] if the session's data would exceed its limit, 64 KiB by
    /// default; nothing changes then. [`SessionErrorKind::Encode`],
    /// [`SessionErrorKind::FieldName`].
    pub fn insert<T: Serialize + ?Sized>(
        &self,
        field: impl FieldAccepting<T>,
        value: &T,
    ) -> Result<(), SessionError> {
        let name = field.checked()?;
        let json = to_json(value)?;
        let mut state = self.read();
        self.check_size(&state, &name, Some(&json))?;
        state.pending.fields.insert(name, Some(json));
        Ok(())
    }

    /// Removes a field. One that this request doesn't see, because there is none or another request
    /// has just written it, is left alone and costs nothing.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::FieldName`].
    pub fn remove(&self, field: impl FieldName) -> Result<(), SessionError> {
        let name = field.checked()?;
        let mut state = self.read();
        if state.value(name.as_str()).is_some() {
            state.pending.fields.insert(name, None);
        }
        Ok(())
    }

    /// Takes a field out: its value is there once, as a message after a redirect should be.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the field stays then.
    pub fn take<T: DeserializeOwned>(
        &self,
        field: impl FieldOf<T>,
    ) -> Result<Option<T>, SessionError> {
        let name = field.checked()?;
        let json = self.read().value(name.as_str()).cloned();
        let value = decode(json.as_deref())?;
        if value.is_some() {
            self.read().pending.fields.insert(name, None);
        }
        Ok(value)
    }

    /// Removes all fields, those included that other requests are writing. The user stays bound.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn clear(&self) -> Result<(), SessionError> {
        self.read().pending.clear();
        Ok(())
    }

    /// Sets the label that tells the sessions of a user apart on a page of devices, such as the
    /// browser's name. It alone does not bring a session into being. With a
    /// [login](Self::log_in) it comes after that, as all that belongs to the new session. Of a text
    /// of more than 255 bytes, such as a header can be, the start is kept.
    ///
    /// # Errors
    ///
    /// It has none; the `Result` leaves room for some.
    pub fn set_label(&self, label: &str) -> Result<(), SessionError> {
        self.read().pending.label = Some(Label::start_of(label));
        Ok(())
    }

    /// Gives this session another lifetime than the layer's, such as "remember me". The browser
    /// gets the new term with a new token: this implies [`rotate`](Self::rotate). It stays, also
    /// through another [login](Self::log_in) on the session, until another is set.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Lifetime`] if the lifetime is not a valid one, and those of
    /// [`rotate`](Self::rotate).
    pub fn set_lifetime(&self, lifetime: Lifetime) -> Result<(), SessionError> {
        lifetime
            .validate()
            .map_err(|error| SessionError::with_source(SessionErrorKind::Lifetime, error))?;
        let mut state = self.before_head()?;
        state.pending.lifetime = Some(lifetime);
        state.pending.rotate = true;
        Ok(())
    }

    /// Binds the session to a user whose credentials have just been checked.
    ///
    /// The token is replaced, always (session fixation: OWASP ASVS 5, 7.2.4), and the absolute
    /// lifetime starts anew. An anonymous visitor's data stays. Over another user's session, a new
    /// one is made with only what is written from here on, and the other ends; so does any other
    /// living session that the request presented.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::UserId`] if the text is not a user id, [`SessionErrorKind::HeadSent`],
    /// [`SessionErrorKind::WebSocket`].
    pub fn log_in<U>(&self, user: U) -> Result<(), SessionError>
    where
        U: TryInto<UserId>,
        SessionError: From<U::Error>,
    {
        let user = user.try_into()?;
        self.before_head()?.log_in(user);
        Ok(())
    }

    /// Wishes for a new token for the same session: the old one is worthless then. Without a
    /// session it does nothing.
    ///
    /// A request or stream that has come with the old token goes on. After a change of password
    /// or of privilege, for which the credentials have been checked, call
    /// [`log_in`](Self::log_in) with the same user instead, which ends those as well, and
    /// [`Sessions::revoke_others`](crate::Sessions::revoke_others).
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::HeadSent`] after the head, [`SessionErrorKind::WebSocket`] in a
    /// handshake: the client would not get the new token.
    pub fn rotate(&self) -> Result<(), SessionError> {
        self.before_head()?.pending.rotate = true;
        Ok(())
    }
}

impl fmt::Debug for Session {
    /// Neither the token nor any value is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Session")
            .field("key", &state.live().map(|(key, _)| key))
            .field("user", &state.user())
            .finish_non_exhaustive()
    }
}

fn decode<T: DeserializeOwned>(json: Option<&str>) -> Result<Option<T>, SessionError> {
    match json.map(serde_json::from_str).transpose() {
        Ok(value) => Ok(value),
        Err(error) => Err(SessionError::with_source(SessionErrorKind::Decode, error)),
    }
}
