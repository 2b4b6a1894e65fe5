//! A login binds a session to a user, and never lets anybody in whom it should keep out.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    Clock, SessionKey, StoreErrorKind,
    testing::{Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, stored, worlds, worlds_with},
    support::{World, body, cookies_set, text, visit, who, world},
};

/// A browser that sends two cookies of our name.
fn both(first: &HeaderValue, second: &HeaderValue) -> HeaderValue {
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    HeaderValue::try_from(format!("{first}; {second}")).unwrap()
}

async fn key_of(world: &World, cookie: &HeaderValue) -> SessionKey {
    InFlight::with(world, cookie).await.session.key().expect("a session")
}

async fn log_in(world: &World, user: &str) -> HeaderValue {
    let request = InFlight::without_cookie(world).await;
    request.session.log_in(user).unwrap();
    cookie_from(&request.finish().await).expect("a login sets the cookie")
}

async fn is_signed_in(world: &World, cookie: &HeaderValue, user: &str) -> bool {
    let response = visit(&who(&world.layer), cookie).await;
    response.status() == StatusCode::OK && body(response).await == user
}

#[tokio::test]
async fn a_login_never_adopts_a_token_that_the_browser_brought() {
    for world in worlds() {
        let planted = format!("__Host-session={}", "A".repeat(64));
        let planted = HeaderValue::try_from(planted).unwrap();
        let request = InFlight::with(&world, &planted).await;
        request.session.log_in("alice").unwrap();
        let cookie = cookie_from(&request.finish().await).unwrap();
        assert!(is_signed_in(&world, &cookie, "alice").await);
        assert_ne!(cookie, planted);
        let planted_key = SessionKey::from_bytes([0; 16]);
        assert_ne!(key_of(&world, &cookie).await, planted_key);
        assert!(stored(&world, planted_key).await.is_none());
        assert!(!is_signed_in(&world, &planted, "alice").await);
    }
}

#[tokio::test]
async fn a_login_replaces_the_token_keeps_a_visitors_data_and_restarts_the_absolute_lifetime() {
    for world in worlds() {
        let old = world.anonymous().await;
        let key = key_of(&world, &old).await;
        let created = stored(&world, key).await.unwrap().created_at();
        world.clock.advance(Duration::from_secs(1800));
        let request = InFlight::with(&world, &old).await;
        request.session.log_in("alice").unwrap();
        let response = request.finish().await;
        let set = response.headers()["set-cookie"].to_str().unwrap();
        assert!(set.contains("Max-Age=86400"), "{set}");
        let cookie = cookie_from(&response).unwrap();
        assert!(is_signed_in(&world, &cookie, "alice").await);
        assert!(!is_signed_in(&world, &old, "alice").await);
        assert_eq!(key_of(&world, &cookie).await, key);
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.field("visits"), Some("1"));
        assert_eq!((record.created_at(), record.logins()), (created, 1));
        assert_eq!(record.authenticated_at(), Some(world.clock.now()));
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(record.absolute_deadline(), world.clock.now() + day);
    }
}

#[tokio::test]
async fn a_login_of_the_same_user_again_replaces_the_token() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        let request = InFlight::with(&world, &old).await;
        let key = request.session.key();
        world.clock.advance(Duration::from_secs(1800));
        request.session.log_in("alice").unwrap();
        let cookie = cookie_from(&request.finish().await).unwrap();
        assert!(!is_signed_in(&world, &old, "alice").await);
        let request = InFlight::with(&world, &cookie).await;
        assert_eq!(request.session.key(), key);
        assert_eq!(request.session.authenticated_at(), Some(world.clock.now()));
    }
}

#[tokio::test]
async fn a_double_clicked_login_ends_signed_in_whichever_answer_is_kept() {
    for world in worlds() {
        for is_held in [false, true] {
            for before in [world.anonymous().await, world.signed_in("alice").await] {
                let first = InFlight::with(&world, &before).await;
                let second = InFlight::with(&world, &before).await;
                first.session.log_in("alice").unwrap();
                second.session.log_in("alice").unwrap();
                let gate = Gate::new();
                if is_held {
                    world.faults.next(Operation::Rotate, Fault::Hold(gate.clone()));
                    let held = first.start_answering(text(""));
                    gate.arrived().await;
                    let quick = second.finish().await;
                    gate.release();
                    for response in [held.await.unwrap(), quick] {
                        let cookie = cookie_from(&response).expect("a login sets the cookie");
                        assert!(is_signed_in(&world, &cookie, "alice").await);
                    }
                } else {
                    for response in [first.finish().await, second.finish().await] {
                        let cookie = cookie_from(&response).expect("a login sets the cookie");
                        assert!(is_signed_in(&world, &cookie, "alice").await);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_double_clicked_login_without_a_session_ends_signed_in_whichever_answer_is_kept() {
    for world in worlds() {
        let first = InFlight::without_cookie(&world).await;
        let second = InFlight::without_cookie(&world).await;
        first.session.log_in("alice").unwrap();
        second.session.log_in("alice").unwrap();
        for response in [second.finish().await, first.finish().await] {
            let cookie = cookie_from(&response).unwrap();
            assert!(is_signed_in(&world, &cookie, "alice").await);
        }
    }
}

#[tokio::test]
async fn a_login_over_another_users_session_keeps_only_what_is_written_after_it() {
    for world in worlds() {
        let bobs = world.signed_in("bob").await;
        let bobs_key = key_of(&world, &bobs).await;
        let request = InFlight::with(&world, &bobs).await;
        let session = &request.session;
        session.insert("stored", "bob's").unwrap();
        session.save().await.unwrap();
        session.insert("pending", "bob's").unwrap();
        session.set_label("bob's").unwrap();
        session.log_in("alice").unwrap();
        assert_eq!((session.key(), session.user_id()), (None, Some("alice".parse().unwrap())));
        assert_eq!(session.get::<String>("stored").unwrap(), None);
        assert_eq!(session.get::<String>("pending").unwrap(), None);
        session.insert("after", "alice's").unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        let cookie = cookie_from(&response).unwrap();
        let key = key_of(&world, &cookie).await;
        assert_ne!(key, bobs_key);
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.fields().collect::<Vec<_>>(), [("after", r#""alice's""#)]);
        assert_eq!(record.label(), None);
        assert!(stored(&world, bobs_key).await.is_none());
        assert!(!is_signed_in(&world, &bobs, "bob").await);
    }
}

#[tokio::test]
async fn the_new_session_is_there_before_another_users_is_ended() {
    for world in worlds() {
        let bobs = world.signed_in("bob").await;
        let request = InFlight::with(&world, &bobs).await;
        request.session.log_in("alice").unwrap();
        let gate = Gate::new();
        world.faults.next(Operation::Destroy, Fault::Hold(gate.clone()));
        let response = request.start_answering(text(""));
        gate.arrived().await;
        let alice = "alice".parse().unwrap();
        assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 1);
        gate.release();
        assert_eq!(cookies_set(&response.await.unwrap()), 1);
    }
}

#[tokio::test]
async fn a_login_that_can_not_end_the_other_session_says_so_and_keeps_the_new_cookie() {
    for world in worlds() {
        let bobs = world.signed_in("bob").await;
        let request = InFlight::with(&world, &bobs).await;
        request.session.log_in("alice").unwrap();
        world.faults.next(Operation::Destroy, Fault::Error(StoreErrorKind::Unavailable));
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let cookie = cookie_from(&response).expect("what is in the store has its cookie");
        assert!(is_signed_in(&world, &cookie, "alice").await);
    }
}

#[tokio::test]
async fn of_two_logins_in_one_request_the_last_counts() {
    for world in worlds() {
        for (before, kept) in [("alice", true), ("bob", false)] {
            let request = InFlight::without_cookie(&world).await;
            request.session.log_in(before).unwrap();
            request.session.insert("between", &1).unwrap();
            request.session.log_in("alice").unwrap();
            let response = request.finish().await;
            assert_eq!(cookies_set(&response), 1);
            let cookie = cookie_from(&response).unwrap();
            assert!(is_signed_in(&world, &cookie, "alice").await);
            let request = InFlight::with(&world, &cookie).await;
            assert_eq!(request.session.get::<u32>("between").unwrap().is_some(), kept);
        }
        assert_eq!(world.living().await, 2);
    }
}

#[tokio::test]
async fn a_login_as_another_after_a_saved_login_ends_the_first_session() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        request.session.log_in("bob").unwrap();
        request.session.save().await.unwrap();
        let bobs = request.session.key().unwrap();
        request.session.log_in("alice").unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        assert!(is_signed_in(&world, &cookie_from(&response).unwrap(), "alice").await);
        assert!(stored(&world, bobs).await.is_none());
    }
}

#[tokio::test]
async fn a_login_with_two_living_sessions_ends_both_and_makes_a_third() {
    for world in worlds() {
        let (first, second) = (world.signed_in("alice").await, world.signed_in("bob").await);
        let keys = [key_of(&world, &first).await, key_of(&world, &second).await];
        let request = InFlight::with(&world, &both(&first, &second)).await;
        assert_eq!((request.session.key(), request.session.user_id()), (None, None));
        request.session.log_in("alice").unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        let cookie = cookie_from(&response).unwrap();
        assert!(is_signed_in(&world, &cookie, "alice").await);
        for key in keys {
            assert!(stored(&world, key).await.is_none());
        }
        assert_eq!(world.living().await, 1);
    }
}

#[tokio::test]
async fn a_logout_with_two_living_sessions_ends_both_and_removes_the_cookie() {
    for world in worlds() {
        let (first, second) = (world.signed_in("alice").await, world.signed_in("bob").await);
        let request = InFlight::with(&world, &both(&first, &second)).await;
        request.session.log_out().await.unwrap();
        let response = request.finish().await;
        assert_eq!((cookies_set(&response), cookie_from(&response)), (1, None));
        assert_eq!(world.living().await, 0);
    }
}

#[tokio::test]
async fn a_login_on_a_session_that_was_revoked_from_this_very_user_is_refused() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        request.session.log_in("alice").unwrap();
        let alice = "alice".parse().unwrap();
        world.layer.sessions().revoke_user(&alice).await.unwrap();
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(cookies_set(&response), 0);
        assert_eq!(body(response).await, "", "what the handler said is gone");
        assert_eq!(world.living().await, 0);
    }
}

#[tokio::test]
async fn a_login_on_a_visitors_session_that_was_revoked_makes_a_fresh_one_with_the_requests_data() {
    for world in worlds() {
        let old = world.anonymous().await;
        let request = InFlight::with(&world, &old).await;
        let key = request.session.key().unwrap();
        request.session.insert("draft", "text").unwrap();
        request.session.log_in("alice").unwrap();
        assert!(world.layer.sessions().revoke_any(key).await.unwrap());
        let cookie = cookie_from(&request.finish().await).expect("the credentials are checked");
        assert!(is_signed_in(&world, &cookie, "alice").await);
        let fresh = InFlight::with(&world, &cookie).await;
        assert_ne!(fresh.session.key(), Some(key));
        assert_eq!(fresh.session.get::<String>("draft").unwrap().as_deref(), Some("text"));
        assert_eq!(fresh.session.get::<u32>("visits").unwrap(), Some(1));
        assert!(stored(&world, key).await.is_none());
    }
}

#[tokio::test]
async fn a_login_beyond_the_cap_ends_the_users_oldest_session() {
    for world in worlds_with(|builder| builder.sessions_per_user(2)) {
        let mut cookies = Vec::new();
        for _ in 0..3 {
            cookies.push(log_in(&world, "alice").await);
            world.clock.advance(Duration::from_secs(1));
        }
        let bobs = log_in(&world, "bob").await;
        assert!(!is_signed_in(&world, &cookies[0], "alice").await);
        assert!(is_signed_in(&world, &cookies[1], "alice").await);
        assert!(is_signed_in(&world, &cookies[2], "alice").await);

        // Also where the login is a rotation of a visitor's session.
        let visitor = world.anonymous().await;
        let request = InFlight::with(&world, &visitor).await;
        request.session.log_in("alice").unwrap();
        let newest = cookie_from(&request.finish().await).unwrap();
        assert!(!is_signed_in(&world, &cookies[1], "alice").await);
        assert!(is_signed_in(&world, &cookies[2], "alice").await);
        assert!(is_signed_in(&world, &newest, "alice").await);
        assert!(is_signed_in(&world, &bobs, "bob").await);
        let alice = "alice".parse().unwrap();
        assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn after_a_logout_the_handle_is_empty_and_a_later_write_makes_a_new_session() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        let request = InFlight::with(&world, &old).await;
        let key = request.session.key();
        request.session.insert("draft", "alice's").unwrap();
        request.session.log_out().await.unwrap();
        let session = &request.session;
        assert_eq!((session.key(), session.user_id()), (None, None));
        assert_eq!(session.get::<String>("draft").unwrap(), None);
        session.insert("flash", "bye").unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        let fresh = InFlight::with(&world, &cookie_from(&response).unwrap()).await;
        assert_ne!(fresh.session.key(), key);
        assert_eq!(fresh.session.user_id(), None);
        assert_eq!(fresh.session.get::<String>("flash").unwrap().as_deref(), Some("bye"));
        assert_eq!(fresh.session.get::<String>("draft").unwrap(), None);
    }
}

#[tokio::test]
async fn a_bad_user_id_is_an_error_and_changes_nothing() {
    let world = world();
    let request = InFlight::without_cookie(&world).await;
    for bad in [String::new(), "x".repeat(256)] {
        let error = request.session.log_in(bad).unwrap_err();
        assert_eq!(error.kind(), tower_wristband::SessionErrorKind::UserId);
    }
    assert_eq!(request.session.user_id(), None);
    assert_eq!(cookies_set(&request.finish().await), 0);
    assert_eq!(world.living().await, 0);
}

#[tokio::test]
async fn a_login_is_recent_for_as_long_as_was_asked_and_not_longer() {
    const MINUTE: Duration = Duration::from_secs(60);
    for world in worlds() {
        let cookie = log_in(&world, "alice").await;
        let recent = async |cookie| {
            let session = InFlight::with(&world, cookie).await.session;
            session.authenticated_within(10 * MINUTE)
        };
        assert!(recent(&cookie).await);
        world.clock.advance(10 * MINUTE - Duration::from_millis(1));
        assert!(recent(&cookie).await);
        world.clock.advance(Duration::from_millis(1));
        assert!(!recent(&cookie).await);
        world.clock.advance(MINUTE);
        assert!(!recent(&cookie).await);
        assert!(!recent(&world.anonymous().await).await, "nobody has logged in");
    }
}
