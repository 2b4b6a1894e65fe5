//! `Session::update`: a read-modify-write that holds under contention.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use smol_str::SmolStr;

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use super::{Session, decode, pending::Pending, turn::Turn};
use crate::{
    error::{SessionError, SessionErrorKind},
    field::{CheckedName, FieldOf},
    record::{Change, Record, to_json},
    report,
    store::Updated,
    token::SessionKey,
};

/// Each attempt that fails means that another's has succeeded; this many others is too much.
const MAX_ATTEMPTS: u32 = 1000;

/// The first attempts only let other tasks run.
const ATTEMPTS_WITHOUT_PAUSE: u32 = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Session {
    /// Changes one field by what it is in the store at that moment, and returns what was stored:
    /// 100 parallel increments add 100.
    ///
    /// `change` gets the value, or `None` where there is none, and returns the new one, or `None`
    /// to remove the field; it is called again whenever another request was faster. It may read the
    /// session. It starts from this handle's pending value of the field, if there is one, and that
    /// is stored with it. Other pending changes stay pending. Where there is no session yet, one is
    /// made, with all that is pending, if there is a value to keep.
    ///
    /// ```
    /// # use tower_wristband::{Session, SessionError};
    /// # async fn example(session: &Session) -> Result<(), SessionError> {
    /// let visits = session.update("visits", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Gone`] if the session has ended, [`SessionErrorKind::Conflict`] if
    /// others kept changing it for as long as a store call may take,
    /// [`SessionErrorKind::TooLarge`], [`SessionErrorKind::Decode`], and those of
    /// [`save`](Self::save). Nothing was written then, except that after
    /// [`SessionErrorKind::Store`] it may have been.
    pub async fn update<T, F>(
        &self,
        field: impl FieldOf<T>,
        mut change: F,
    ) -> Result<Option<T>, SessionError>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> Option<T>,
    {
        let name = field.checked()?;
        let mut apply = |json: Option<&str>| match change(decode(json)?) {
            Some(value) => to_json(&value).map(Some),
            None => Ok(None),
        };
        let turn = self.turn().await?;
        let has_session = self.usable()?.live().is_some();
        let stored = if has_session {
            self.update_stored(&name, &mut apply, turn).await?
        } else {
            self.update_new(name, &mut apply, turn).await?
        };
        decode(stored.as_deref())
    }

    /// There is no session: makes one with everything that is pending.
    async fn update_new(
        &self,
        name: CheckedName,
        apply: &mut impl FnMut(Option<&str>) -> Result<Option<SmolStr>, SessionError>,
        turn: Turn,
    ) -> Result<Option<SmolStr>, SessionError> {
        let pending = self.usable()?.value(name.as_str()).cloned();
        // The caller's code may look at the session: it runs without the lock.
        let json = apply(pending.as_deref())?;
        {
            let mut state = self.usable()?;
            self.check_size(&state, &name, json.as_ref())?;
            state.pending.fields.insert(name, json.clone());
        }
        match self.commit_now(turn).await? {
            Some(committed) => self.check(committed).map(|()| json),
            None => Ok(json),
        }
    }

    /// Tries to store the change at the version it was made from, until nobody was faster.
    async fn update_stored(
        &self,
        name: &CheckedName,
        apply: &mut impl FnMut(Option<&str>) -> Result<Option<SmolStr>, SessionError>,
        _turn: Turn,
    ) -> Result<Option<SmolStr>, SessionError> {
        let config = self.config();
        let started = Instant::now();
        for attempt in 0..MAX_ATTEMPTS {
            let Attempt { key, mut record, consumed, change, json } = self.attempt(name, apply)?;
            let (logins, expect) = (record.logins(), record.version());
            let mut used_up = UsedUp { session: self, consumed, is_stored: false };
            let future =
                config.store.update(key, change.clone(), logins, Some(expect), config.now());
            let left = config.store_timeout.saturating_sub(started.elapsed());
            match config.wait("update", left, future).await? {
                Updated::Stored => {
                    used_up.is_stored = true;
                    record.apply(&change, config.now());
                    if let Some(current) = self.read().record_mut(key) {
                        current.refresh(record);
                    }
                    return Ok(json);
                }
                Updated::Gone => {
                    report::gone(key);
                    return Err(SessionError::new(SessionErrorKind::Gone));
                }
                Updated::Conflict(current) => {
                    used_up.nothing_was_stored();
                    let pause = pause(attempt, expect);
                    if started.elapsed() + pause >= config.store_timeout {
                        break;
                    }
                    match current {
                        Some(current) if attempt < ATTEMPTS_WITHOUT_PAUSE => {
                            self.refresh(key, Some(*current))?;
                            yield_now().await;
                        }
                        _ => {
                            sleep(pause).await;
                            self.reload().await?;
                        }
                    }
                }
            }
        }
        Err(SessionError::new(SessionErrorKind::Conflict))
    }

    /// Makes the change from what the handle knows of the session now.
    fn attempt(
        &self,
        name: &CheckedName,
        apply: &mut impl FnMut(Option<&str>) -> Result<Option<SmolStr>, SessionError>,
    ) -> Result<Attempt, SessionError> {
        let (key, record, consumed, known) = {
            let state = self.usable()?;
            let Some((key, record)) = state.live() else {
                return Err(SessionError::new(SessionErrorKind::Gone));
            };
            let known = state.value(name.as_str()).cloned();
            (key, record.clone(), state.pending.needed_for(name), known)
        };
        // The caller's code may look at the session: it runs without the lock.
        let json = apply(known.as_deref())?;
        self.check_size(&*self.usable()?, name, json.as_ref())?;
        let version =
            self.config().random.version().inspect_err(|error| report::random_failed(error))?;
        let mut change = consumed.to_change(version);
        change.set_field(name.clone(), json.clone());
        Ok(Attempt { key, record, consumed, change, json })
    }
}

/// One attempt to store a change.
struct Attempt {
    key: SessionKey,
    /// What the change was made from.
    record: Record,
    /// The pending changes that are stored with it.
    consumed: Pending,
    change: Change,
    json: Option<SmolStr>,
}

/// The pending changes that an attempt stores. Whether it succeeds, fails or is cancelled, they are
/// not stored again: the outcome may be unknown, and they are older than what the attempt made of
/// them.
struct UsedUp<'a> {
    session: &'a Session,
    consumed: Pending,
    is_stored: bool,
}

impl UsedUp<'_> {
    /// The next attempt starts from them again.
    fn nothing_was_stored(mut self) {
        self.consumed = Pending::default();
    }
}

impl Drop for UsedUp<'_> {
    fn drop(&mut self) {
        self.session.state().pending.retire(&self.consumed);
        if !self.is_stored && !self.consumed.is_empty() {
            let reason = "an update that brought them along failed or was cancelled";
            report::dropped(self.session.key(), reason);
        }
    }
}

/// Grows with the attempts, and differs between those who wait, since versions are random.
fn pause(attempt: u32, version: u64) -> Duration {
    let doublings = (attempt - ATTEMPTS_WITHOUT_PAUSE.min(attempt)).min(16);
    let longest = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    longest / 2 + (longest / 2).mul_f64((version % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_half_of_each_depends_on_the_version() {
        let between = |attempt, least: f64, most: f64| {
            let millis = |version| pause(attempt, version).as_secs_f64() * 1000.0;
            assert_eq!(millis(0), least);
            assert_eq!(millis(512), least + (most - least) / 2.0);
            let greatest = millis(u64::MAX);
            assert!(greatest < most && greatest > most - (most - least) / 100.0, "{greatest}");
        };
        between(0, 0.5, 1.0);
        between(ATTEMPTS_WITHOUT_PAUSE, 0.5, 1.0);
        between(ATTEMPTS_WITHOUT_PAUSE + 1, 1.0, 2.0);
        between(ATTEMPTS_WITHOUT_PAUSE + 5, 16.0, 32.0);
        between(ATTEMPTS_WITHOUT_PAUSE + 6, 25.0, 50.0);
        between(MAX_ATTEMPTS, 25.0, 50.0);
    }
}
