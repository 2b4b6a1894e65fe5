//! The near cache.

use std::{sync::Arc, time::Duration};

use shuttle::future::block_on;
use tokio::sync::Notify;
use tower_wristband::{
    CachedStore, MemoryStore,
    store::{Change, Feed, FeedEvent, Heartbeat, Record, Rotated, SessionStore, Updated},
    testing::{FaultyStore, ManualClock},
};

use crate::{
    remote::Remote,
    schedules::{explore, explore_each},
    support::{KEY, NOW, field, give_up_after, join, key, login, proof, record, start, user, wait},
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

/// Writes through the cache while somebody loads the session: who loads it afterwards sees that,
/// and goes on to when the other load is over.
fn write_beside_a_load(write: impl FnOnce(&CachedStore), is_seen: impl Fn(Option<Record>) -> bool) {
    let store = MemoryStore::new();
    let cached = cached(&store, Remote(store.clone()));
    let load = loads(&cached);
    write(&cached);
    assert!(is_seen(wait(cached.load(KEY, proof(0), NOW))));
    join(load);
    assert!(is_seen(wait(cached.load(KEY, proof(0), NOW))));
}

#[test]
fn who_rotates_uses_no_copy_with_the_old_proof() {
    explore(|| {
        write_beside_a_load(
            |cached| {
                let change = Change::new(2);
                let rotated = wait(cached.rotate(KEY, proof(0), proof(1), change, None, NOW));
                assert_eq!(rotated, Rotated::Stored);
            },
            |read| read.is_some_and(|record| record.proof() == proof(1)),
        );
    });
}

#[test]
fn who_touches_a_session_uses_no_copy_from_before() {
    explore(|| {
        let later = NOW + Duration::from_secs(30);
        write_beside_a_load(
            |cached| assert!(wait(cached.touch(KEY, 1, later))),
            |read| read.is_some_and(|record| record.last_seen_at() == later),
        );
    });
}

#[test]
fn who_ends_a_session_uses_no_copy_of_it() {
    explore(|| {
        write_beside_a_load(
            |cached| assert!(wait(cached.destroy(KEY, None, NOW))),
            |read| read.is_none(),
        );
    });
}

#[test]
fn who_logs_in_beyond_the_cap_uses_no_copy_of_what_that_ends() {
    explore(|| {
        write_beside_a_load(
            |cached| wait(cached.create(key(2), record(&login(2, "alice")), Some(1), NOW)),
            |read| read.is_none(),
        );
    });
}

#[test]
fn who_creates_a_session_is_not_told_that_there_was_none() {
    explore(|| {
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let load = start(&cached, |cached| drop(wait(cached.load(key(2), proof(0), NOW))));
        wait(cached.create(key(2), record(&login(2, "bob")), None, NOW));
        assert!(wait(cached.load(key(2), proof(0), NOW)).is_some());
        join(load);
        assert!(wait(cached.load(key(2), proof(0), NOW)).is_some());
    });
}

#[test]
fn no_copy_from_before_a_write_that_was_dropped_is_used_after_it() {
    // Before the store has done it, and before it has answered.
    const POLLS: usize = 2;
    explore_each(2 * POLLS, |number| {
        let (polls, rotates) = (number % POLLS, number < POLLS);
        let store = MemoryStore::new();
        let cached = cached(&store, Remote(store.clone()));
        let load = loads(&cached);
        let is_dropped = if rotates {
            let rotated = cached.rotate(KEY, proof(0), proof(1), Change::new(2), None, NOW);
            block_on(give_up_after(polls, rotated)).is_none()
        } else {
            block_on(give_up_after(polls, cached.destroy(KEY, None, NOW))).is_none()
        };
        assert!(is_dropped);
        let stored = wait(store.load(KEY, proof(0), NOW)).map(|record| record.proof());
        let read = || wait(cached.load(KEY, proof(0), NOW)).map(|record| record.proof());
        assert_eq!(read(), stored);
        join(load);
        assert_eq!(read(), stored);
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
        // Perhaps a copy from before the other's write.
        drop(wait(cached.load(KEY, proof(0), NOW)));
        join(other);
        hear(&mut feed, |event| matches!(event, FeedEvent::Changed(_) | FeedEvent::Gap));
        hear(&mut feed, |event| matches!(event, FeedEvent::Changed(_) | FeedEvent::Gap));
        let read = wait(cached.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(read.field("b"), Some("1"));
    });
}
