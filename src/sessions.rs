//! All sessions of a user: for pages of devices, for administrators, for changes of passwords.

use std::sync::Arc;

use crate::{
    config::Config,
    error::{SessionError, SessionErrorKind},
    record::SessionSummary,
    report,
    session::Session,
    token::SessionKey,
    user::UserId,
};

/// Lists and ends sessions: what [`SessionLayer::sessions`](crate::SessionLayer::sessions) returns.
///
/// Once a method that ends sessions has returned, they are gone from the store, for every node. A
/// node with a [`CachedStore`](crate::CachedStore) knows a moment later, within a
/// [stated bound](crate::store::many_nodes).
///
/// ```
/// use tower_wristband::{Page, Session, SessionError, SessionKey, Sessions, UserId};
///
/// async fn sign_out_device(
///     sessions: &Sessions,
///     user: &UserId,
///     key: SessionKey,
/// ) -> Result<bool, SessionError> {
///     // Somebody else's key ends nothing.
///     sessions.revoke(user, key).await
/// }
///
/// async fn password_changed(
///     sessions: &Sessions,
///     session: &Session,
///     user: &UserId,
/// ) -> Result<(), SessionError> {
///     // The new password counts as a login: older handles of this session are out as well.
///     session.log_in(user)?;
///     sessions.revoke_others(session).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Sessions {
    config: Arc<Config>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    after: Option<SessionKey>,
    limit: usize,
}

impl Page {
    /// The first at most `limit` sessions.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// The at most `limit` sessions behind `key`, the last one of the page before.
    #[must_use]
    pub const fn after(key: SessionKey, limit: usize) -> Self {
        Self { after: Some(key), limit }
    }
}

/// How many sessions `count` asks for at a time. The store in Redis finds so many, with some to
/// spare for those that have expired, by going through all of the user's once: at most 4,000.
const COUNT_BATCH: usize = 3900;

impl Sessions {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// Whether the store can be used: it is reachable, its schema is right, and its clock agrees
    /// with this one. Call it at start-up, so that a wrong configuration is found before the first
    /// request.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`]: `Unavailable` or `Timeout` for a server that may come up, and
    /// `Other` for what somebody has to change, such as a missing table, a policy of eviction, a
    /// clock. The sources behind the error, all of them, say what to do.
    pub async fn check(&self) -> Result<(), SessionError> {
        self.config.ask("check", |store, now| store.check(now)).await
    }

    /// A page of the user's living sessions, in the order of their keys.
    ///
    /// SQL databases read the page alone. Redis goes through all sessions of the user for it.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`].
    pub async fn list(
        &self,
        user: &UserId,
        page: Page,
    ) -> Result<Vec<SessionSummary>, SessionError> {
        self.config
            .ask("list", |store, now| store.list(user.clone(), page.after, page.limit, now))
            .await
    }

    /// How many living sessions the user has.
    ///
    /// They are listed for it, 3,900 at a time. Redis goes through all sessions of the user
    /// for each of these pages: don't count those of a user with many thousands at each request.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`].
    pub async fn count(&self, user: &UserId) -> Result<usize, SessionError> {
        let mut page = Page::first(COUNT_BATCH);
        let mut count = 0;
        loop {
            let batch = self.list(user, page).await?;
            count += batch.len();
            match batch.last() {
                Some(last) if batch.len() == COUNT_BATCH => {
                    page = Page::after(last.key(), COUNT_BATCH);
                }
                _ => return Ok(count),
            }
        }
    }

    /// Ends one session if it belongs to the user. Answers whether it did and was alive.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`].
    pub async fn revoke(&self, user: &UserId, key: SessionKey) -> Result<bool, SessionError> {
        self.destroy(key, Some(user.clone())).await
    }

    /// Ends one session, whoever it belongs to. Answers whether it was alive.
    ///
    /// # Security
    ///
    /// For administrators: it does not check an owner. A page for users takes
    /// [`revoke`](Self::revoke).
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`].
    pub async fn revoke_any(&self, key: SessionKey) -> Result<bool, SessionError> {
        self.destroy(key, None).await
    }

    /// Ends all sessions of the user. Answers how many.
    ///
    /// For "log out everywhere", call [`Session::log_out`] as well: it removes this browser's
    /// cookie.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::Store`]; some may have been ended then, and
    /// it should be called again.
    pub async fn revoke_user(&self, user: &UserId) -> Result<usize, SessionError> {
        self.destroy_user(user, None).await
    }

    /// Ends all sessions of the session's user but this one. Answers how many; none if nobody is
    /// signed in.
    ///
    /// What is pending on the session is stored first. After a change of password or of privilege,
    /// call [`Session::log_in`] with the same user before it: then whoever has a copy of the old
    /// token is out as well, and so are the streams that were opened with it. For signing out
    /// everywhere else and no more, [`Session::rotate`] does: it doesn't count as a login, but
    /// streams that are open under this session go on.
    ///
    /// If a rotation has not come about, because another holder of the old token was faster or the
    /// store failed, this session may be theirs, and ends too.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::OtherLayer`] if the session is one of another [`SessionLayer`]
    /// (nothing is stored or ended then), those of [`Session::save`] and of
    /// [`revoke_user`](Self::revoke_user).
    ///
    /// [`SessionLayer`]: crate::SessionLayer
    pub async fn revoke_others(&self, session: &Session) -> Result<usize, SessionError> {
        if !Arc::ptr_eq(&self.config, session.config()) {
            return Err(SessionError::new(SessionErrorKind::OtherLayer));
        }
        let is_ours_alone = session.save_rotation().await?;
        let Some(user) = session.user_id() else { return Ok(0) };
        let except = if is_ours_alone { session.key() } else { None };
        self.destroy_user(&user, except).await
    }

    async fn destroy(&self, key: SessionKey, owner: Option<UserId>) -> Result<bool, SessionError> {
        let was_there =
            self.config.ask("destroy", |store, now| store.destroy(key, owner, now)).await?;
        if was_there {
            self.config.tell_of_end(key);
        }
        Ok(was_there)
    }

    async fn destroy_user(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
    ) -> Result<usize, SessionError> {
        let ended = self
            .config
            .ask("destroy_user", |store, now| store.destroy_user(user.clone(), except, 0, now))
            .await?;
        if ended > 0 {
            self.config.watch.look_at_all();
        }
        report::ended_all(user, ended);
        Ok(ended)
    }
}
