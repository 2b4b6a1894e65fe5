//! A near cache: what it keeps, and what it doesn't.

use std::{sync::Arc, time::Duration};

use allocation_counter::measure;
use futures_util::FutureExt;
use tokio::{
    sync::{Mutex, mpsc},
    task::yield_now,
};
use tower_wristband::{
    CachedStore, Clock, ConfigErrorKind, Lifetime, MemoryStore, SessionKey, StoreErrorKind,
    SystemClock, UserId,
    store::{
        CachedStoreBuilder, Change, Feed, FeedEvent, Heartbeat, Proof, Record, Rotated,
        SessionStore, Updated,
    },
    testing::{Fault, Faults, FaultyStore, ManualClock, Operation, contract},
};

use crate::contract::custom_store::CustomStore;

pub const SECOND: Duration = Duration::from_secs(1);

/// What the script of a feed says.
enum Line {
    Tell(FeedEvent),
    Beat,
}

/// A cache in front of a memory store, whose feed tells what the test says.
pub struct Near {
    pub cached: CachedStore,
    /// The store without the cache: what another node sees.
    pub authority: MemoryStore,
    pub faults: Faults,
    pub clock: ManualClock,
    script: mpsc::UnboundedSender<Line>,
}

/// Until every task waits for something.
pub async fn all_wait() {
    for _ in 0..100 {
        yield_now().await;
    }
}

impl Near {
    /// One whose feed has not told anything.
    pub fn silent() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(configure: impl FnOnce(CachedStoreBuilder) -> CachedStoreBuilder) -> Self {
        let authority = MemoryStore::new();
        let (script, lines) = mpsc::unbounded_channel();
        let lines = Arc::new(Mutex::new(lines));
        let store = FaultyStore::new(authority.clone())
            .with_feed(move |heartbeat| Some(scripted(heartbeat, Arc::clone(&lines))));
        let (faults, clock) = (store.faults(), ManualClock::new());
        let builder =
            CachedStore::builder(store).clock(clock.clone()).heartbeat(Duration::from_millis(1));
        let cached = configure(builder).build().unwrap();
        Self { cached, authority, faults, clock, script }
    }

    /// One whose feed has proved that it is fresh.
    pub async fn fresh() -> Self {
        let near = Self::silent();
        near.freshen().await;
        near
    }

    /// The feed proves that it is fresh.
    pub async fn freshen(&self) {
        let before = self.cached.statistics().freshness;
        // The first operation starts the task.
        assert!(self.load(255, 0).await.is_none());
        self.script.send(Line::Beat).unwrap();
        all_wait().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let after = self.cached.statistics().freshness;
        assert!(after.is_some() && (before.is_none() || after <= before), "{after:?}");
    }

    /// The feed tells this, and the cache has heard it.
    pub async fn tell(&self, event: FeedEvent) {
        self.script.send(Line::Tell(event)).unwrap();
        all_wait().await;
    }

    pub async fn create(&self, number: u8) {
        self.create_bound(number, None).await;
    }

    /// Stores a session behind the cache's back.
    pub async fn create_bound(&self, number: u8, user: Option<&str>) {
        let now = self.clock.now();
        let mut record = Record::new(proof(0), Lifetime::AAL2, now);
        if let Some(user) = user {
            record.apply(&Change::new(0).with_user(user.parse().unwrap()), now);
        }
        self.authority.create(key(number), record, None, now).await.unwrap();
    }

    pub async fn load(&self, number: u8, token: u8) -> Option<Record> {
        self.cached.load(key(number), proof(token), self.clock.now()).await.unwrap()
    }

    /// Loads, and says whether the store was asked.
    pub async fn asks(&self, number: u8) -> bool {
        let before = self.loads();
        self.load(number, 0).await;
        self.loads() > before
    }

    pub fn loads(&self) -> usize {
        self.faults.calls(Operation::Load)
    }

    /// Another node writes to the session.
    pub async fn update_elsewhere(&self, number: u8, version: u64) {
        let change = Change::new(version);
        let updated = self.authority.update(key(number), change, 0, None, self.clock.now()).await;
        assert!(matches!(updated.unwrap(), Updated::Stored));
    }
}

fn scripted(mut heartbeat: Heartbeat, lines: Arc<Mutex<mpsc::UnboundedReceiver<Line>>>) -> Feed {
    Feed::new(async move |events| {
        let mut lines = lines.lock().await;
        while let Some(line) = lines.recv().await {
            match line {
                Line::Tell(event) => events.send(event).await,
                Line::Beat => events.send(FeedEvent::Fresh(heartbeat.beat().await)).await,
            }
        }
    })
}

pub fn key(number: u8) -> SessionKey {
    SessionKey::from_bytes([number; 16])
}

pub fn proof(number: u8) -> Proof {
    Proof::from_bytes([number; 32])
}

fn alice() -> UserId {
    UserId::try_from("alice").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_repeated_load_asks_the_store_once() {
    let near = Near::fresh().await;
    near.create(1).await;
    let before = near.loads();
    let first = near.load(1, 0).await.unwrap();
    for _ in 0..10 {
        assert_eq!(near.load(1, 0).await.unwrap().version(), first.version());
    }
    assert_eq!(near.loads() - before, 1);
    let statistics = near.cached.statistics();
    assert_eq!((statistics.hits, statistics.entries), (10, 1));
    assert!(statistics.bytes > 0 && statistics.freshness.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_there_at_once_without_an_allocation() {
    let near = Near::fresh().await;
    near.create_bound(1, Some("somebody with an id that is longer than what fits in place")).await;
    near.load(1, 0).await.unwrap();
    let now = near.clock.now();
    let mut answer = None;
    let cost = measure(|| answer = Some(near.cached.load(key(1), proof(0), now).into_ready()));
    assert!(matches!(answer, Some(Ok(Ok(Some(_))))));
    assert_eq!(cost.count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_read_with_another_token_is_a_miss_and_never_a_refusal() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    // Rotated elsewhere; the feed has not told yet.
    let now = near.clock.now();
    let rotated =
        near.authority.rotate(key(1), proof(0), proof(1), Change::new(1), None, now).await;
    assert_eq!(rotated.unwrap(), Rotated::Stored);
    assert_eq!(near.load(1, 1).await.unwrap().proof(), proof(1));
    // The layer refuses what is of another proof, but the store has decided.
    assert_eq!(near.load(1, 7).await.unwrap().proof(), proof(1));
}

#[tokio::test(start_paused = true)]
async fn a_touch_elsewhere_keeps_a_session_alive_whose_copy_looks_expired() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    near.clock.advance(Lifetime::AAL2.idle() - SECOND);
    assert!(near.authority.touch(key(1), 0, near.clock.now()).await.unwrap());
    near.freshen().await;
    assert!(!near.asks(1).await, "the copy will do for another second");
    near.clock.advance(SECOND);
    assert!(near.load(1, 0).await.is_some());
    assert!(!near.asks(1).await, "the copy is a new one");
    near.clock.advance(Lifetime::AAL2.idle());
    near.freshen().await;
    assert!(near.load(1, 0).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn neither_absence_nor_an_error_is_kept() {
    let near = Near::fresh().await;
    assert!(near.load(1, 0).await.is_none());
    near.create(1).await;
    near.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Corrupt));
    near.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
    for kind in [StoreErrorKind::Corrupt, StoreErrorKind::Unavailable] {
        let failed = near.cached.load(key(1), proof(0), near.clock.now()).await;
        assert_eq!(failed.unwrap_err().kind(), kind);
    }
    assert!(near.load(1, 0).await.is_some());
    assert_eq!(near.cached.statistics().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_node_writes_it_reads_at_once() {
    let near = Near::fresh().await;
    near.create(1).await;
    let now = near.clock.now();
    let pending = [Operation::Update, Operation::Rotate, Operation::Touch, Operation::Destroy];
    for fault in [Fault::None, Fault::Pending] {
        for operation in pending {
            near.faults.always(operation, fault.clone());
        }
        near.load(1, 0).await.unwrap();
        near.cached.update(key(1), Change::new(8), 0, None, now).await.unwrap();
        assert_eq!(near.load(1, 0).await.unwrap().version(), 8);
        near.cached.rotate(key(1), proof(0), proof(9), Change::new(9), None, now).await.unwrap();
        assert_eq!(near.load(1, 0).await.unwrap().proof(), proof(9));
        assert_eq!(near.load(1, 9).await.unwrap().version(), 9);
        near.cached.rotate(key(1), proof(9), proof(0), Change::new(9), None, now).await.unwrap();
        assert_eq!(near.load(1, 0).await.unwrap().proof(), proof(0));
        near.clock.advance(SECOND);
        assert!(near.cached.touch(key(1), 0, near.clock.now()).await.unwrap());
        assert_eq!(near.load(1, 0).await.unwrap().last_seen_at(), near.clock.now());
    }
    assert!(near.cached.destroy(key(1), None, now).await.unwrap());
    assert!(near.load(1, 0).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn sessions_that_end_by_their_user_are_gone_at_once() {
    for ends in 0..3 {
        let near = Near::fresh().await;
        near.create_bound(1, Some("alice")).await;
        near.create_bound(2, Some("bob")).await;
        near.create(3).await;
        for number in 1..4 {
            near.load(number, 0).await.unwrap();
        }
        let now = near.clock.now();
        let login = Change::new(1).with_user(alice());
        match ends {
            0 => drop(near.cached.destroy_user(alice(), None, 0, now).await.unwrap()),
            1 => {
                let mut record = Record::new(proof(0), Lifetime::AAL2, now);
                record.apply(&login, now);
                near.cached.create(key(4), record, Some(1), now).await.unwrap();
            }
            _ => {
                let rotated =
                    near.cached.rotate(key(3), proof(0), proof(0), login, Some(1), now).await;
                // The same proof is a repetition: nothing is done.
                assert_eq!(rotated.unwrap(), Rotated::Stored);
                let login = Change::new(1).with_user(alice());
                near.cached.rotate(key(3), proof(0), proof(1), login, Some(1), now).await.unwrap();
            }
        }
        assert!(near.load(1, 0).await.is_none(), "{ends}");
        assert!(!near.asks(2).await, "another user's copy is still good");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_write_leaves_no_copy_behind() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    near.faults.next(Operation::Update, Fault::Hang);
    let update = near.cached.update(key(1), Change::new(8), 0, None, near.clock.now());
    // Neither while it is under way …
    assert!(near.asks(1).await);
    assert!(!near.asks(1).await);
    drop(update);
    // … nor when nobody waits for it.
    assert!(near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_allowed() {
    let near = Near::with(|builder| builder.max_entries(64).max_bytes(1024 * 1024));
    near.freshen().await;
    for number in 0..200 {
        near.create(number).await;
        near.load(number, 0).await.unwrap();
        assert!(near.cached.statistics().entries <= 64);
    }
    assert!(near.cached.statistics().entries > 32, "{:?}", near.cached.statistics());

    let near = Near::with(|builder| builder.max_entries(1_000).max_bytes(64 * 1024));
    near.freshen().await;
    let text = "x".repeat(1_000);
    for number in 0..200 {
        near.create(number).await;
        let change = Change::new(1).with_field("text", &text).unwrap();
        near.authority.update(key(number), change, 0, None, near.clock.now()).await.unwrap();
        near.load(number, 0).await.unwrap();
        assert!(near.cached.statistics().bytes <= 64 * 1024);
    }
    assert!(near.cached.statistics().entries > 16, "{:?}", near.cached.statistics());

    for limits in [(1, 1), (1, 1024 * 1024), (1_000_000, 1)] {
        let near = Near::with(|builder| builder.max_entries(limits.0).max_bytes(limits.1));
        near.freshen().await;
        for number in 0..10 {
            near.create(number).await;
            near.load(number, 0).await.unwrap();
        }
        assert!(near.cached.statistics().entries <= 1, "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_estimate_of_bytes_is_close() {
    const BYTES: u64 = 4 * 1024 * 1024;
    let near = Near::with(|builder| builder.max_entries(1_000_000).max_bytes(BYTES));
    near.freshen().await;
    let now = near.clock.now();
    let text = "x".repeat(100);
    let keys: Vec<_> =
        (0..40_000_u128).map(|number| SessionKey::from_bytes(number.to_le_bytes())).collect();
    for key in &keys {
        let mut record = Record::new(proof(0), Lifetime::AAL2, now);
        record.apply(&Change::new(1).with_field("text", &text).unwrap(), now);
        near.authority.create(*key, record, None, now).await.unwrap();
    }
    let cost = measure(|| {
        for key in &keys {
            // The store is in memory: it is there at the first poll.
            let load = near.cached.load(*key, proof(0), now).now_or_never();
            assert!(load.unwrap().unwrap().is_some());
        }
    });
    let bytes = near.cached.statistics().bytes;
    assert!(bytes <= BYTES && bytes > BYTES * 8 / 10, "{bytes}");
    // The fields are shared with the memory store, which a store elsewhere doesn't do.
    let entries = near.cached.statistics().entries as u64;
    let shared = entries * 180;
    let taken = cost.bytes_current as u64 + shared;
    assert!(
        taken <= bytes * 5 / 4,
        "{taken} bytes for {entries} copies that are said to take {bytes}"
    );
}

#[tokio::test]
async fn a_store_without_a_feed_is_refused_and_told_of_within() {
    let error = CachedStore::new(CustomStore::default()).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Feed);
    assert!(error.to_string().contains("within"), "{error}");
    let behind: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    assert!(CachedStore::new(behind).is_ok(), "a pointer keeps the feed");

    let refused = |builder: CachedStoreBuilder| builder.build().unwrap_err().kind();
    let builder = || CachedStore::builder(MemoryStore::new());
    for builder in [
        builder().max_entries(0),
        builder().max_bytes(0),
        builder().max_staleness(Duration::ZERO),
        builder().heartbeat(Duration::ZERO),
        builder().heartbeat(2 * SECOND),
    ] {
        assert_eq!(refused(builder), ConfigErrorKind::Limit);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_feed_a_copy_is_used_for_its_time_by_either_clock() {
    let store = FaultyStore::new(CustomStore::default());
    let (faults, clock) = (store.faults(), ManualClock::new());
    let cached = CachedStore::within(store, 5 * SECOND);
    assert!(cached.feed(Heartbeat::new(SECOND)).is_none());
    cached.check(SystemClock.now()).await.unwrap();
    let record = Record::new(proof(0), Lifetime::AAL2, clock.now());
    cached.create(key(1), record, None, clock.now()).await.unwrap();
    let asks = async || {
        let before = faults.calls(Operation::Load);
        cached.load(key(1), proof(0), clock.now()).await.unwrap().unwrap();
        faults.calls(Operation::Load) > before
    };
    assert!(asks().await);
    assert!(!asks().await);
    clock.advance(5 * SECOND - Duration::from_millis(1));
    assert!(!asks().await);
    clock.advance(Duration::from_millis(1));
    assert!(asks().await);
    tokio::time::advance(5 * SECOND).await;
    assert!(!asks().await);
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert!(asks().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cached_memory_store_keeps_the_contract() {
    let cached = CachedStore::new(MemoryStore::new()).unwrap();
    cached.check(SystemClock.now()).await.unwrap();
    contract::check_all(cached.clone()).await.unwrap();
    let statistics = cached.statistics();
    assert!(statistics.hits > 100 && statistics.invalidations > 100, "{statistics:?}");

    let cached = CachedStore::within(MemoryStore::new(), 60 * SECOND);
    contract::check_all(cached.clone()).await.unwrap();
    assert!(cached.statistics().hits > 100, "{:?}", cached.statistics());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_store_that_has_to_be_waited_for_keeps_the_contract() {
    use Operation::*;
    let store = FaultyStore::new(MemoryStore::new());
    let faults = store.faults();
    for operation in [Load, Create, Update, Rotate, Touch, Destroy, List, DestroyUser, Sweep, Check]
    {
        faults.always(operation, Fault::Pending);
    }
    let cached = CachedStore::new(store).unwrap();
    cached.check(SystemClock.now()).await.unwrap();
    contract::check_all(cached.clone()).await.unwrap();
    assert!(cached.statistics().hits > 100, "{:?}", cached.statistics());
}
