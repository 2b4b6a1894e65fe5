//! A random generator that fails or repeats itself, and a store without room.

use std::{
    collections::HashSet,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tower_wristband::{
    MemoryStore, SessionErrorKind, SessionKey, StoreErrorKind,
    testing::{Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, stored},
    support::{World, body, cookies_set, text, visit, who, world_on, world_with},
};

/// A world whose random generator can be broken.
fn fragile_world() -> (World, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let counter = AtomicU8::new(0);
    let world = world_with(|builder| {
        builder.random_source(move |bytes| {
            if broken.load(Ordering::SeqCst) {
                return Err("no entropy".into());
            }
            bytes.fill(counter.fetch_add(1, Ordering::SeqCst));
            Ok(())
        })
    });
    (world, is_broken)
}

#[tokio::test]
async fn without_random_bytes_no_session_is_made_or_rotated() {
    let (world, is_broken) = fragile_world();
    let cookie = world.signed_in("alice").await;
    for wish in ["create", "log in", "rotate", "log in again", "log in as another"] {
        let is_new = matches!(wish, "create" | "log in");
        let request = match is_new {
            true => InFlight::without_cookie(&world).await,
            false => InFlight::with(&world, &cookie).await,
        };
        match wish {
            "create" => request.session.insert("draft", "text"),
            "rotate" => request.session.rotate(),
            "log in as another" => request.session.log_in("bob"),
            _ => request.session.log_in("alice"),
        }
        .unwrap();
        is_broken.store(true, Ordering::SeqCst);
        let before = world.store_calls();
        let response = request.answer_with(text("welcome")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{wish}");
        assert_eq!(cookies_set(&response), 0, "{wish}");
        assert_eq!(world.store_calls(), before, "{wish}");
        assert!(!body(response).await.contains("welcome"), "{wish}");
        is_broken.store(false, Ordering::SeqCst);
    }
    assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
    assert_eq!(world.living().await, 1);
}

#[tokio::test]
async fn without_random_bytes_awaited_calls_are_errors_and_reach_no_store() {
    let (world, is_broken) = fragile_world();
    let cookie = world.signed_in("alice").await;
    for request in [InFlight::without_cookie(&world).await, InFlight::with(&world, &cookie).await] {
        is_broken.store(true, Ordering::SeqCst);
        let before = world.store_calls();
        let error = request.session.update("n", |_: Option<u8>| Some(1)).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Random);
        request.session.insert("draft", "text").unwrap();
        let error = request.session.save().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Random);
        assert!(error.is_outage());
        let random = error.source().expect("it says what failed");
        assert_eq!(random.to_string(), "the random generator failed");
        assert_eq!(random.source().expect("and why").to_string(), "no entropy");
        assert_eq!(world.store_calls(), before);
        is_broken.store(false, Ordering::SeqCst);
        // What failed is not repeated.
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert_eq!(world.store_calls(), before);
    }
    // Reading needs none.
    is_broken.store(true, Ordering::SeqCst);
    assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
}

/// A world whose generator hands out the first token this many times, and then others.
fn repetitive_world(times: u8) -> World {
    let tokens = Mutex::new(0_u8);
    world_with(|builder| {
        builder.random_source(move |bytes| {
            // A version is shorter than a token.
            if bytes.len() > 8 {
                let mut tokens = tokens.lock().unwrap();
                *tokens += 1;
                bytes.fill(tokens.saturating_sub(times - 1).max(1));
            }
            Ok(())
        })
    })
}

#[tokio::test]
async fn a_generator_that_repeats_a_key_leads_to_another_key_and_harms_nobody() {
    let world = repetitive_world(3);
    let alices = world.signed_in("alice").await;
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("bob").unwrap();
    let response = request.finish().await;
    assert_eq!(response.status(), StatusCode::OK);
    let bobs = cookie_from(&response).unwrap();
    assert_ne!(alices, bobs);
    assert_eq!(world.faults.calls(Operation::Create), 4, "one, and two taken keys before another");
    assert_eq!(body(visit(&who(&world.layer), &alices).await).await, "alice");
    assert_eq!(body(visit(&who(&world.layer), &bobs).await).await, "bob");
    let first = stored(&world, SessionKey::from_bytes([1; 16])).await.unwrap();
    assert_eq!(first.user(), Some(&"alice".parse().unwrap()));
}

#[tokio::test]
async fn a_generator_that_does_nothing_else_than_repeat_is_503() {
    let world = repetitive_world(100);
    let alices = world.signed_in("alice").await;
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("bob").unwrap();
    let response = request.finish().await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cookies_set(&response), 0);
    assert_eq!(body(visit(&who(&world.layer), &alices).await).await, "alice");
    assert_eq!(world.living().await, 1);
}

#[tokio::test]
async fn a_thousand_sessions_have_a_thousand_keys() {
    let world = world_with(|builder| builder);
    let mut keys = HashSet::new();
    for _ in 0..1000 {
        let request = InFlight::without_cookie(&world).await;
        request.session.insert("draft", "text").unwrap();
        request.session.save().await.unwrap();
        keys.insert(request.session.key().unwrap());
        request.finish().await;
    }
    assert_eq!(keys.len(), 1000);
}

/// A world with room for two sessions.
fn small_world() -> World {
    world_on(MemoryStore::with_max_sessions(2), |builder| builder)
}

#[tokio::test]
async fn a_full_store_drops_what_visitors_write_and_leaves_the_response_as_it_is() {
    let world = small_world();
    let (first, second) = (world.anonymous().await, world.anonymous().await);
    let request = InFlight::without_cookie(&world).await;
    request.session.insert("draft", "text").unwrap();
    let response = request.answer_with(text("thank you")).await;
    assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
    assert_eq!(body(response).await, "thank you");
    assert_eq!(world.living().await, 2);
    for cookie in [first, second] {
        assert!(InFlight::with(&world, &cookie).await.session.key().is_some());
    }
}

#[tokio::test]
async fn a_full_store_answers_full_to_whoever_waits_for_it() {
    let world = small_world();
    world.anonymous().await;
    world.anonymous().await;
    let full = SessionErrorKind::Store(StoreErrorKind::Full);
    let request = InFlight::without_cookie(&world).await;
    let error = request.session.update("n", |_: Option<u8>| Some(1)).await.unwrap_err();
    assert_eq!(error.kind(), full);
    request.session.insert("draft", "text").unwrap();
    assert_eq!(request.session.save().await.unwrap_err().kind(), full);
    assert_eq!(request.session.key(), None);
    let response = request.finish().await;
    assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_login_on_a_full_store_ends_the_oldest_visitors_session() {
    let world = small_world();
    let oldest = world.anonymous().await;
    world.clock.advance(Duration::from_secs(1));
    let newer = world.anonymous().await;
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("alice").unwrap();
    let alices = cookie_from(&request.finish().await).expect("there is room for users");
    assert_eq!(body(visit(&who(&world.layer), &alices).await).await, "alice");
    assert_eq!(InFlight::with(&world, &oldest).await.session.key(), None);
    assert!(InFlight::with(&world, &newer).await.session.key().is_some());
    assert_eq!(world.living().await, 2);
}

#[tokio::test]
async fn a_login_on_a_store_full_of_users_is_503_and_ends_nobody() {
    let world = small_world();
    let (alices, bobs) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("carol").unwrap();
    let response = request.finish().await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cookies_set(&response), 0);
    for (cookie, user) in [(alices, "alice"), (bobs, "bob")] {
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, user);
    }
}

#[tokio::test]
async fn a_login_or_rotation_in_place_needs_no_room() {
    let world = small_world();
    let alices = world.signed_in("alice").await;
    let visitors = world.anonymous().await;
    let request = InFlight::with(&world, &visitors).await;
    request.session.log_in("bob").unwrap();
    let bobs = cookie_from(&request.finish().await).expect("it has its room");
    let alices = world.rotate(&alices).await;
    for (cookie, user) in [(alices, "alice"), (bobs, "bob")] {
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, user);
    }
    assert_eq!(world.living().await, 2);
}
