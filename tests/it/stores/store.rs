//! What a test's world has for a store.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::OnceCell;
use tower_wristband::{
    CachedStore, Clock, SessionKey, SessionSummary, Timestamp, UserId,
    store::{Change, Feed, Heartbeat, Proof, Record, Rotated, SessionStore, StoreFuture, Updated},
    testing::ManualClock,
};

type Inner = Arc<dyn SessionStore>;

/// A store that remembers the keys of the sessions that were created with it, so that a test can
/// ask how many there still are. Clones are the same store.
#[derive(Clone)]
pub struct TestStore {
    /// The clock of the layer that has the store.
    pub clock: ManualClock,
    inner: Arc<OnceCell<Inner>>,
    /// Stores are opened by their first operation, since tests make theirs where nothing can be
    /// awaited.
    open: Arc<dyn Fn() -> StoreFuture<Inner> + Send + Sync>,
    created: Arc<Mutex<BTreeSet<SessionKey>>>,
}

impl TestStore {
    /// One that is there already, and answers at once if that does.
    pub fn of(inner: Inner) -> Self {
        let cell = OnceCell::new_with(Some(Arc::clone(&inner)));
        Self {
            inner: Arc::new(cell),
            ..Self::opened_by(move || StoreFuture::ok(Arc::clone(&inner)))
        }
    }

    /// One that has to be opened.
    pub fn opened_by(open: impl Fn() -> StoreFuture<Inner> + Send + Sync + 'static) -> Self {
        Self {
            clock: ManualClock::new(),
            inner: Arc::default(),
            open: Arc::new(open),
            created: Arc::default(),
        }
    }

    /// This one behind a near cache, whose feed is up if there is one.
    pub fn cached(self) -> Self {
        let clock = self.clock.clone();
        Self {
            clock: clock.clone(),
            ..Self::opened_by(move || {
                let (plain, clock) = (self.clone(), clock.clone());
                StoreFuture::boxed(async move {
                    let plain = Arc::clone(plain.inner.get_or_try_init(|| (plain.open)()).await?);
                    Ok(Arc::new(fresh(plain, clock).await) as Inner)
                })
            })
        }
    }

    /// How many of the sessions that were created with it are alive.
    pub async fn living(&self, now: Timestamp) -> usize {
        let keys = self.created.lock().expect("no panic").clone();
        let mut living = 0;
        for key in keys {
            let record = self.load(key, Proof::from_bytes([0; 32]), now).await.expect("an answer");
            living += usize::from(record.is_some());
        }
        living
    }

    fn call<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Inner) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        if let Some(inner) = self.inner.get() {
            return operation(inner);
        }
        let Self { inner, open, .. } = self.clone();
        StoreFuture::boxed(async move {
            let inner = inner.get_or_try_init(|| open()).await?;
            operation(inner).await
        })
    }
}

/// A near cache that answers by itself from the start.
async fn fresh(plain: Inner, clock: ManualClock) -> CachedStore {
    let builder = CachedStore::builder(Arc::clone(&plain)).clock(clock.clone());
    let Ok(cached) = builder.heartbeat(Duration::from_millis(10)).build() else {
        return CachedStore::within(plain, Duration::from_secs(2));
    };
    let nobody = (SessionKey::from_bytes([0; 16]), Proof::from_bytes([0; 32]));
    for _ in 0..1_000 {
        // The first operation starts the task that listens.
        cached.load(nobody.0, nobody.1, clock.now()).await.expect("an answer");
        if cached.statistics().freshness.is_some() {
            return cached;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the feed does not come up");
}

impl SessionStore for TestStore {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        self.call(move |store| store.load(key, proof, now))
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        self.created.lock().expect("no panic").insert(key);
        self.call(move |store| store.create(key, record, cap, now))
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.call(move |store| store.update(key, change, logins, expect, now))
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
        self.call(move |store| store.rotate(key, from, to, change, cap, now))
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.call(move |store| store.touch(key, logins, now))
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.call(move |store| store.destroy(key, owner, now))
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.call(move |store| store.list(user, after, limit, now))
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        self.call(move |store| store.destroy_user(user, except, keep_newest, now))
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.call(move |store| store.sweep(limit, now))
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.call(move |store| store.check(now))
    }

    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        self.inner.get()?.feed(heartbeat)
    }
}
