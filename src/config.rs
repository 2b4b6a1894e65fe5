//! What all mounts of one `SessionLayer` share.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use crate::{
    clock::{Clock, Timestamp},
    cookie::CookieWriter,
    error::SessionError,
    lifetime::Lifetime,
    report,
    store::{SessionStore, StoreFuture},
    token::{RandomSource, SessionKey},
    watch::Watch,
    within::Within,
};

pub(crate) struct Config {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: RandomSource,
    pub(crate) cookie: CookieWriter,
    pub(crate) lifetime: Lifetime,
    pub(crate) store_timeout: Duration,
    pub(crate) sessions_per_user: Option<usize>,
    pub(crate) max_data_bytes: usize,
    pub(crate) forward_cookie: bool,
    pub(crate) clear_site_data: bool,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) challenge: HeaderValue,
    pub(crate) watch: Arc<Watch>,
}

impl Config {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks the store, and waits for the answer no longer than the limit. Events name the
    /// operation.
    pub(crate) async fn ask<T>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&dyn SessionStore, Timestamp) -> StoreFuture<T>,
    ) -> Result<T, SessionError> {
        self.wait(operation, self.store_timeout, question(&*self.store, self.now())).await
    }

    /// Waits for an answer of the store, but not longer than this.
    pub(crate) async fn wait<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        future: StoreFuture<T>,
    ) -> Result<T, SessionError> {
        let answer = Within::new(limit, future).await;
        answer.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(|error| {
            report::store_failed(operation, &error);
            error.into()
        })
    }

    /// This node has ended the session: tells who waits for that, and `tracing`.
    pub(crate) fn tell_of_end(&self, key: SessionKey) {
        self.watch.look_at(key);
        report::ended(key);
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("cookie", &self.cookie.name())
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
