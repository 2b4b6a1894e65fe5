//! A near cache is used only while it is known to be fresh.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::yield_now, time::advance};
use tower_wristband::{
    CachedStore, Clock, Lifetime, MemoryStore, StoreErrorKind, SystemClock, Timestamp,
    store::{Feed, FeedEvent, FeedSender, Heartbeat, Record, SessionStore},
    testing::{FaultyStore, ManualClock},
};

use crate::cached::{Near, SECOND, key, proof};

const LITTLE: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn before_the_first_proof_every_load_asks_the_store() {
    let near = Near::silent();
    near.create(1).await;
    assert!(near.asks(1).await && near.asks(1).await);
    near.tell(FeedEvent::Gap).await;
    assert!(near.asks(1).await && near.asks(1).await);
    assert_eq!(near.cached.statistics().bypasses, 4);
    assert_eq!(near.cached.statistics().freshness, None);
    near.freshen().await;
    assert!(near.asks(1).await && !near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_silent_feed_is_not_trusted_longer_than_the_bound() {
    let near = Near::fresh().await;
    near.create(1).await;
    assert!(near.asks(1).await && !near.asks(1).await);
    let age = near.cached.statistics().freshness.unwrap();
    advance(2 * SECOND - age).await;
    assert!(!near.asks(1).await);
    advance(LITTLE).await;
    assert!(near.asks(1).await && near.asks(1).await);
    // What it missed while it was silent comes before the next proof.
    near.freshen().await;
    assert!(!near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_asks_the_store_first() {
    let near = Near::fresh().await;
    near.create(1).await;
    assert!(near.asks(1).await && !near.asks(1).await);
    // Its monotonic clock stood still.
    near.clock.advance(2 * SECOND - LITTLE);
    assert!(!near.asks(1).await);
    near.clock.advance(LITTLE);
    assert!(near.asks(1).await && near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_was_set_back_is_not_trusted_until_the_next_proof() {
    let near = Near::fresh().await;
    near.create(1).await;
    assert!(near.asks(1).await && !near.asks(1).await);
    let before = near.clock.now().as_unix_millis() - 3_600_000;
    near.clock.set(Timestamp::from_unix_millis(before));
    assert!(near.asks(1).await && near.asks(1).await);
    near.freshen().await;
    assert!(!near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_proof_counts_from_when_it_was_asked_for() {
    // The echo of the only ping comes after a second.
    let (authority, clock) = (MemoryStore::new(), ManualClock::new());
    let store = FaultyStore::new(authority).with_feed(|mut heartbeat: Heartbeat| {
        Some(Feed::new(async move |events: FeedSender| {
            events.send(FeedEvent::Gap).await;
            let stamp = heartbeat.beat().await;
            tokio::time::sleep(SECOND).await;
            events.send(FeedEvent::Fresh(stamp)).await;
            std::future::pending::<()>().await;
        }))
    });
    let cached = CachedStore::builder(store).clock(clock.clone()).build().unwrap();
    cached.load(key(1), proof(0), clock.now()).await.unwrap();
    tokio::time::sleep(SECOND + LITTLE).await;
    let age = cached.statistics().freshness.unwrap();
    assert!(age >= SECOND && age < 2 * SECOND, "{age:?}");
    let bypasses = cached.statistics().bypasses;
    advance(2 * SECOND - age).await;
    cached.load(key(1), proof(0), clock.now()).await.unwrap();
    assert_eq!(cached.statistics().bypasses, bypasses);
    advance(LITTLE).await;
    cached.load(key(1), proof(0), clock.now()).await.unwrap();
    assert_eq!(cached.statistics().bypasses, bypasses + 1);
}

#[tokio::test(start_paused = true)]
async fn a_gap_empties_the_cache() {
    let near = Near::fresh().await;
    near.create(1).await;
    assert!(near.asks(1).await && !near.asks(1).await);
    near.tell(FeedEvent::Gap).await;
    let statistics = near.cached.statistics();
    assert_eq!((statistics.entries, statistics.freshness), (0, None));
    assert!(near.asks(1).await && near.asks(1).await, "bypassed until the next proof");
    near.freshen().await;
    assert!(near.asks(1).await && !near.asks(1).await);
    assert_eq!(near.cached.statistics().gaps, 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_node_writes_is_seen_when_the_feed_tells_it() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    near.update_elsewhere(1, 7).await;
    near.tell(FeedEvent::Changed(key(1))).await;
    assert_eq!(near.load(1, 0).await.unwrap().version(), 7);
    near.authority.destroy(key(1), None, near.clock.now()).await.unwrap();
    near.tell(FeedEvent::Ended(key(1))).await;
    assert!(near.load(1, 0).await.is_none());
    assert_eq!(near.cached.statistics().invalidations, 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_one_node_ends_is_gone_on_the_other() {
    let store = MemoryStore::new();
    let (one, other) = (CachedStore::new(store.clone()).unwrap(), CachedStore::new(store).unwrap());
    let now = SystemClock.now();
    one.check(now).await.unwrap();
    other.check(now).await.unwrap();
    let record = Record::new(proof(0), Lifetime::AAL2, now);
    one.create(key(1), record, None, now).await.unwrap();
    for cached in [&one, &other] {
        cached.load(key(1), proof(0), now).await.unwrap().unwrap();
        cached.load(key(1), proof(0), now).await.unwrap().unwrap();
        assert_eq!(cached.statistics().hits, 1);
    }
    assert!(one.destroy(key(1), None, now).await.unwrap());
    assert!(one.load(key(1), proof(0), now).await.unwrap().is_none());
    tokio::time::sleep(LITTLE).await;
    assert!(other.load(key(1), proof(0), now).await.unwrap().is_none());
    assert_eq!(other.statistics().bypasses, 0);
}

#[tokio::test(start_paused = true)]
async fn the_cache_tells_of_a_change_when_it_has_taken_note() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    let mut feed = near.cached.feed(Heartbeat::new(SECOND)).unwrap();
    assert_eq!(feed.next().await, FeedEvent::Gap);
    near.update_elsewhere(1, 7).await;
    near.tell(FeedEvent::Changed(key(1))).await;
    assert_eq!(feed.next().await, FeedEvent::Changed(key(1)));
    assert_eq!(near.load(1, 0).await.unwrap().version(), 7);
    near.tell(FeedEvent::Gap).await;
    assert_eq!(feed.next().await, FeedEvent::Gap);
    near.freshen().await;
    assert!(matches!(feed.next().await, FeedEvent::Fresh(_)));
}

#[tokio::test(start_paused = true)]
async fn check_tells_that_the_feed_does_not_come_up_or_the_clocks_differ() {
    let silent = FaultyStore::new(MemoryStore::new())
        .with_feed(|_| Some(Feed::new(|_| std::future::pending())));
    let cached = CachedStore::new(silent).unwrap();
    let error = cached.check(SystemClock.now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("feed"), "{source}");

    let cached = CachedStore::new(MemoryStore::new()).unwrap();
    cached.check(SystemClock.now()).await.unwrap();
    let error = cached.check(SystemClock.now() + 60 * SECOND).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("clock"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn check_tells_that_the_feed_has_fallen_silent() {
    let near = Near::fresh().await;
    near.cached.check(near.clock.now()).await.unwrap();
    advance(3 * SECOND).await;
    let error = near.cached.check(near.clock.now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    near.freshen().await;
    near.cached.check(near.clock.now()).await.unwrap();
}

/// Counts the feeds that are open.
fn counted_feeds() -> (FaultyStore<MemoryStore>, Arc<AtomicUsize>) {
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let authority = MemoryStore::new();
    let inner = authority.clone();
    let store = FaultyStore::new(authority).with_feed(move |heartbeat| {
        let (counter, mut feed) = (Arc::clone(&counter), inner.feed(heartbeat)?);
        Some(Feed::new(async move |events: FeedSender| {
            counter.fetch_add(1, Ordering::SeqCst);
            let _open = Open(counter);
            loop {
                events.send(feed.next().await).await;
            }
        }))
    });
    (store, open)
}

#[tokio::test(start_paused = true)]
async fn the_task_starts_with_the_first_operation_and_ends_with_the_last_handle() {
    let (store, open) = counted_feeds();
    let cached = CachedStore::new(store).unwrap();
    yield_now().await;
    assert_eq!(open.load(Ordering::SeqCst), 0);
    let other = cached.clone();
    for _ in 0..3 {
        other.load(key(1), proof(0), SystemClock.now()).await.unwrap();
        tokio::time::sleep(LITTLE).await;
        assert_eq!(open.load(Ordering::SeqCst), 1);
    }
    drop(cached);
    tokio::time::sleep(LITTLE).await;
    assert_eq!(open.load(Ordering::SeqCst), 1);
    drop(other);
    tokio::time::sleep(LITTLE).await;
    assert_eq!(open.load(Ordering::SeqCst), 0);
}

#[test]
fn a_cache_outlives_the_runtime_it_listened_in() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (store, open) = counted_feeds();
    let cached = CachedStore::new(store).unwrap();
    // Outside of a runtime the store is asked.
    let load = || cached.load(key(1), proof(0), SystemClock.now());
    assert!(load().into_ready().unwrap().unwrap().is_none());
    for _ in 0..2 {
        runtime().block_on(async {
            load().await.unwrap();
            cached.check(SystemClock.now()).await.unwrap();
            while open.load(Ordering::SeqCst) == 0 {
                yield_now().await;
            }
        });
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }
    // The second one began with a gap.
    assert!(cached.statistics().gaps >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_panics_is_asked_for_again() {
    let authority = MemoryStore::new();
    let (inner, times) = (authority.clone(), AtomicUsize::new(0));
    let store = FaultyStore::new(authority).with_feed(move |heartbeat| {
        // The first is asked for when the cache is built, and never polled.
        match times.fetch_add(1, Ordering::SeqCst) {
            1 => Some(Feed::new(async |_| panic!("a feed that panics"))),
            _ => inner.feed(heartbeat),
        }
    });
    let cached = CachedStore::new(store).unwrap();
    cached.check(SystemClock.now()).await.unwrap();
}
