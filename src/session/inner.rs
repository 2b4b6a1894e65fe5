//! What the layer and the other modules of the session need of a handle.

use std::sync::{Arc, PoisonError};

use smol_str::SmolStr;
use tokio::sync::Semaphore;

use super::{
    Session,
    state::{Standing, State},
};
use crate::{
    client::Client,
    clock::Timestamp,
    config::Config,
    error::{SessionError, SessionErrorKind},
    field::CheckedName,
    record::Record,
    report,
    sync::{Mutex, MutexGuard},
    token::{Proof, SessionKey},
};

/// How the request came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) client: Client,
    /// When it brought a cookie of our name, whatever that was worth; `None` if it brought none.
    pub(crate) presented_at: Option<Timestamp>,
}

/// What all clones of a handle share.
pub(super) struct Inner {
    config: Arc<Config>,
    arrival: Arrival,
    state: Mutex<State>,
    /// One permit: see [`Turn`].
    turn: Semaphore,
}

/// What the layer needs of a session.
impl Session {
    /// A vacant one, inside that of the mount around.
    pub(crate) fn new(config: Arc<Config>, arrival: Arrival, enclosing: Option<&Self>) -> Self {
        let (state, turn) = (Mutex::default(), Semaphore::new(1));
        Self {
            inner: Arc::new(Inner { config, arrival, state, turn }),
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
        &self.inner.arrival.client
    }

    pub(crate) fn presented_at(&self) -> Option<Timestamp> {
        self.inner.arrival.presented_at
    }

    /// Whether two handles are of the same session of the same request.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(super) fn permits(&self) -> &Semaphore {
        &self.inner.turn
    }

    /// Whether the request is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().head_sent
    }

    /// The state, noting that the response depends on it.
    pub(super) fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.accessed = true;
        state
    }

    /// The configuration and the state, without the lock: before the service is called, nobody else
    /// has a handle.
    pub(crate) fn exclusive(&mut self) -> (&Config, &mut State) {
        let inner = Arc::get_mut(&mut self.inner).expect("the one handle there is");
        (&inner.config, inner.state.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can't leave the state half changed in a way that lets
        // anybody in: it holds wishes and what was read from the store.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self.client(), Client::WebSocket)
    }

    /// The state, while a cookie can still be sent.
    pub(super) fn before_head(&self) -> Result<MutexGuard<'_, State>, SessionError> {
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
    pub(super) fn usable(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let state = self.read();
        match state.standing {
            Standing::Superseded => Err(SessionError::new(SessionErrorKind::Superseded)),
            Standing::Ambiguous(_) => Err(SessionError::new(SessionErrorKind::Ambiguous)),
            Standing::Vacant | Standing::Live { .. } => Ok(state),
        }
    }

    /// The living session: its key, the proof that was shown, and how many logins it has seen.
    pub(super) fn live(&self) -> Result<(SessionKey, Proof, u32), SessionError> {
        match self.usable()?.live() {
            Some((key, record)) => Ok((key, record.proof(), record.logins())),
            None => Err(SessionError::new(SessionErrorKind::Gone)),
        }
    }

    /// The error of a wish that needs a cookie that can't be sent.
    pub(super) fn cookieless(&self) -> SessionError {
        SessionError::new(if self.state().head_sent {
            SessionErrorKind::HeadSent
        } else {
            SessionErrorKind::WebSocket
        })
    }

    /// Takes over what the store has of the session now.
    pub(super) fn refresh(
        &self,
        key: SessionKey,
        current: Option<Record>,
    ) -> Result<(), SessionError> {
        let mut state = self.read();
        let is_ours = match (current, state.record_mut(key)) {
            (Some(current), Some(record)) => record.refresh(current),
            _ => false,
        };
        if is_ours { Ok(()) } else { Err(SessionError::new(SessionErrorKind::Gone)) }
    }

    /// Refuses a value with which the session's data would exceed its limit.
    pub(super) fn check_size(
        &self,
        state: &State,
        name: &CheckedName,
        json: Option<&SmolStr>,
    ) -> Result<(), SessionError> {
        let Some(json) = json else { return Ok(()) };
        let bytes = |value: &str| name.as_str().len() + value.len();
        let replaced = state.value(name.as_str()).map_or(0, |old| bytes(old));
        if state.data_bytes() - replaced + bytes(json) > self.config().max_data_bytes {
            return Err(SessionError::new(SessionErrorKind::TooLarge));
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.pending.is_empty() {
            let key = state.live().map(|(key, _)| key);
            report::dropped(
                key,
                "the last handle of the session was dropped before they were saved",
            );
        }
    }
}
