//! What a near cache asks the store, and when the answer may be kept.

use tokio::{spawn, task::JoinHandle, time::advance};
use tower_wristband::{
    Clock, StoreError, StoreErrorKind, Timestamp, UserId,
    store::{Change, FeedEvent, Record, SessionStore},
    testing::{Fault, Gate, Operation},
};

use crate::cached::{Near, SECOND, all_wait, key, proof};

type Loading = JoinHandle<Result<Option<Record>, StoreError>>;

fn load(near: &Near, number: u8, token: u8) -> Loading {
    spawn(near.cached.load(key(number), proof(token), near.clock.now()))
}

#[tokio::test(start_paused = true)]
async fn concurrent_misses_ask_the_store_once() {
    let near = Near::fresh().await;
    near.create(1).await;
    let gate = Gate::new();
    near.faults.next(Operation::Load, Fault::Hold(gate.clone()));
    let before = near.loads();
    let loading: Vec<_> = (0..50).map(|_| load(&near, 1, 0)).collect();
    gate.arrived().await;
    all_wait().await;
    gate.release();
    for loading in loading {
        assert!(loading.await.unwrap().unwrap().is_some());
    }
    assert_eq!(near.loads() - before, 1);
    assert_eq!(near.cached.statistics().hits, 0);
    assert!(!near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_session_is_an_answer_to_all_whose_time_is_not_before_it() {
    let near = Near::fresh().await;
    for is_set_back in [false, true] {
        let gate = Gate::new();
        near.faults.next(Operation::Load, Fault::Hold(gate.clone()));
        let before = near.loads();
        let first = load(&near, 9, 0);
        gate.arrived().await;
        if is_set_back {
            near.clock.set(Timestamp::from_unix_millis(near.clock.now().as_unix_millis() - 1));
        }
        let second = load(&near, 9, 0);
        all_wait().await;
        gate.release();
        assert!(first.await.unwrap().unwrap().is_none());
        assert!(second.await.unwrap().unwrap().is_none());
        assert_eq!(near.loads() - before, 1 + usize::from(is_set_back));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_all_who_wait() {
    let near = Near::fresh().await;
    let before = near.loads();
    near.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
    let failing: Vec<_> = (0..10).map(|_| load(&near, 1, 0)).collect();
    for failing in failing {
        let error = failing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!(near.loads() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_on_when_who_asked_first_is_gone() {
    let near = Near::fresh().await;
    near.create(1).await;
    let gate = Gate::new();
    near.faults.next(Operation::Load, Fault::Hold(gate.clone()));
    let before = near.loads();
    let first = load(&near, 1, 0);
    gate.arrived().await;
    let second = load(&near, 1, 0);
    all_wait().await;
    first.abort();
    all_wait().await;
    gate.release();
    assert!(second.await.unwrap().unwrap().is_some());
    assert_eq!(near.loads() - before, 1);
    assert!(!near.asks(1).await, "and its answer is kept");

    // One that nobody waits for leaves nothing to join.
    near.tell(FeedEvent::Changed(key(1))).await;
    near.faults.next(Operation::Load, Fault::Hang);
    let dropped = load(&near, 1, 0);
    all_wait().await;
    dropped.abort();
    all_wait().await;
    assert!(near.load(1, 0).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_an_invalidation_never_enters() {
    let near = Near::fresh().await;
    near.create(1).await;
    let gate = Gate::new();
    near.faults.next(Operation::Load, Fault::HoldReply(gate.clone()));
    let slow = load(&near, 1, 0);
    gate.arrived().await;
    // The store has answered, but the answer is under way.
    near.update_elsewhere(1, 7).await;
    near.tell(FeedEvent::Changed(key(1))).await;
    gate.release();
    assert_ne!(slow.await.unwrap().unwrap().unwrap().version(), 7);
    assert_eq!(near.load(1, 0).await.unwrap().version(), 7);
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_question_that_is_perhaps_never_answered() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.faults.next(Operation::Load, Fault::Hang);
    let hung = load(&near, 1, 0);
    all_wait().await;
    advance(SECOND / 2).await;
    let joined = load(&near, 1, 0);
    all_wait().await;
    assert!(!joined.is_finished());
    advance(SECOND / 1000).await;
    assert!(near.asks(1).await);
    assert!(!joined.is_finished() && !hung.is_finished());
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_question_from_before_an_invalidation() {
    let near = Near::fresh().await;
    near.create(1).await;
    let gate = Gate::new();
    near.faults.next(Operation::Load, Fault::HoldReply(gate.clone()));
    let slow = load(&near, 1, 0);
    gate.arrived().await;
    near.update_elsewhere(1, 7).await;
    near.tell(FeedEvent::Changed(key(1))).await;
    // Later, and kept before the slow one is answered.
    assert_eq!(near.load(1, 0).await.unwrap().version(), 7);
    assert!(!near.asks(1).await);
    gate.release();
    slow.await.unwrap().unwrap().unwrap();
    assert_eq!(near.load(1, 0).await.unwrap().version(), 7);
    assert!(!near.asks(1).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_question_from_before_a_gap_or_its_own_write() {
    let near = Near::fresh().await;
    near.create_bound(1, Some("alice")).await;
    for interruption in 0..4 {
        let gate = Gate::new();
        near.faults.next(Operation::Load, Fault::HoldReply(gate.clone()));
        let slow = load(&near, 1, 0);
        gate.arrived().await;
        let now = near.clock.now();
        match interruption {
            0 => {
                near.tell(FeedEvent::Gap).await;
                near.freshen().await;
            }
            1 => assert!(near.cached.touch(key(1), 1, now).await.unwrap()),
            2 => {
                near.cached.update(key(1), Change::new(3), 1, None, now).await.unwrap();
            }
            _ => {
                let alice = UserId::try_from("alice").unwrap();
                assert_eq!(near.cached.destroy_user(alice, None, 0, now).await.unwrap(), 1);
            }
        }
        let version = near.load(1, 0);
        if interruption < 3 {
            version.await.unwrap();
        } else {
            // This one does join, for the store alone knows whose session it is; but it doesn't
            // believe the answer.
            let late = load(&near, 1, 0);
            all_wait().await;
            gate.release();
            assert!(late.await.unwrap().unwrap().is_none());
            assert!(version.await.is_none());
        }
        gate.release();
        assert!(slow.await.unwrap().unwrap().is_some());
        // What came late has not entered.
        match interruption {
            3 => assert!(near.load(1, 0).await.is_none()),
            _ => near.tell(FeedEvent::Changed(key(1))).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_is_never_refused_by_anothers_answer() {
    let near = Near::fresh().await;
    near.create(1).await;
    // It asks with an old token, and is answered with what was before a rotation elsewhere.
    let gate = Gate::new();
    near.faults.next(Operation::Load, Fault::HoldReply(gate.clone()));
    let old = load(&near, 1, 0);
    gate.arrived().await;
    let now = near.clock.now();
    near.authority.rotate(key(1), proof(0), proof(1), Change::new(7), None, now).await.unwrap();
    let new = load(&near, 1, 1);
    all_wait().await;
    gate.release();
    assert_eq!(old.await.unwrap().unwrap().unwrap().proof(), proof(0));
    assert_eq!(new.await.unwrap().unwrap().unwrap().proof(), proof(1));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_is_not_joined_for_ever() {
    let near = Near::fresh().await;
    near.create(1).await;
    near.faults.next(Operation::Load, Fault::Hang);
    let lost = load(&near, 1, 0);
    all_wait().await;
    advance(2 * SECOND).await;
    near.freshen().await;
    advance(SECOND).await;
    assert!(near.load(1, 0).await.is_some());
    assert!(!lost.is_finished());
}

#[tokio::test(start_paused = true)]
async fn while_the_feed_is_not_fresh_nothing_is_joined_and_nothing_kept() {
    let near = Near::silent();
    near.create(1).await;
    near.load(1, 0).await.unwrap();
    let gate = Gate::new();
    let before = near.loads();
    for _ in 0..2 {
        near.faults.next(Operation::Load, Fault::Hold(gate.clone()));
    }
    let loading = [load(&near, 1, 0), load(&near, 1, 0)];
    gate.arrived().await;
    gate.arrived().await;
    gate.open();
    for loading in loading {
        loading.await.unwrap().unwrap().unwrap();
    }
    assert_eq!(near.loads() - before, 2);
    assert_eq!(near.cached.statistics().entries, 0);
}
