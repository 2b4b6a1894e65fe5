//! Waiting for the end of a session.

use super::Session;
use crate::watch::Ended;

impl Session {
    /// Waits until the session has ended, on whatever node that happens: for WebSockets,
    /// server-sent events and other streams, which outlive the request that was let in.
    ///
    /// ```
    /// # async fn next_message() -> Option<String> { None }
    /// # async fn stream(session: tower_wristband::Session) {
    /// let mut ended = session.ended();
    /// loop {
    ///     let message = tokio::select! {
    ///         _reason = &mut ended => break, // Close the connection.
    ///         message = next_message() => message,
    ///     };
    ///     // … send the message …
    ///     # if message.is_none() { break; }
    /// }
    /// # }
    /// ```
    ///
    /// It completes when the session that is stored now is logged out, revoked, ended by a cap or
    /// expired, and when another login has happened on it, since it is somebody else's then. A
    /// rotation doesn't end it. It completes at once if there is no session, or was one before
    /// [`log_out`](Self::log_out). A login that this request has wished for is another login, too:
    /// call this when it is stored.
    ///
    /// Waiting is no activity: a session that is only waited for ends by its idle timeout. A stream
    /// that is to keep it alive calls [`touch`](Self::touch) now and then.
    ///
    /// # How soon
    ///
    /// A moment after the end, if this layer (or a mount of it) has ended the session, or the store
    /// has a [feed](crate::store#the-feed): memory, Redis, and PostgreSQL with a feed. With one
    /// that has none (SQLite, MariaDB, PostgreSQL without), and while the feed is interrupted, what
    /// others or a cap have ended is found at the next look, all sessions that are waited for being
    /// looked at every [`recheck_interval`](crate::SessionLayerBuilder::recheck_interval), 30
    /// seconds by default. While the feed is interrupted, so is what this layer has ended by
    /// [`revoke_user`](crate::Sessions::revoke_user) or
    /// [`revoke_others`](crate::Sessions::revoke_others).
    ///
    /// A store that fails ends nothing: it is asked again, after a pause. Where only a part of it
    /// doesn't answer, such as one master of a Cluster, that delays the look at sessions elsewhere
    /// by a tenth of a second at most for every sixteen that are waited for there.
    ///
    /// The future borrows nothing. One task for each [`SessionLayer`](crate::SessionLayer) looks
    /// after all of them; each takes some hundred bytes, and one load when it begins.
    pub fn ended(&self) -> Ended {
        match self.read().live() {
            Some((key, record)) => self.config().watch.wait(key, record),
            None => Ended::already(),
        }
    }
}
