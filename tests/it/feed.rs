//! A store tells what changes in it.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tower_wristband::{
    CachedStore, Clock, Lifetime, MemoryStore, SessionKey, SystemClock, Timestamp, UserId,
    store::{
        Change, Feed, FeedEvent, FeedSender, Heartbeat, Proof, Record, Rotated, SessionStore, Stamp,
    },
    testing::{FaultyStore, contract},
};

const BEAT: Duration = Duration::from_secs(1);

fn now() -> Timestamp {
    SystemClock.now()
}

fn key(number: u8) -> SessionKey {
    SessionKey::from_bytes([number; 16])
}

fn proof(number: u8) -> Proof {
    Proof::from_bytes([number; 32])
}

fn anonymous() -> Record {
    Record::new(proof(0), Lifetime::AAL2, now())
}

fn bound(user: &str) -> Record {
    let mut record = anonymous();
    record.apply(&login(user), now());
    record
}

fn login(user: &str) -> Change {
    Change::new(1).with_user(user.parse().unwrap())
}

fn feed(store: &MemoryStore) -> Feed {
    store.feed(Heartbeat::new(BEAT)).expect("a store in memory has a feed")
}

/// What has been told already, without the proofs of freshness.
async fn told(feed: &mut Feed) -> Vec<FeedEvent> {
    let mut events = Vec::new();
    tokio::task::unconstrained(poll_fn(|cx| {
        while let Poll::Ready(event) = feed.poll_next(cx) {
            if !matches!(event, FeedEvent::Fresh(_)) {
                events.push(event);
            }
        }
        Poll::Ready(())
    }))
    .await;
    events
}

async fn next_stamp(feed: &mut Feed) -> Stamp {
    loop {
        if let FeedEvent::Fresh(stamp) = feed.next().await {
            return stamp;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_store_tells_of_every_write_and_every_end() {
    let store = MemoryStore::with_max_sessions(4);
    let mut feed = feed(&store);
    for number in 0..4 {
        store.create(key(number), anonymous(), None, now()).await.unwrap();
    }
    // The first poll connects: what was written before is behind the gap.
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    store.update(key(0), Change::new(2), 0, None, now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Changed(key(0))]);

    let rotated = store.rotate(key(0), proof(0), proof(1), login("alice"), None, now()).await;
    assert_eq!(rotated.unwrap(), Rotated::Stored);
    assert_eq!(told(&mut feed).await, [FeedEvent::Changed(key(0))]);

    store.destroy(key(0), None, now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(key(0))]);

    // To make room, and by the cap.
    store.create(key(5), bound("alice"), Some(1), now()).await.unwrap();
    assert_eq!(told(&mut feed).await, []);
    store.create(key(6), bound("alice"), Some(1), now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(key(1)), FeedEvent::Ended(key(5))]);
    let login = login("alice");
    store.rotate(key(2), proof(0), proof(1), login, Some(1), now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(key(6)), FeedEvent::Changed(key(2))]);

    let alice = UserId::try_from("alice").unwrap();
    assert_eq!(store.destroy_user(alice, None, 0, now()).await.unwrap(), 1);
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(key(2))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_feeds_of_a_memory_store_and_of_a_cache_keep_their_promise() {
    let store = MemoryStore::new();
    contract::check_feed(store.clone(), store.clone()).await.unwrap();
    let beats = Duration::from_millis(10);
    let cached = CachedStore::builder(store.clone()).heartbeat(beats).build().unwrap();
    contract::check_feed(cached.clone(), store).await.unwrap();
    contract::check_feed(cached.clone(), cached).await.unwrap();
}

/// A store whose feed is another than it should be: what `distort` makes of each event.
fn distorted(
    store: &MemoryStore,
    distort: impl Fn(FeedEvent) -> Option<FeedEvent> + Clone + Send + Sync + 'static,
) -> FaultyStore<MemoryStore> {
    let inner = store.clone();
    FaultyStore::new(store.clone()).with_feed(move |heartbeat| {
        let (mut feed, distort) = (inner.feed(heartbeat)?, distort.clone());
        Some(Feed::new(async move |events: FeedSender| {
            loop {
                if let Some(event) = distort(feed.next().await) {
                    events.send(event).await;
                }
            }
        }))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_promise_that_a_feed_breaks_is_found_out() {
    let store = MemoryStore::new();
    let point = async |faulty: FaultyStore<MemoryStore>| {
        contract::check_feed(faulty, store.clone()).await.map_err(|violation| violation.point())
    };
    assert_eq!(point(distorted(&store, Some)).await, Ok(()));
    assert_eq!(point(FaultyStore::new(store.clone()).with_feed(|_| None)).await, Err(1));
    let skips_the_gap = distorted(&store, |event| (event != FeedEvent::Gap).then_some(event));
    assert_eq!(point(skips_the_gap).await, Err(1));
    let hides_changes =
        distorted(&store, |event| (!matches!(event, FeedEvent::Changed(_))).then_some(event));
    assert_eq!(point(hides_changes).await, Err(2));
    let hides_ends =
        distorted(&store, |event| (!matches!(event, FeedEvent::Ended(_))).then_some(event));
    assert_eq!(point(hides_ends).await, Err(2));
    let ends_what_changes = distorted(&store, |event| {
        Some(match event {
            FeedEvent::Changed(key) => FeedEvent::Ended(key),
            event => event,
        })
    });
    assert_eq!(point(ends_what_changes).await, Err(2));
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_is_not_told() {
    let store = MemoryStore::new();
    let mut feed = feed(&store);
    store.create(key(1), bound("alice"), None, now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    assert!(store.touch(key(1), 1, now()).await.unwrap());
    store.update(key(1), Change::new(2), 7, None, now()).await.unwrap();
    store.update(key(2), Change::new(2), 0, None, now()).await.unwrap();
    store.rotate(key(1), proof(3), proof(4), Change::new(1), None, now()).await.unwrap();
    store.destroy(key(1), Some("bob".parse().unwrap()), now()).await.unwrap();
    store.destroy(key(2), None, now()).await.unwrap();
    let later = now() + Lifetime::AAL2.absolute();
    assert_eq!(store.sweep(9, later).await.unwrap(), 1);
    assert_eq!(told(&mut feed).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_stamp_comes_behind_all_that_was_written_before_it_was_taken() {
    let store = MemoryStore::new();
    let mut feed = feed(&store);
    store.create(key(1), anonymous(), None, now()).await.unwrap();
    let first = next_stamp(&mut feed).await;

    tokio::time::advance(BEAT).await;
    for version in 0..1_000 {
        store.update(key(1), Change::new(version), 0, None, now()).await.unwrap();
    }
    let mut changes = 0;
    let second = loop {
        match feed.next().await {
            FeedEvent::Changed(changed) => {
                assert_eq!(changed, key(1));
                changes += 1;
            }
            FeedEvent::Fresh(stamp) => break stamp,
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(changes, 1_000);
    assert_eq!(second.earlier(first), first);
    assert_ne!(second, first);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_lags_is_told_of_the_gap() {
    let store = MemoryStore::new();
    let (mut slow, mut gone) = (feed(&store), feed(&store));
    store.create(key(1), anonymous(), None, now()).await.unwrap();
    assert_eq!(told(&mut slow).await, [FeedEvent::Gap]);
    assert_eq!(told(&mut gone).await, [FeedEvent::Gap]);
    drop(gone);
    for version in 0..10_000 {
        store.update(key(1), Change::new(version), 0, None, now()).await.unwrap();
    }
    store.destroy(key(1), None, now()).await.unwrap();
    let events = told(&mut slow).await;
    assert!(events.len() < 10_000);
    assert_eq!(events[0], FeedEvent::Gap);
    assert_eq!(events.last(), Some(&FeedEvent::Ended(key(1))));
    // It is whole again, and proves it.
    next_stamp(&mut slow).await;
}

#[tokio::test(start_paused = true)]
async fn the_feed_of_a_store_that_is_gone_tells_a_gap_and_is_silent() {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    let mut feed = store.feed(Heartbeat::new(BEAT)).expect("the pointer passes it on");
    next_stamp(&mut feed).await;
    drop(store);
    assert_eq!(feed.next().await, FeedEvent::Gap);
    tokio::time::advance(10 * BEAT).await;
    assert!(tokio::time::timeout(10 * BEAT, feed.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_ends_tells_what_was_sent_and_then_a_gap() {
    let mut feed = Feed::new(async move |events: FeedSender| {
        for number in 0..200 {
            events.send(FeedEvent::Changed(key(number))).await;
        }
    });
    for number in 0..200 {
        assert_eq!(feed.next().await, FeedEvent::Changed(key(number)));
    }
    assert_eq!(feed.next().await, FeedEvent::Gap);
    assert!(tokio::time::timeout(BEAT, feed.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_feed_drops_its_connection() {
    struct Connection(Arc<Mutex<bool>>);
    impl Drop for Connection {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = true;
        }
    }
    let closed = Arc::new(Mutex::new(false));
    let connection = Connection(closed.clone());
    let mut feed = Feed::new(async move |events: FeedSender| {
        events.send(FeedEvent::Gap).await;
        std::future::pending::<()>().await;
        drop(connection);
    });
    assert_eq!(feed.next().await, FeedEvent::Gap);
    assert!(!*closed.lock().unwrap());
    drop(feed);
    assert!(*closed.lock().unwrap());
}

#[test]
fn a_heartbeat_comes_once_a_day_at_least() {
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(Heartbeat::new(Duration::MAX).period(), day);
    assert_eq!(Heartbeat::new(day - BEAT).period(), day - BEAT);
}
