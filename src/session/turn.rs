//! Whose turn it is to wait for the store.

use std::pin::pin;

use super::Session;
use crate::{
    error::{SessionError, StoreError},
    within::Within,
};

/// The right to wait for the store on behalf of a session. Of all clones of a handle one has it at
/// a time, and the end of the request waits for it: so two that save at once make one session, not
/// two, and no token comes out of the store after the head has gone.
pub(crate) struct Turn(Session);

impl Session {
    /// Waits for the turn, but not longer than for the store: whoever has it may be a future that
    /// nobody polls any more.
    pub(super) async fn turn(&self) -> Result<Turn, SessionError> {
        let permit = pin!(self.permits().acquire());
        match Within::new(self.config().store_timeout, permit).await {
            Ok(permit) => permit.expect("the semaphore is never closed").forget(),
            Err(elapsed) => return Err(StoreError::from(elapsed).into()),
        }
        Ok(Turn(self.clone()))
    }

    pub(super) fn try_turn(&self) -> Option<Turn> {
        self.permits().try_acquire().ok().map(|permit| {
            permit.forget();
            Turn(self.clone())
        })
    }

    /// Whether a clone of the handle is waiting for the store.
    pub(super) fn is_busy(&self) -> bool {
        self.permits().available_permits() == 0
    }
}

impl Turn {
    pub(super) fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.permits().add_permits(1);
    }
}
