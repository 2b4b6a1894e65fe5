//! The operations that are in the store when they return.

use super::{
    Session,
    commit::{Commit, Committed},
    plan::Head,
    state::Standing,
    turn::Turn,
};
use crate::error::{SessionError, SessionErrorKind};

impl Session {
    /// Ends the session: when this returns, it is gone from the store, for every node. The response
    /// removes the cookie. Another node with a [`CachedStore`](crate::CachedStore) knows a moment
    /// later, within a [stated bound](crate::store::many_nodes).
    ///
    /// The handle is empty then; a later write makes a new anonymous session.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Superseded`] if the request's token had just been replaced: the session
    /// lives on, under the newer token. [`SessionErrorKind::HeadSent`] after the head (then
    /// [`Sessions::revoke`](crate::Sessions::revoke) ends it).
    /// [`SessionErrorKind::Store`] if the store failed; the session may live on, but a token that
    /// was made in this request is not handed out.
    pub async fn log_out(&self) -> Result<(), SessionError> {
        let _turn = self.turn().await?;
        let keys = {
            let mut state = self.read();
            if state.head_sent {
                return Err(SessionError::new(SessionErrorKind::HeadSent));
            }
            let mut keys = [&*state.to_end, &*state.left_behind].concat();
            match &state.standing {
                Standing::Superseded => {
                    return Err(SessionError::new(SessionErrorKind::Superseded));
                }
                Standing::Ambiguous(both) => keys.extend(*both),
                Standing::Live { key, .. } => keys.push(*key),
                Standing::Vacant => {}
            }
            // Whatever becomes of the sessions: nobody gets a token made before the logout.
            state.issued = None;
            keys
        };
        for key in keys {
            self.config().ask("destroy", |store, now| store.destroy(key, None, now)).await?;
            self.config().tell_of_end(key);
        }
        let mut state = self.read();
        state.start_afresh();
        state.to_end.clear();
        state.left_behind.clear();
        state.logged_out = true;
        Ok(())
    }

    /// Stores everything that is pending now, login and rotation included, instead of at the end of
    /// the request. After the head, that is data alone. What is stored stays, whatever the request
    /// is answered with, and its cookie is sent.
    ///
    /// A future that is dropped leaves it stored or not stored; it is not tried again. One that is
    /// kept without being polled holds up the handle's clones and the end of the request, for as
    /// long as a store call may take.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if the session has ended, [`SessionErrorKind::Superseded`] and
    /// [`SessionErrorKind::Ambiguous`] if the request has none to store to,
    /// [`SessionErrorKind::HeadSent`] if a new session would be needed after the head,
    /// [`SessionErrorKind::Store`], [`SessionErrorKind::Random`]. What could not be stored is
    /// dropped.
    pub async fn save(&self) -> Result<(), SessionError> {
        match self.commit_now(self.turn().await?).await? {
            Some(committed) => self.check(committed),
            None => Ok(()),
        }
    }

    /// Stores everything that is pending; `None` if there was nothing to store.
    pub(super) async fn commit_now(&self, turn: Turn) -> Result<Option<Committed>, SessionError> {
        let commit = {
            let mut state = self.usable()?;
            let cookieless = state.head_sent || self.is_websocket();
            let head = if cookieless { Head::Cookieless } else { Head::Open };
            Commit::begin(self, &mut state, head, turn)
        };
        Ok(match commit {
            Ok(commit) => Some(commit.await),
            Err(_turn) => None,
        })
    }

    /// As [`save`](Self::save), and answers whether each rotation that was wished for has come
    /// about: that another holder of the old token was faster is no error.
    pub(crate) async fn save_rotation(&self) -> Result<bool, SessionError> {
        if let Some(committed) = self.commit_now(self.turn().await?).await?
            && !committed.outcome.rotation_lost
        {
            self.check(committed)?;
        }
        Ok(!self.state().rotation_missed)
    }

    /// Counts as activity, now: for a busy stream whose requests are long over.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if there is no living session, [`SessionErrorKind::Store`].
    pub async fn touch(&self) -> Result<(), SessionError> {
        let (key, _, logins) = self.live()?;
        let config = self.config();
        if !config.ask("touch", |store, now| store.touch(key, logins, now)).await? {
            return Err(SessionError::new(SessionErrorKind::Gone));
        }
        if let Some(record) = self.read().record_mut(key) {
            record.see(config.now());
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
        let loaded = self.config().ask("load", |store, now| store.load(key, proof, now)).await?;
        self.refresh(key, loaded)
    }
}
