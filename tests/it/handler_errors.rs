//! What is told to `tracing` when a handler answers with an error, and which store call failed.

use std::time::Duration;

use axum::{Router, routing};
use http::{HeaderValue, StatusCode};
use tower::ServiceExt;
use tower_wristband::{
    Page, Session, SessionError, SessionErrorKind, StoreError, StoreErrorKind, UserId,
    testing::{Fault, Operation, issue_with},
};
use tracing::Level;

use crate::{
    captured::{Capture, Event},
    support::{World, get, get_with, world},
};

/// What is told while a handler answers with what `answer` comes to.
async fn told<H, T>(world: &World, cookie: &HeaderValue, handler: H) -> (StatusCode, Vec<Event>)
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let router = Router::new().route("/", routing::get(handler)).layer(world.layer.clone());
    let capture = Capture::start();
    let response = router.oneshot(get_with("/", cookie)).await.unwrap();
    (response.status(), capture.take())
}

#[track_caller]
fn only(events: &[Event]) -> &Event {
    let [event] = events else { panic!("one event was expected, not {events:#?}") };
    event
}

#[tokio::test]
async fn a_mistake_of_the_program_is_an_error_with_its_kind_and_source_but_no_value() {
    let world = world();
    let cookie =
        issue_with(&world.layer, "alice", |session| session.insert("pin", "hunter2")).await;
    let (status, events) = told(&world, &cookie, async |session: Session| {
        session.get::<u32>("pin").map(|pin| format!("{pin:?}"))
    })
    .await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let event = only(&events);
    assert_eq!((event.level, &*event.message), (Level::ERROR, "handler failed on its session"));
    assert_eq!(event.field("kind"), Some("Decode"));
    assert_eq!(event.field("source"), Some("Data error at line 1 column 9"));
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_mistake_of_the_client_is_no_warning() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let (status, events) =
        told(&world, &cookie, async |session: Session| session.insert("", "x")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let event = only(&events);
    assert_eq!((event.level, event.field("kind")), (Level::DEBUG, Some("FieldName")));
}

#[tokio::test]
async fn an_outage_is_told_once_where_it_happened() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.faults.next(Operation::Touch, Fault::Error(StoreErrorKind::Unavailable));
    let (status, events) =
        told(&world, &cookie, async |session: Session| session.touch().await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(only(&events).message, "session store failed");
}

/// The layer knows nothing of a store that a handler has asked by itself.
#[tokio::test]
async fn a_store_error_that_a_handler_answers_with_is_told() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let (status, events) = told(&world, &cookie, async || {
        Err::<(), _>(StoreError::with_source(StoreErrorKind::Other, "no such table"))
    })
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(only(&events).level, Level::ERROR);
    assert_eq!(only(&events).field("kind"), Some("Store(Other)"));
}

#[tokio::test]
async fn a_missing_layer_is_told_with_what_to_do() {
    let router = Router::new()
        .route("/session", routing::get(async |_: Session| ""))
        .route("/user", routing::get(async |_: UserId| ""));
    for path in ["/session", "/user"] {
        let capture = Capture::start();
        router.clone().oneshot(get(path)).await.unwrap();
        let events = capture.take();
        assert_eq!(only(&events).level, Level::ERROR, "{path}");
        assert!(only(&events).field("source").unwrap().contains(".layer(sessions.optional())"));
    }
}

#[tokio::test]
async fn nobody_signed_in_is_no_event() {
    let world = world();
    let router = Router::new()
        .route("/", routing::get(async |user: UserId| user.to_string()))
        .layer(world.layer.optional());
    let capture = Capture::start();
    assert_eq!(router.oneshot(get("/")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(capture.take(), []);
}

/// One way to reach each store call outside of a commit.
async fn reach(operation: Operation, world: &World, session: &Session) -> SessionErrorKind {
    let sessions = world.layer.sessions();
    let alice = UserId::try_from("alice").unwrap();
    let result: Result<(), SessionError> = match operation {
        Operation::Load => session.reload().await,
        Operation::Update => session.update("n", |_: Option<u8>| Some(1)).await.map(drop),
        Operation::Touch => session.touch().await,
        Operation::Destroy => session.log_out().await,
        Operation::List => sessions.list(&alice, Page::first(1)).await.map(drop),
        Operation::DestroyUser => sessions.revoke_user(&alice).await.map(drop),
        Operation::Check => sessions.check().await,
        _ => unreachable!("it is part of a commit alone"),
    };
    result.unwrap_err().kind()
}

#[tokio::test]
async fn the_event_of_a_failing_store_names_the_operation() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.clock.advance(Duration::from_secs(60));
    let session = crate::in_flight::InFlight::with(&world, &cookie).await.session;
    for (operation, name) in [
        (Operation::Load, "load"),
        (Operation::Update, "update"),
        (Operation::Touch, "touch"),
        (Operation::Destroy, "destroy"),
        (Operation::List, "list"),
        (Operation::DestroyUser, "destroy_user"),
        (Operation::Check, "check"),
    ] {
        world.faults.next(operation, Fault::Error(StoreErrorKind::Unavailable));
        let capture = Capture::start();
        let kind = reach(operation, &world, &session).await;
        assert_eq!(kind, SessionErrorKind::Store(StoreErrorKind::Unavailable), "{name}");
        let events = capture.take();
        assert_eq!(only(&events).field("operation"), Some(name));
    }
}
