//! The handle that a request has of its session.

mod commit;
mod lookup;
mod plan;
mod state;
mod update;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::Extensions;
use serde::{Serialize, de::DeserializeOwned};
use smol_str::SmolStr;

use self::state::State;
pub(crate) use self::{
    commit::{Commit, Committed},
    lookup::Lookup,
    plan::{Head, Verdict},
    state::Standing,
};
use crate::{
    client::Client,
    clock::Timestamp,
    config::Config,
    error::{MissingLayer, SessionError, SessionErrorKind},
    field::{CheckedName, FieldName, FieldOf},
    lifetime::Lifetime,
    record::{Label, Record, to_json},
    report,
    token::{Proof, SessionKey, SessionToken},
    user::UserId,
};

/// The session of a request: a cheap, cloneable handle from the request's extensions.
///
/// What is called without `.await` only records a wish; it is stored, all at once, **before** the
/// response's head is released, so that whoever receives a cookie can use it. What is awaited is in the
/// store when it returns.
///
/// An anonymous session comes into being when a handler first writes a field. A request without a
/// session that writes nothing causes no store call and gets no cookie.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower_wristband::{Session, SessionError};
///
/// async fn log_in(request: Request<String>) -> Result<Response<String>, Box<dyn std::error::Error>> {
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
/// If the service answers with a server error (5xx, or a gRPC status 2, 13, 14 or 15 in the head), what
/// is pending is dropped, a login included. If the session ended while the request was under way, its
/// changes are dropped and the response stays as it is. Both are told to `tracing`.
///
/// # After the head
///
/// In the body of a streaming response and on a WebSocket no cookie can be sent any more: there
/// [`rotate`](Self::rotate), [`log_in`](Self::log_in) and [`log_out`](Self::log_out) are errors, and
/// data is stored by [`save`](Self::save) or [`update`](Self::update).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    /// The session of another configuration's mount around this one.
    enclosing: Option<Arc<Session>>,
}

struct Inner {
    config: Arc<Config>,
    client: Client,
    /// The request brought a cookie of our name, whatever it was worth.
    presented: bool,
    state: Mutex<State>,
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

    /// When the user last logged in: what a step-up check before a sensitive change looks at.
    ///
    /// Neither activity nor rotation moves it.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.read().record()?.authenticated_at()
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
    /// [`SessionErrorKind::Decode`] if the stored value is not a `T`; other fields are not affected.
    /// [`SessionErrorKind::FieldName`].
    pub fn get<T: DeserializeOwned>(
        &self,
        field: impl FieldOf<T>,
    ) -> Result<Option<T>, SessionError> {
        let name = field.checked()?;
        decode(self.read().value(name.as_str()))
    }

    /// Sets a field.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::TooLarge`] if the session's data would exceed its limit, 64 KiB by default;
    /// nothing changes then. [`SessionErrorKind::Encode`], [`SessionErrorKind::FieldName`].
    pub fn insert<T: Serialize + ?Sized>(
        &self,
        field: impl FieldOf<T>,
        value: &T,
    ) -> Result<(), SessionError> {
        let name = field.checked()?;
        let json = to_json(value)?;
        let mut state = self.read();
        self.check_size(&state, &name, Some(&json))?;
        state.pending.fields.insert(name, Some(json));
        Ok(())
    }

    /// Removes a field.
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
        let mut state = self.read();
        let value = decode(state.value(name.as_str()))?;
        if value.is_some() {
            state.pending.fields.insert(name, None);
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
    /// browser's name. It alone does not bring a session into being.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Label`] if it is longer than 255 bytes.
    pub fn set_label(&self, label: &str) -> Result<(), SessionError> {
        let label = Label::new(label)?;
        self.read().pending.label = Some(label);
        Ok(())
    }

    /// Gives this session another lifetime than the layer's, such as "remember me". The browser gets
    /// the new term with a new token: this implies [`rotate`](Self::rotate).
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
    /// The token is replaced, always (session fixation: OWASP ASVS 5, 7.2.4), and the absolute lifetime
    /// starts anew. An anonymous visitor's data stays. Over another user's session, a new one is made
    /// with only what is written from here on, and the other ends; so does any other living session
    /// that the request presented.
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

    /// Wishes for a new token for the same session, after any change of privilege. Without a session
    /// it does nothing.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::HeadSent`] after the head, [`SessionErrorKind::WebSocket`] in a handshake:
    /// the client would not get the new token.
    pub fn rotate(&self) -> Result<(), SessionError> {
        self.before_head()?.pending.rotate = true;
        Ok(())
    }

    /// Ends the session: when this returns, it is gone from the store, on every node. The response
    /// removes the cookie.
    ///
    /// The handle is empty then; a later write makes a new anonymous session.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Superseded`] if the request's token had just been replaced: the session
    /// lives on, under the newer token. [`SessionErrorKind::HeadSent`] after the head (then
    /// [`Sessions::revoke`](crate::Sessions::revoke) ends it).
    /// [`SessionErrorKind::Store`] if the store failed; the session may live on.
    pub async fn log_out(&self) -> Result<(), SessionError> {
        let keys = {
            let state = self.read();
            if state.head_sent {
                return Err(SessionError::new(SessionErrorKind::HeadSent));
            }
            let mut keys = state.ends.clone();
            match &state.standing {
                Standing::Superseded => {
                    return Err(SessionError::new(SessionErrorKind::Superseded));
                }
                Standing::Ambiguous(both) => keys.extend(*both),
                Standing::Live { key, .. } => keys.push(*key),
                Standing::Vacant => {}
            }
            keys
        };
        for key in keys {
            self.config().ask(|store, now| store.destroy(key, None, now)).await?;
            report::ended(key);
        }
        let mut state = self.read();
        state.start_afresh();
        state.ends.clear();
        state.issued = None;
        state.logged_out = true;
        Ok(())
    }

    /// Stores everything that is pending now, login and rotation included, instead of at the end of
    /// the request. After the head, that is data alone.
    ///
    /// A future that is dropped leaves it stored or not stored; it is not tried again.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if the session has ended, [`SessionErrorKind::Superseded`] and
    /// [`SessionErrorKind::Ambiguous`] if the request has none to store to,
    /// [`SessionErrorKind::HeadSent`] if a new session would be needed after the head,
    /// [`SessionErrorKind::Store`], [`SessionErrorKind::Random`]. What could not be stored is dropped.
    pub async fn save(&self) -> Result<(), SessionError> {
        match self.commit_now().await? {
            Some(committed) => committed.into_result(),
            None => Ok(()),
        }
    }

    /// Stores everything that is pending; `None` if there was nothing to store.
    pub(crate) async fn commit_now(&self) -> Result<Option<Committed>, SessionError> {
        let head = {
            let state = self.usable()?;
            if state.head_sent || self.is_websocket() { Head::Cookieless } else { Head::Open }
        };
        Ok(match Commit::begin(self, head) {
            Some(commit) => Some(commit.await),
            None => None,
        })
    }

    /// Counts as activity, now: for a busy stream whose requests are long over.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if there is no living session, [`SessionErrorKind::Store`].
    pub async fn touch(&self) -> Result<(), SessionError> {
        let (key, _, logins) = self.live()?;
        let config = self.config();
        if !config.ask(|store, now| store.touch(key, logins, now)).await? {
            return Err(SessionError::new(SessionErrorKind::Gone));
        }
        if let Some(record) = self.read().record_mut(key) {
            record.touch(config.now());
        }
        Ok(())
    }

    /// Reads the session from the store again; what is pending stays pending. It is no activity.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if the session has ended or another login has happened on it,
    /// [`SessionErrorKind::Store`].
    pub async fn reload(&self) -> Result<(), SessionError> {
        let (key, proof, _) = self.live()?;
        let loaded = self.config().ask(|store, now| store.load(key, proof, now)).await?;
        self.refresh(key, loaded)
    }
}

/// What the layer needs of a session.
impl Session {
    pub(crate) fn new(
        config: Arc<Config>,
        client: Client,
        presented: bool,
        standing: Standing,
        enclosing: Option<&Self>,
    ) -> Self {
        let state = Mutex::new(State::new(standing));
        Self {
            inner: Arc::new(Inner { config, client, presented, state }),
            enclosing: enclosing.map(|session| Arc::new(session.clone())),
        }
    }

    /// This session as a mount inside `enclosing` shows it.
    pub(crate) fn shown_inside(&self, enclosing: &Self) -> Self {
        Self { inner: Arc::clone(&self.inner), enclosing: Some(Arc::new(enclosing.clone())) }
    }

    /// This session and those of the mounts around it.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |session| session.enclosing.as_deref())
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Notes that the response depends on the session although no handler looked at it.
    pub(crate) fn mark_accessed(&self) {
        self.state().accessed = true;
    }

    /// Whether two handles are of the same session of the same request.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Ends the time in which a cookie can be sent, and says what has to be sent.
    pub(crate) fn close(&self) -> Closed {
        let mut state = self.state();
        state.head_sent = true;
        let cookie = match state.issued.take() {
            Some(token) => {
                let left = state.record().map(|record| {
                    let now = self.config().now();
                    let left = record.absolute_deadline().saturating_since(now);
                    (!record.lifetime().ends_with_browser()).then_some(left)
                });
                CookieToSend::Set(token, left.flatten())
            }
            None if state.logged_out && self.inner.presented => CookieToSend::Removal,
            None => CookieToSend::Nothing,
        };
        Closed { cookie, accessed: state.accessed }
    }

    /// The state, noting that the response depends on it.
    fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.accessed = true;
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can't leave the state half changed in a way that lets
        // anybody in: it holds wishes and what was read from the store.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_websocket(&self) -> bool {
        matches!(self.inner.client, Client::WebSocket)
    }

    /// The state, while a cookie can still be sent.
    fn before_head(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let state = self.read();
        if state.head_sent {
            Err(SessionError::new(SessionErrorKind::HeadSent))
        } else if self.is_websocket() {
            Err(SessionError::new(SessionErrorKind::WebSocket))
        } else {
            Ok(state)
        }
    }

    /// The state, unless the request's cookies leave it without a session to write to.
    fn usable(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let state = self.read();
        match state.standing {
            Standing::Superseded => Err(SessionError::new(SessionErrorKind::Superseded)),
            Standing::Ambiguous(_) => Err(SessionError::new(SessionErrorKind::Ambiguous)),
            Standing::Vacant | Standing::Live { .. } => Ok(state),
        }
    }

    /// The living session: its key, the proof that was shown, and how many logins it has seen.
    fn live(&self) -> Result<(SessionKey, Proof, u32), SessionError> {
        match self.usable()?.live() {
            Some((key, record)) => Ok((key, record.proof(), record.logins())),
            None => Err(SessionError::new(SessionErrorKind::Gone)),
        }
    }

    /// Takes over what the store has of the session now.
    fn refresh(&self, key: SessionKey, current: Option<Record>) -> Result<(), SessionError> {
        let mut state = self.read();
        let is_ours = match (current, state.record_mut(key)) {
            (Some(current), Some(record)) => record.refresh(current),
            _ => false,
        };
        if is_ours { Ok(()) } else { Err(SessionError::new(SessionErrorKind::Gone)) }
    }

    /// Refuses a value with which the session's data would exceed its limit.
    fn check_size(
        &self,
        state: &State,
        name: &CheckedName,
        json: Option<&SmolStr>,
    ) -> Result<(), SessionError> {
        let Some(json) = json else { return Ok(()) };
        let bytes = |value: &str| name.as_str().len() + value.len();
        let replaced = state.value(name.as_str()).map_or(0, bytes);
        if state.data_bytes() - replaced + bytes(json) > self.config().max_data_bytes {
            return Err(SessionError::new(SessionErrorKind::TooLarge));
        }
        Ok(())
    }
}

/// What a response has to carry for its session.
pub(crate) struct Closed {
    pub(crate) cookie: CookieToSend,
    pub(crate) accessed: bool,
}

pub(crate) enum CookieToSend {
    Nothing,
    /// This token, for this long; without a term until the browser closes.
    Set(SessionToken, Option<std::time::Duration>),
    Removal,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.pending.is_empty() {
            report::dropped("the last handle of the session was dropped before they were saved");
        }
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
