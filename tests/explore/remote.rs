//! A store behind a network.

use tokio::task::yield_now;
use tower_wristband::{
    MemoryStore, SessionKey, SessionSummary, Timestamp, UserId,
    store::{Change, Feed, Heartbeat, Proof, Record, Rotated, SessionStore, StoreFuture, Updated},
};

/// A store in memory whose requests and replies take their time.
#[derive(Clone, Default)]
pub struct Remote(pub MemoryStore);

impl Remote {
    fn call<T: Send + 'static>(
        &self,
        request: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let store = self.0.clone();
        StoreFuture::boxed(async move {
            yield_now().await;
            let answer = request(&store).await;
            yield_now().await;
            answer
        })
    }
}

impl SessionStore for Remote {
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
        self.0.feed(heartbeat)
    }
}
