use std::{ops::RangeInclusive, sync::Mutex};

use tokio::time::Instant;

use super::*;
use crate::{
    clock::Timestamp,
    lifetime::Lifetime,
    store::{
        Change, MemoryStore, Proof, Record, Rotated, SessionKey, SessionSummary, StoreFuture,
        Updated,
    },
    user::UserId,
};

const MINUTE: Duration = Duration::from_secs(60);

type Answer = fn(call: usize) -> StoreFuture<usize>;

/// A store of which only `sweep` answers; it knows when it was called.
#[derive(Clone)]
struct Scripted {
    calls: Arc<Mutex<Vec<Instant>>>,
    answer: Answer,
}

impl Scripted {
    fn new(answer: Answer) -> Self {
        Self { calls: Arc::default(), answer }
    }

    fn calls(&self) -> usize {
        self.calls.lock().expect("nobody panics").len()
    }

    /// The first pauses between its calls.
    fn pauses<const COUNT: usize>(&self) -> [Duration; COUNT] {
        let calls = self.calls.lock().expect("nobody panics");
        std::array::from_fn(|number| calls[number + 1] - calls[number])
    }
}

fn failure<T>() -> StoreFuture<T> {
    StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Unavailable)))
}

#[rustfmt::skip]
impl SessionStore for Scripted {
    fn load(&self, _: SessionKey, _: Proof, _: Timestamp) -> StoreFuture<Option<Record>> { failure() }
    fn create(&self, _: SessionKey, _: Record, _: Option<usize>, _: Timestamp) -> StoreFuture<()> { failure() }
    fn update(&self, _: SessionKey, _: Change, _: u32, _: Option<u64>, _: Timestamp) -> StoreFuture<Updated> { failure() }
    fn rotate(&self, _: SessionKey, _: Proof, _: Proof, _: Change, _: Option<usize>, _: Timestamp) -> StoreFuture<Rotated> { failure() }
    fn touch(&self, _: SessionKey, _: u32, _: Timestamp) -> StoreFuture<bool> { failure() }
    fn destroy(&self, _: SessionKey, _: Option<UserId>, _: Timestamp) -> StoreFuture<bool> { failure() }
    fn list(&self, _: UserId, _: Option<SessionKey>, _: usize, _: Timestamp) -> StoreFuture<Vec<SessionSummary>> { failure() }
    fn destroy_user(&self, _: UserId, _: Option<SessionKey>, _: usize, _: Timestamp) -> StoreFuture<usize> { failure() }
    fn check(&self, _: Timestamp) -> StoreFuture<()> { failure() }

    fn sweep(&self, _: usize, _: Timestamp) -> StoreFuture<usize> {
        let mut calls = self.calls.lock().expect("nobody panics");
        calls.push(Instant::now());
        let call = calls.len() - 1;
        drop(calls);
        (self.answer)(call)
    }
}

/// Lets the paused time go on to just behind so many minutes from now.
async fn minutes(minutes: u32) {
    time::sleep(MINUTE * minutes + Duration::from_secs(1)).await;
}

/// The pauses that a limit of so many minutes allows.
fn up_to(minutes: u32) -> RangeInclusive<Duration> {
    MINUTE * minutes / 2..=MINUTE * minutes
}

#[tokio::test(start_paused = true)]
async fn it_sweeps_at_once_and_then_again_within_the_interval() {
    let store = Scripted::new(|_| StoreFuture::ok(0));
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(0).await;
    assert_eq!(store.calls(), 1);
    minutes(100).await;
    let pauses = store.pauses::<100>();
    assert!(pauses.iter().all(|pause| up_to(1).contains(pause)), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_do_not_sweep_together() {
    let store = Scripted::new(|_| StoreFuture::ok(0));
    let nodes = [(); 10].map(|()| Sweeper::spawn(store.clone(), MINUTE));
    minutes(0).await;
    assert_eq!(store.calls(), nodes.len());
    minutes(1).await;
    let apart = store.pauses::<19>()[10..].iter().filter(|pause| !pause.is_zero()).count();
    assert!(apart > 5, "{apart} of 10 apart from the one before");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_however_large_leaves_the_store_alone_after_each_batch() {
    let store = Scripted::new(|_| StoreFuture::ok(1000));
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    time::sleep(Duration::from_secs(1) - Duration::from_millis(1)).await;
    assert_eq!(store.calls(), 100);
}

#[tokio::test(start_paused = true)]
async fn it_sweeps_until_a_batch_removes_nothing() {
    let store = Scripted::new(|call| StoreFuture::ok([10, 10, 3, 10, 1, 0, 10][call]));
    let _sweeper = Sweeper::builder(store.clone(), MINUTE).batch(10).spawn();
    minutes(0).await;
    assert_eq!(store.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn it_asks_its_clock_and_removes_no_more_than_its_batch_at_a_time() {
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(5_000_000)
        }
    }
    let store = MemoryStore::new();
    for (number, created) in [(1, 0), (2, 0), (3, 0), (4, 5_000_000)] {
        let created = Timestamp::from_unix_millis(created);
        let proof = Proof::from_bytes([0; 32]);
        let lifetime = Lifetime::new(MINUTE, MINUTE);
        let record = Record::new(proof, lifetime, created);
        let key = SessionKey::from_bytes([number; 16]);
        store.create(key, record, None, Timestamp::from_unix_millis(0)).await.expect("created");
    }
    let _sweeper = Sweeper::builder(store.clone(), MINUTE).clock(Fixed).batch(1).spawn();
    minutes(0).await;
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_it_goes_on_with_a_longer_pause_that_is_bounded() {
    let store = Scripted::new(|_| failure());
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(100).await;
    for (pause, longest) in store.pauses::<6>().iter().zip([2, 4, 8, 16, 16, 16]) {
        assert!(up_to(longest).contains(pause), "{pause:?} of {longest} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_success_the_pause_is_the_interval_again() {
    let store = Scripted::new(|call| if call == 0 { failure() } else { StoreFuture::ok(0) });
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(10).await;
    for (pause, longest) in store.pauses::<4>().iter().zip([2, 1, 1, 1]) {
        assert!(up_to(longest).contains(pause), "{pause:?} of {longest} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn it_outlives_a_store_that_panics_in_the_call_or_in_the_future() {
    let store = Scripted::new(|call| match call {
        0 => panic!("in the call (the test expects it)"),
        1 => StoreFuture::boxed(async { panic!("in the future (the test expects it)") }),
        _ => StoreFuture::ok(0),
    });
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(6).await;
    assert!(store.calls() >= 3);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_dropped() {
    let store = Scripted::new(|_| StoreFuture::ok(0));
    let sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(0).await;
    drop(sweeper);
    minutes(10).await;
    assert_eq!(store.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_when_it_is_detached() {
    let store = Scripted::new(|_| StoreFuture::ok(0));
    Sweeper::spawn(store.clone(), MINUTE).detach();
    minutes(2).await;
    assert!(store.calls() >= 3);
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_an_answer_that_never_comes() {
    let store = Scripted::new(|_| StoreFuture::boxed(std::future::pending()));
    let _sweeper = Sweeper::spawn(store.clone(), MINUTE);
    minutes(20).await;
    assert!(store.calls() > 1, "it waits for ever");
}
