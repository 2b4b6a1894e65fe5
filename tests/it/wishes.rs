//! What a handler wishes for is stored once, also if something else is stored meanwhile.

use http::StatusCode;
use tower_wristband::testing::{Fault, Gate, Operation, cookie_from};

use crate::{
    in_flight::{InFlight, save_held_at_reply},
    support::{body, visit, who, world},
};

#[tokio::test]
async fn a_login_during_a_save_is_stored_at_the_end_of_the_request() {
    let world = world();
    let cookie = world.anonymous().await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.insert("draft", "text").unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Update).await;
    request.session.log_in("alice").unwrap();
    gate.release();
    save.await.unwrap().unwrap();
    let cookie = cookie_from(&request.finish().await).expect("a login has a new token");
    let response = visit(&who(&world.layer), &cookie).await;
    assert_eq!(body(response).await, "alice");
}

#[tokio::test]
async fn a_rotation_during_a_save_is_made_at_the_end_of_the_request() {
    let world = world();
    let old = world.signed_in("alice").await;
    let request = InFlight::with(&world, &old).await;
    request.session.insert("draft", "text").unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Update).await;
    request.session.rotate().unwrap();
    gate.release();
    save.await.unwrap().unwrap();
    let new = cookie_from(&request.finish().await).expect("a new token");
    assert_eq!(visit(&who(&world.layer), &new).await.status(), StatusCode::OK);
    assert_eq!(visit(&who(&world.layer), &old).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn that_all_fields_are_cleared_is_stored_though_nothing_else_is_wished_for() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let write = InFlight::with(&world, &cookie).await;
    write.session.insert("draft", "text").unwrap();
    write.finish().await;
    let clear = InFlight::with(&world, &cookie).await;
    clear.session.clear().unwrap();
    clear.finish().await;
    let read = InFlight::with(&world, &cookie).await;
    assert_eq!(read.session.get::<String>("draft").unwrap(), None);
    read.finish().await;
}

#[tokio::test]
async fn an_update_that_meets_another_starts_from_the_pending_value_again() {
    let plus_one = |n: Option<u32>| Some(n.unwrap_or(0) + 1);
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.insert("n", &5).unwrap();
    let gate = Gate::new();
    world.faults.next(Operation::Update, Fault::Hold(gate.clone()));
    let clone = request.session.clone();
    let update = tokio::spawn(async move { clone.update("n", plus_one).await });
    gate.arrived().await;
    let other = InFlight::with(&world, &cookie).await;
    assert_eq!(other.session.update("n", plus_one).await.unwrap(), Some(1));
    other.finish().await;
    gate.release();
    assert_eq!(update.await.unwrap().unwrap(), Some(6));
    request.finish().await;
}
