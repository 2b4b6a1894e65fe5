//! Each turn of a session's life is told to `tracing` once, with the key, at a sensible level.

mod log;
mod outages;

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderValue, Response, StatusCode};
use tower_wristband::{
    Session, SessionKey, StoreErrorKind, UserId,
    store::SessionToken,
    testing::{Fault, Gate, Operation, cookie_from},
};
use tracing::Level;

use crate::{
    captured::{Capture, Event},
    in_flight::{InFlight, cancel},
    support::{World, app, get, send, status, text, visit, who, world, world_with},
};

/// The one event there is.
#[track_caller]
fn only(events: &[Event]) -> &Event {
    let [event] = events else { panic!("one event was expected, not {events:#?}") };
    event
}

/// The one event there is, by its level, its message and the session's key.
#[track_caller]
fn assert_only(events: &[Event], level: Level, message: &str, key: SessionKey) {
    assert_is(only(events), level, message, key);
}

#[track_caller]
fn assert_is(event: &Event, level: Level, message: &str, key: SessionKey) {
    assert_eq!((event.level, &*event.message), (level, message));
    assert_eq!(event.field("key"), Some(&*key.to_string()));
}

async fn key_of(world: &World, user: &str) -> SessionKey {
    let user = UserId::try_from(user).unwrap();
    let page = tower_wristband::Page::first(1);
    world.layer.sessions().list(&user, page).await.unwrap()[0].key()
}

/// The answer to one visit whose handler does this with its session.
async fn visit_with<F>(
    world: &World,
    cookie: &HeaderValue,
    handler: F,
) -> Response<axum::body::Body>
where
    F: Fn(&Session) + Clone + Send + Sync + 'static,
{
    let app = app(&world.layer.optional(), move |session| {
        handler(&session);
        async { text("") }
    });
    visit(&app, cookie).await
}

/// A cookie with a token that no session has.
fn cookie(value: &str) -> HeaderValue {
    HeaderValue::try_from(format!("__Host-session={value}")).unwrap()
}

#[tokio::test]
async fn a_login_is_told_as_a_session_created_and_logged_in() {
    let (world, capture) = (world(), Capture::start());
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    send(&login, get("/")).await;
    let key = key_of(&world, "alice").await;

    let events = capture.take();
    let [created, logged_in] = &*events else { panic!("{events:#?}") };
    assert_is(created, Level::INFO, "session created", key);
    assert_is(logged_in, Level::INFO, "session logged in", key);
    assert_eq!(logged_in.field("user"), Some("\"alice\""));
}

#[test]
fn the_guide_tells_of_every_event_and_of_no_other() {
    let source = include_str!("../../src/report.rs");
    let told = source.split(" event!(").skip(1).filter_map(|event| event.split('"').nth(1));
    let told: BTreeSet<&str> = told.filter(|text| !text.starts_with("two session")).collect();
    let guide = include_str!("../../src/guide.md");
    let (_, rest) = guide.split_once("\n# Events\n").unwrap();
    let rows = rest.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = rows
        .take_while(|row| !row.starts_with("| what "))
        .map(|row| row.split('|').nth(2).unwrap());
    let listed: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|text| !text.ends_with('…'))
        .collect();
    assert_eq!(listed, told);
    assert!(told.len() > 15);
}

#[tokio::test]
async fn an_anonymous_session_is_told_when_it_is_made() {
    let (world, capture) = (world(), Capture::start());
    let handler = app(&world.layer.optional(), |session| async move {
        session.insert("n", &1).unwrap();
        session.save().await.unwrap();
        text(session.key().unwrap().to_string())
    });
    let key = crate::support::body(send(&handler, get("/")).await).await;
    assert_only(&capture.take(), Level::INFO, "session created", key.parse().unwrap());
}

#[tokio::test]
async fn a_login_on_an_anonymous_session_is_told_without_a_second_creation() {
    let world = world();
    let anonymous = app(&world.layer.optional(), |session| async move {
        session.insert("n", &1).unwrap();
        text("")
    });
    let cookie = cookie_from(&send(&anonymous, get("/")).await).unwrap();
    let capture = Capture::start();
    visit_with(&world, &cookie, |session| session.log_in("alice").unwrap()).await;
    let key = key_of(&world, "alice").await;
    assert_only(&capture.take(), Level::INFO, "session logged in", key);
}

#[tokio::test]
async fn a_read_is_not_worth_an_event() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let capture = Capture::start();
    visit(&who(&world.layer), &cookie).await;
    send(&who(&world.layer.optional()), get("/")).await;
    visit_with(&world, &cookie, |session| session.insert("n", &1).unwrap()).await;
    assert_eq!(capture.take(), []);
}

#[tokio::test]
async fn a_rotation_is_told() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    let capture = Capture::start();
    visit_with(&world, &cookie, |session| session.rotate().unwrap()).await;
    assert_only(&capture.take(), Level::INFO, "session rotated", key);
}

#[tokio::test]
async fn a_logout_and_a_revocation_are_told_as_the_end() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    let logout = app(&world.layer, |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    let capture = Capture::start();
    visit(&logout, &cookie).await;
    assert_only(&capture.take(), Level::INFO, "session ended", key);

    world.signed_in("bob").await;
    let (bob, key) = (UserId::try_from("bob").unwrap(), key_of(&world, "bob").await);
    let sessions = world.layer.sessions();
    capture.take();
    assert!(sessions.revoke(&bob, key).await.unwrap());
    assert_only(&capture.take(), Level::INFO, "session ended", key);
    assert!(!sessions.revoke_any(key).await.unwrap());
    assert_eq!(capture.take(), [], "what was not there has not ended");

    world.signed_in("bob").await;
    capture.take();
    sessions.revoke_user(&bob).await.unwrap();
    let events = capture.take();
    assert_eq!(only(&events).level, Level::INFO);
    assert_eq!(only(&events).field("sessions"), Some("1"));
}

#[tokio::test]
async fn an_unknown_token_and_one_of_an_expired_session_are_no_warnings() {
    let world = world();
    let known = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    let capture = Capture::start();

    visit(&who(&world.layer), &cookie(&"A".repeat(SessionToken::WIRE_LENGTH))).await;
    let unknown = "0".repeat(32).parse().unwrap();
    assert_only(&capture.take(), Level::DEBUG, "unknown session token", unknown);

    world.clock.advance(Duration::from_secs(3601));
    visit(&who(&world.layer), &known).await;
    assert_only(&capture.take(), Level::DEBUG, "unknown session token", key);
}

#[tokio::test]
async fn a_session_that_began_too_early_is_told_as_expired() {
    let world = world_with(|builder| {
        // The clock of the tests stands in 2026.
        builder.not_before(tower_wristband::Timestamp::from_unix_millis(2_000_000_000_000))
    });
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    let capture = Capture::start();
    visit(&who(&world.layer), &cookie).await;
    assert_only(&capture.take(), Level::DEBUG, "session expired", key);
}

#[tokio::test]
async fn a_superseded_token_is_told_and_later_it_is_a_wrong_secret() {
    let world = world();
    let old = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    visit_with(&world, &old, |session| session.rotate().unwrap()).await;
    let capture = Capture::start();

    visit(&who(&world.layer), &old).await;
    assert_only(&capture.take(), Level::DEBUG, "superseded session token", key);

    visit_with(&world, &old, |session| session.insert("n", &1).unwrap()).await;
    let events = capture.take();
    let [superseded, dropped] = &*events else { panic!("{events:#?}") };
    assert_is(superseded, Level::DEBUG, "superseded session token", key);
    assert_eq!((dropped.level, &*dropped.message), (Level::WARN, "session changes dropped"));

    world.clock.advance(Duration::from_secs(60));
    visit(&who(&world.layer), &old).await;
    assert_only(&capture.take(), Level::WARN, "wrong secret for a session key", key);
}

#[tokio::test]
async fn a_malformed_cookie_is_no_warning() {
    let (world, capture) = (world(), Capture::start());
    visit(&who(&world.layer), &cookie("not a token")).await;
    let events = capture.take();
    let event = only(&events);
    assert_eq!((event.level, &*event.message), (Level::DEBUG, "malformed session cookie"));
    assert_eq!(event.fields, [], "what a client sent is not repeated");
}

#[tokio::test]
async fn more_than_one_token_is_told_once() {
    let world = world();
    let cookies: Vec<String> =
        ["A", "B", "C"].map(|c| format!("__Host-session={}", c.repeat(64))).to_vec();
    let capture = Capture::start();
    for count in [2, 3] {
        let cookies = HeaderValue::try_from(cookies[..count].join("; ")).unwrap();
        visit(&who(&world.layer), &cookies).await;
        let events = capture.take();
        let told = |event: &&Event| event.message == "request with more than one session cookie";
        assert_eq!(events.iter().filter(told).count(), 1, "{events:#?}");
        assert!(events.iter().all(|event| event.level >= Level::WARN), "{events:#?}");
    }
}

#[tokio::test]
async fn changes_to_a_session_that_ended_meanwhile_are_told_as_gone() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    let sessions = world.layer.sessions();
    let handler = app(&world.layer, move |session| {
        let sessions = sessions.clone();
        async move {
            session.insert("n", &1).unwrap();
            sessions.revoke_any(session.key().unwrap()).await.unwrap();
            text("")
        }
    });
    let capture = Capture::start();
    visit(&handler, &cookie).await;
    let events = capture.take();
    let [ended, gone] = &*events else { panic!("{events:#?}") };
    assert_is(ended, Level::INFO, "session ended", key);
    let message = "session gone before its changes were stored";
    assert_is(gone, Level::INFO, message, key);
}

#[tokio::test]
async fn activity_that_a_client_did_not_wait_for_is_not_worth_an_event() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.clock.advance(Duration::from_secs(1800));
    let request = InFlight::with(&world, &cookie).await;
    let gate = Gate::new();
    world.faults.next(Operation::Touch, Fault::HoldReply(gate.clone()));
    let capture = Capture::start();
    let response = request.start_answering(text(""));
    gate.arrived().await;
    cancel(response).await;
    assert_eq!(capture.take(), []);
}

#[tokio::test]
async fn changes_dropped_by_a_server_error_are_a_warning_with_the_reason() {
    let world = world();
    let failing = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        status(StatusCode::INTERNAL_SERVER_ERROR)
    });
    let capture = Capture::start();
    send(&failing, get("/")).await;
    let events = capture.take();
    let event = only(&events);
    assert_eq!((event.level, &*event.message), (Level::WARN, "session changes dropped"));
    assert_eq!(event.field("reason"), Some("the response is an error of the server"));
    assert_eq!(event.field("key"), None, "there was no session");
}

#[tokio::test]
async fn changes_that_an_update_brought_along_are_a_warning_if_it_fails_and_nothing_if_not() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let plus_one = |n: Option<u32>| Some(n.unwrap_or(0) + 1);
    let capture = Capture::start();
    request.session.insert("n", &1).unwrap();
    assert_eq!(request.session.update("n", plus_one).await.unwrap(), Some(2));
    assert_eq!(capture.take(), []);

    request.session.insert("n", &1).unwrap();
    world.faults.next(Operation::Update, Fault::Error(StoreErrorKind::Unavailable));
    request.session.update("n", plus_one).await.unwrap_err();
    let events = capture.take();
    let dropped: Vec<_> =
        events.iter().filter(|event| event.message == "session changes dropped").collect();
    assert_eq!(dropped.len(), 1, "{events:?}");
    let reason = "an update that brought them along failed or was cancelled";
    assert_eq!(dropped[0].field("reason"), Some(reason));
}

#[tokio::test]
async fn changes_dropped_with_the_last_handle_are_a_warning() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let (send_out, receive) = std::sync::mpsc::channel();
    let leaking = app(&world.layer, move |session| {
        send_out.send(session).unwrap();
        async { text("") }
    });
    visit(&leaking, &cookie).await;
    let handle = receive.recv().unwrap();
    handle.insert("n", &1).unwrap();
    let capture = Capture::start();
    drop(handle);
    let events = capture.take();
    let event = only(&events);
    assert_eq!((event.level, &*event.message), (Level::WARN, "session changes dropped"));
    assert_eq!(event.field("key"), Some(&*key_of(&world, "alice").await.to_string()));
}

#[tokio::test]
async fn two_configurations_with_one_cookie_name_are_an_error_that_says_what_to_do() {
    use tower::Layer;
    let (outer, inner) = (world(), world());
    let app = outer.layer.optional().layer(who(&inner.layer.optional()));
    let app = tower::util::BoxCloneSyncService::new(app);
    let capture = Capture::start();
    let response = send(&app, get("/")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let events = capture.take();
    assert_eq!(only(&events).level, Level::ERROR);
    assert!(only(&events).message.contains("derive the other mounts"));
    assert_eq!(only(&events).field("cookie"), Some("__Host-session"));
}
