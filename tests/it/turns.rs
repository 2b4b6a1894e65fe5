//! The clones of a handle wait for the store one at a time, and nobody waits for ever.

use std::{
    future::Future,
    task::{Context, Waker},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower_wristband::{
    Lifetime, SessionErrorKind, StoreErrorKind, UserId,
    testing::{Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, save_held_at_reply},
    support::{header, near_world, status, text, visit, who, world},
};

fn plus_one(n: Option<u32>) -> Option<u32> {
    Some(n.unwrap_or(0) + 1)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_request_has_its_turn_among_updates_without_end() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    world.faults.always(Operation::Update, Fault::Delay(Duration::from_millis(10)));
    let clone = request.session.clone();
    let job = tokio::spawn(async move {
        loop {
            clone.update("n", plus_one).await.unwrap();
        }
    });
    sleep(Duration::from_millis(25)).await;
    let response = timeout(Duration::from_secs(1), request.finish()).await.expect("its turn");
    assert_eq!(response.status(), StatusCode::OK);
    job.abort();
}

#[tokio::test(start_paused = true)]
async fn a_future_that_nobody_polls_holds_up_the_others_no_longer_than_a_store_call() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let session = &request.session;
    world.faults.always(Operation::Update, Fault::Delay(Duration::from_secs(2)));
    let mut update = Box::pin(session.update("n", plus_one));
    assert!(timeout(Duration::from_secs(1), &mut update).await.is_err());
    session.insert("draft", "text").unwrap();
    let saved = timeout(Duration::from_secs(6), session.save()).await.expect("an answer");
    let timed_out = SessionErrorKind::Store(StoreErrorKind::Timeout);
    assert_eq!(saved.unwrap_err().kind(), timed_out);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_hangs_does_not_replace_a_server_error_by_another() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    world.faults.next(Operation::Update, Fault::Hang);
    let clone = request.session.clone();
    let mut update = Box::pin(async move { clone.update("n", plus_one).await });
    assert!(update.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let response = request.answer_with(status(StatusCode::NOT_IMPLEMENTED)).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_login_that_fails_ends_no_session_that_another_login_was_stored_on() {
    let world = world();
    let cookie = world.anonymous().await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.log_in("alice").unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Rotate).await;
    request.session.log_in("bob").unwrap();
    gate.release();
    save.await.unwrap().unwrap();
    world.faults.next(Operation::Create, Fault::Error(StoreErrorKind::Unavailable));
    request.session.save().await.unwrap_err();
    let cookie = cookie_from(&request.finish().await).expect("alice's cookie");
    let alice: UserId = "alice".parse().unwrap();
    assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 1);
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_lifetime_that_is_set_during_a_rotation_has_a_rotation_of_its_own() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.rotate().unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Rotate).await;
    request.session.set_lifetime(Lifetime::AAL3).unwrap();
    gate.release();
    save.await.unwrap().unwrap();
    let response = request.finish().await;
    let cookie = header(&response, "set-cookie").unwrap();
    assert!(cookie.contains("; Max-Age=43200"), "{cookie}");
}

#[tokio::test]
async fn the_end_of_a_request_waits_for_a_clone_that_logs_out() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let gate = Gate::new();
    world.faults.next(Operation::Destroy, Fault::HoldReply(gate.clone()));
    let clone = request.session.clone();
    let logout = tokio::spawn(async move { clone.log_out().await });
    gate.arrived().await;
    let answering = request.start_answering(text("done"));
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!answering.is_finished(), "the head waits for the removal of the cookie");
    gate.release();
    logout.await.unwrap().unwrap();
    let response = answering.await.unwrap();
    assert!(header(&response, "set-cookie").unwrap().contains("; Max-Age=0"));
}

#[tokio::test]
async fn a_logout_waits_for_a_clone_that_replaces_the_token_and_the_cookie_is_removed() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.rotate().unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Rotate).await;
    let clone = request.session.clone();
    let logout = tokio::spawn(async move { clone.log_out().await });
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!logout.is_finished(), "the new token is not known yet");
    gate.release();
    save.await.unwrap().unwrap();
    logout.await.unwrap().unwrap();
    let alice: UserId = "alice".parse().unwrap();
    assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 0);
    let response = request.finish().await;
    assert!(header(&response, "set-cookie").unwrap().contains("; Max-Age=0"));
}

#[tokio::test]
async fn what_one_clone_has_saved_all_of_them_show() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let clone = request.session.clone();
    clone.insert("draft", "text").unwrap();
    clone.save().await.unwrap();
    for session in [&clone, &request.session] {
        assert_eq!(session.get::<String>("draft").unwrap().as_deref(), Some("text"));
    }
    assert!(request.finish().await.status().is_success());
    assert_eq!(clone.get::<String>("draft").unwrap().as_deref(), Some("text"));
}
