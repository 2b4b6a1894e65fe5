//! The faulty store does to a call what its script says.

use std::{sync::Arc, time::Duration};

use tower_wristband::{
    Clock, Lifetime, SessionToken, StoreErrorKind, Timestamp,
    store::{Change, Record, SessionStore, Updated},
    testing::{Fault, FaultyStore, Gate, ManualClock, Operation},
};

use crate::contract::custom_store::CustomStore;

/// A store with one session, whose creation is not counted as a call.
fn store_with_session() -> (FaultyStore<CustomStore>, SessionToken, Timestamp) {
    let store = FaultyStore::new(CustomStore::default());
    let (token, now) = (SessionToken::generate().unwrap(), ManualClock::new().now());
    let record = Record::new(token.proof(), Lifetime::AAL2, now);
    store.inner().create(token.key(), record, None, now).into_ready().unwrap().unwrap();
    (store, token, now)
}

fn count(store: &FaultyStore<CustomStore>, token: &SessionToken, now: Timestamp) -> Option<String> {
    let found = store.inner().load(token.key(), token.proof(), now).into_ready().unwrap().unwrap();
    found?.field("n").map(Into::into)
}

#[tokio::test]
async fn without_a_fault_a_ready_answer_stays_ready() {
    let (store, token, now) = store_with_session();
    assert!(store.load(token.key(), token.proof(), now).into_ready().is_ok());
    store.faults().always(Operation::Load, Fault::Pending);
    let pending = store.load(token.key(), token.proof(), now).into_ready().unwrap_err();
    assert!(pending.await.unwrap().is_some());
    store.faults().clear();
    assert!(store.load(token.key(), token.proof(), now).into_ready().is_ok());

    assert_eq!(store.faults().calls(Operation::Load), 3);
    assert_eq!(store.faults().calls(Operation::Touch), 0);
    assert_eq!(store.faults().total_calls(), 3);
}

#[tokio::test]
async fn scripted_faults_come_in_their_order_and_before_the_lasting_one() {
    let (store, token, now) = store_with_session();
    let faults = store.faults();
    faults.always(Operation::Touch, Fault::Error(StoreErrorKind::Other));
    faults.next(Operation::Touch, Fault::None);
    faults.next(Operation::Touch, Fault::Error(StoreErrorKind::Timeout));
    assert!(store.touch(token.key(), 0, now).await.unwrap());
    for kind in [StoreErrorKind::Timeout, StoreErrorKind::Other, StoreErrorKind::Other] {
        assert_eq!(store.touch(token.key(), 0, now).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn an_error_is_not_delivered_and_a_lost_reply_is() {
    let (store, token, now) = store_with_session();
    let one = Change::new(1).with_field("n", &1).unwrap();
    store.faults().next(Operation::Update, Fault::Error(StoreErrorKind::Unavailable));
    store.update(token.key(), one.clone(), 0, None, now).await.unwrap_err();
    assert_eq!(count(&store, &token, now), None);

    store.faults().next(Operation::Update, Fault::LostReply(StoreErrorKind::Timeout));
    let error = store.update(token.key(), one, 0, None, now).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert_eq!(count(&store, &token, now).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_repeated_request_answers_as_the_second() {
    let (store, token, now) = store_with_session();
    store.faults().next(Operation::Update, Fault::Repeat);
    let change = Change::new(1);
    let updated = store.update(token.key(), change, 0, Some(0), now).await.unwrap();
    assert!(matches!(updated, Updated::Conflict(_)));
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_on_the_runtimes_timer_and_a_hang_has_no_end() {
    let (store, token, now) = store_with_session();
    store.faults().next(Operation::Load, Fault::Delay(Duration::from_secs(7)));
    let start = tokio::time::Instant::now();
    store.load(token.key(), token.proof(), now).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(7));

    store.faults().next(Operation::Load, Fault::Hang);
    let hanging = store.load(token.key(), token.proof(), now);
    tokio::time::timeout(Duration::from_secs(86_400), hanging).await.unwrap_err();
}

#[tokio::test]
async fn a_gate_decides_the_order_of_events() {
    let (store, token, now) = store_with_session();
    let store = Arc::new(store);
    let update = |value: u32| {
        let (store, key) = (Arc::clone(&store), token.key());
        let change = Change::new(1).with_field("n", &value).unwrap();
        tokio::spawn(async move { store.update(key, change, 0, None, now).await })
    };

    let before = Gate::new();
    store.faults().next(Operation::Update, Fault::Hold(before.clone()));
    let held = update(1);
    before.arrived().await;
    assert_eq!(count(&store, &token, now), None);
    before.release();
    held.await.unwrap().unwrap();
    assert_eq!(count(&store, &token, now).as_deref(), Some("1"));

    let after = Gate::new();
    store.faults().always(Operation::Update, Fault::HoldReply(after.clone()));
    let held = [update(2), update(2)];
    after.arrived().await;
    after.arrived().await;
    assert_eq!(count(&store, &token, now).as_deref(), Some("2"));
    assert!(!held[0].is_finished() && !held[1].is_finished());
    after.open();
    for held in held {
        held.await.unwrap().unwrap();
    }
    update(3).await.unwrap().unwrap();
}

#[test]
fn a_manual_clock_moves_only_when_told() {
    let clock = ManualClock::default();
    let start = clock.now();
    assert_eq!(start.as_unix_seconds(), 1_767_225_600);
    let shared = clock.clone();
    clock.advance(Duration::from_millis(1500));
    assert_eq!(shared.now(), start + Duration::from_millis(1500));
    shared.set(start);
    assert_eq!(clock.now(), start);
    clock.advance(Duration::MAX);
    clock.advance(Duration::MAX);
    assert!(ManualClock::at(start).now() < clock.now());
}
