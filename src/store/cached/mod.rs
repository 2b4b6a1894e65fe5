//! A near cache in front of a store.

mod builder;
mod copies;
mod freshness;
mod near;
mod statistics;
mod users;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle as Runtime,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

pub use self::{builder::CachedStoreBuilder, statistics::CacheStatistics};
use self::{
    builder::Limits,
    copies::Copies,
    freshness::Freshness,
    near::{Counts, Near},
    users::{Slot, UserEnds},
};
use super::{
    Feed, FeedEvent, Heartbeat, Rotated, SessionStore, StoreFuture, Updated, fanout::Fanout,
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError, StoreErrorKind},
    record::{Change, Record, SessionSummary},
    sync::Mutex,
    token::{Proof, SessionKey},
    user::UserId,
};

/// How long `check` waits for the feed to prove that it is fresh.
const FEED_TIMEOUT: Duration = Duration::from_secs(3);

/// Before the feed of a store that panicked is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// A near cache: records beside the service, so that repeated reads ask no server.
///
/// ```
/// use tower_wristband::{CachedStore, MemoryStore, SessionLayer};
///
/// # fn main() -> Result<(), tower_wristband::ConfigError> {
/// # let store = MemoryStore::new();
/// // `store` may be any that has a feed.
/// let sessions = SessionLayer::new(CachedStore::new(store)?);
/// # Ok(())
/// # }
/// ```
///
/// # The guarantee
///
/// A request that arrives later than [`max_staleness`](CachedStoreBuilder::max_staleness) (two
/// seconds by default) after a session's end, or any other write, has returned on any node, sees
/// it. Normally it does at once: the store's [feed](super#the-feed) tells each node what changed,
/// and the copy is dropped. Where nothing has been heard for `max_staleness`, by the monotonic or
/// by the wall clock, every load asks the store, until the feed has proved again that it is fresh.
/// What this node writes, it reads itself at once.
///
/// It rests on nodes whose clocks run equally fast, and on a store that keeps its contract.
///
/// # What is kept
///
/// Records that were found, bounded in number and bytes; never that there is none. A copy that has
/// expired, or was read with another token than is asked with, is not used: the store decides then.
/// Activity is written as without a cache, so a copy's last-seen may lag behind what other nodes
/// have written. That can make a load ask the store, or one request more write its activity; it
/// never ends a session early.
///
/// # Tasks
///
/// One task listens to the feed. It is started by the first operation within a tokio runtime, and
/// ends with the last handle. A clone is a handle to the same cache.
#[derive(Clone)]
pub struct CachedStore(Arc<Handle>);

struct Handle {
    near: Arc<Near>,
    /// `None` without a feed.
    listening: Option<Listening>,
}

struct Listening {
    heartbeat: Heartbeat,
    task: Mutex<Option<AbortHandle>>,
}

impl CachedStore {
    /// A near cache in front of a store that has a [feed](super#the-feed), with the default limits.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::Feed`](crate::ConfigErrorKind::Feed) if the store has none.
    pub fn new(store: impl SessionStore) -> Result<Self, ConfigError> {
        Self::builder(store).build()
    }

    /// A near cache in front of any store, that uses each copy for `ttl` after it was asked for.
    ///
    /// # Security
    ///
    /// A session that another node has ended is let in here for up to `ttl`, data that others wrote
    /// is seen as late, and so does [`Session::ended`](crate::Session::ended) learn of an end that
    /// much later. Where the store has a feed, [`new`](Self::new) has neither drawback.
    #[allow(clippy::missing_panics_doc, reason = "a test builds the defaults")]
    #[must_use]
    pub fn within(store: impl SessionStore, ttl: Duration) -> Self {
        Self::builder(store).within(ttl).build().expect("the defaults are valid")
    }

    /// A near cache with other options.
    pub fn builder(store: impl SessionStore) -> CachedStoreBuilder {
        CachedStoreBuilder::new(Arc::new(store))
    }

    fn from_parts(
        store: Arc<dyn SessionStore>,
        limits: Limits,
        limit: Duration,
        heartbeat: Option<Heartbeat>,
    ) -> Self {
        let near = Near {
            store,
            copies: Copies::new(&limits),
            user_ends: UserEnds::new(),
            limit,
            freshness: heartbeat.as_ref().map(|_| Freshness::new()),
            refreshed: Notify::new(),
            changes: Fanout::default(),
            counts: Counts::default(),
        };
        let listening = heartbeat.map(|heartbeat| Listening { heartbeat, task: Mutex::new(None) });
        Self(Arc::new(Handle { near: Arc::new(near), listening }))
    }

    /// Of whom a login may end other sessions.
    fn capped(&self, user: Option<&UserId>, cap: Option<usize>) -> Option<Slot> {
        cap.and(user).map(|user| self.0.near.user_ends.slot(user))
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn statistics(&self) -> CacheStatistics {
        CacheStatistics::of(&self.0.near)
    }

    /// A write to this session, that may end others of this slot's user.
    fn write<T: Send + 'static>(
        &self,
        key: Option<SessionKey>,
        user: Option<Slot>,
        ask: impl FnOnce(&dyn SessionStore) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        let near = &self.0.near;
        let writing = near.writes(key, user);
        match ask(&*near.store).into_ready() {
            Ok(answer) => StoreFuture::ready(answer),
            Err(pending) => StoreFuture::boxed(async move {
                let answer = pending.await;
                drop(writing);
                answer
            }),
        }
    }
}

impl Handle {
    /// Listens to the feed, if it doesn't yet and there is a runtime.
    fn listen(&self) {
        let (Some(listening), Ok(runtime)) = (&self.listening, Runtime::try_current()) else {
            return;
        };
        let mut task = listening.task.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends if its runtime does.
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let (near, heartbeat) = (Arc::clone(&self.near), listening.heartbeat.clone());
            *task = Some(runtime.spawn(follow(near, heartbeat)).abort_handle());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(listening) = &mut self.listening
            && let Some(task) = listening.task.get_mut().unwrap_or_else(PoisonError::into_inner)
        {
            task.abort();
        }
    }
}

/// Takes note of all that the feed tells.
async fn follow(near: Arc<Near>, heartbeat: Heartbeat) {
    loop {
        let listens = async {
            let (Some(freshness), Some(mut feed)) =
                (&near.freshness, near.store.feed(heartbeat.clone()))
            else {
                return;
            };
            loop {
                near.hear(freshness, feed.next().await);
            }
        };
        // A store that panics must not leave the cache without a feed for ever.
        _ = AssertUnwindSafe(listens).catch_unwind().await;
        sleep(PAUSE).await;
    }
}

/// Waits until the feed has proved that it is fresh.
async fn proof_of_freshness(near: &Near) -> Result<(), StoreError> {
    let Some(freshness) = &near.freshness else { return Ok(()) };
    let proof = async {
        loop {
            // Before the look, so that a proof in between wakes it.
            let refreshed = near.refreshed.notified();
            if freshness.stamp().is_some_and(|stamp| stamp.instant.elapsed() <= near.limit) {
                return;
            }
            refreshed.await;
        }
    };
    timeout(FEED_TIMEOUT, proof).await.map_err(|_elapsed| {
        unavailable("the store's feed does not come up, so nothing can be cached")
    })
}

fn unavailable(source: &str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, source)
}

impl SessionStore for CachedStore {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        let near = &self.0.near;
        let at = Near::moment(now);
        if !near.is_fresh(at) {
            self.0.listen();
            near.counts.bypasses.fetch_add(1, Ordering::Relaxed);
            return near.store.load(key, proof, now);
        }
        match near.find(key, proof, at) {
            Some(record) => StoreFuture::ok(Some(record)),
            None => near.ask(key, proof, at),
        }
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        let user = self.capped(record.user(), cap);
        self.write(Some(key), user, |store| store.create(key, record, cap, now))
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.write(Some(key), None, |store| store.update(key, change, logins, expect, now))
    }

    fn rotate(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        let user = self.capped(change.parts().user, cap);
        self.write(Some(key), user, |store| store.rotate(key, from, to, change, cap, now))
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.write(Some(key), None, |store| store.touch(key, logins, now))
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.write(Some(key), None, |store| store.destroy(key, owner, now))
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.0.near.store.list(user, after, limit, now)
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        let slot = self.0.near.user_ends.slot(&user);
        self.write(None, Some(slot), |store| store.destroy_user(user, except, keep_newest, now))
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.0.near.store.sweep(limit, now)
    }

    /// Also whether the feed proves that it is fresh, within three seconds, and whether the cache's
    /// clock shows `now`.
    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.0.listen();
        let near = Arc::clone(&self.0.near);
        let clock = self.0.listening.as_ref().map_or(now, |listening| listening.heartbeat.now());
        StoreFuture::boxed(async move {
            let asked = Instant::now();
            let proof = proof_of_freshness(&near).await;
            // It knows better what is wrong. It looks at its server's clock as well.
            near.store.check(now + asked.elapsed()).await?;
            proof?;
            if !near.is_within_limit(now, clock) {
                return Err(unavailable("the clock of the cache is another than the layer's"));
            }
            Ok(())
        })
    }

    /// What the store's feed tells, each event when the cache has taken note of it: who looks again
    /// through the cache sees it. It beats as the cache's own heartbeat does.
    fn feed(&self, _: Heartbeat) -> Option<Feed> {
        self.0.listening.as_ref()?;
        let handle = Arc::clone(&self.0);
        Some(Feed::new(async move |events| {
            let mut listener = handle.near.changes.listen();
            handle.listen();
            events.send(FeedEvent::Gap).await;
            while let Some(event) = listener.next().await {
                events.send(event).await;
            }
        }))
    }
}

impl fmt::Debug for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
