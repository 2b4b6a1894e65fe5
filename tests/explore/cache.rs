//! The near cache.

use std::{sync::Arc, time::Duration};

use shuttle::future::block_on;
use tokio::sync::Notify;
use tower_wristband::{
    CachedStore, MemoryStore,
    store::{Change, Feed, FeedEvent, Heartbeat, SessionStore, Updated},
    testing::{FaultyStore, ManualClock},
};

use crate::{
    remote::Remote,
    schedules::explore,
    support::{KEY, NOW, field, join, login, proof, record, start, user, wait},
};

/// A store with one session of alice's, and a cache in front of it that keeps copies.
fn cached(store: &MemoryStore, front: impl SessionStore) -> CachedStore {
    wait(store.create(KEY, record(&login(1, "alice")), None, NOW));
    let cached =
        CachedStore::builder(front).clock(ManualClock::at(NOW)).build().expect("it has a feed");
    wait(cached.check(NOW));
    cached
}

/// Loads a session through the cache, in a thread of its own.
fn loads(cached: &CachedStore) -> shuttle::thread::JoinHandle<()> {
    start(cached, |cached| drop(wait(cached.load(KEY, proof(0), NOW))))
}

fn a_feed_of(cached: &CachedStore) -> Feed {
    let mut feed = cached.feed(Heartbeat::new(Duration::from_secs(1))).expect("it has one");
    assert_eq!(block_on(feed.next()), FeedEvent::Gap);
    feed
}

/// Waits until the cache has taken note of such an event, or of a gap.
fn hear(feed: &mut Feed, is_it: impl Fn(&FeedEvent) -> bool) {
    while !is_it(&block_on(feed.next())) {}
}

#[test]
fn no_copy_that_was_asked_for_before_an_end_is_used_after_it() {
    explore(|| {
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let mut feed = a_feed_of(&cached);
        let load = loads(&cached);
        // On another node.
        assert!(wait(store.destroy(KEY, None, NOW)));
        hear(&mut feed, |event| matches!(event, FeedEvent::Ended(_) | FeedEvent::Gap));
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
        join(load);
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
    });
}

#[test]
fn what_a_node_writes_it_reads_itself() {
    explore(|| {
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let load = loads(&cached);
        let updated = wait(cached.update(KEY, field(2, "a", 1), 1, None, NOW));
        assert!(matches!(updated, Updated::Stored));
        let read = || wait(cached.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(read().field("a"), Some("1"));
        join(load);
        assert_eq!(read().field("a"), Some("1"));
    });
}

#[test]
fn who_ends_a_users_sessions_uses_no_copy_of_them() {
    explore(|| {
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let load = loads(&cached);
        wait(cached.destroy_user(user("alice"), None, 0, NOW));
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
        join(load);
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
    });
}

#[test]
fn nothing_that_was_asked_for_before_a_gap_is_used_after_it() {
    explore(|| {
        let store = MemoryStore::new();
        let interrupt = Arc::new(Notify::new());
        let interrupted = Arc::clone(&interrupt);
        // It misses what happens before the gap.
        let front = FaultyStore::new(Remote(store.clone())).with_feed(move |mut heartbeat| {
            let interrupted = Arc::clone(&interrupted);
            Some(Feed::new(async move |events| {
                let stamp = heartbeat.beat().await;
                loop {
                    events.send(FeedEvent::Gap).await;
                    events.send(FeedEvent::Fresh(stamp)).await;
                    interrupted.notified().await;
                }
            }))
        });
        let cached = cached(&store, front);
        let mut feed = a_feed_of(&cached);
        let load = loads(&cached);
        assert!(wait(store.destroy(KEY, None, NOW)));
        interrupt.notify_one();
        hear(&mut feed, |event| *event == FeedEvent::Gap);
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
        join(load);
        assert!(wait(cached.load(KEY, proof(0), NOW)).is_none());
    });
}

#[test]
fn what_two_nodes_write_both_read() {
    explore(|| {
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let mut feed = a_feed_of(&cached);
        drop(wait(cached.load(KEY, proof(0), NOW)));
        let other = start(&store, |store| {
            wait(store.update(KEY, field(2, "b", 1), 1, None, NOW));
        });
        wait(cached.update(KEY, Change::new(3), 1, None, NOW));
        join(other);
        hear(&mut feed, |event| matches!(event, FeedEvent::Changed(_) | FeedEvent::Gap));
        hear(&mut feed, |event| matches!(event, FeedEvent::Changed(_) | FeedEvent::Gap));
        let read = wait(cached.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(read.field("b"), Some("1"));
    });
}
