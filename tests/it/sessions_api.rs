//! What a handle tells of its session, and the pages that list and end sessions.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    Clock, Page, SessionErrorKind, SessionKey, StoreErrorKind, UserId,
    testing::{self, Fault, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, stored, worlds},
    support::{World, body, cookies_set, visit, who, world},
};

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

async fn key_of(world: &World, cookie: &HeaderValue) -> SessionKey {
    InFlight::with(world, cookie).await.session.key().expect("a session")
}

async fn is_signed_in(world: &World, cookie: &HeaderValue) -> bool {
    visit(&who(&world.layer), cookie).await.status() == StatusCode::OK
}

#[tokio::test]
async fn a_users_living_sessions_are_listed_in_pages_in_the_order_of_their_keys() {
    for world in worlds() {
        world.signed_in("alice").await;
        world.clock.advance(Duration::from_secs(3600));
        let mut keys = Vec::new();
        for _ in 0..5 {
            let cookie = world.signed_in("alice").await;
            keys.push(key_of(&world, &cookie).await);
        }
        keys.sort_unstable();
        world.signed_in("bob").await;
        world.anonymous().await;

        let sessions = world.layer.sessions();
        let alice = user("alice");
        assert_eq!(sessions.count(&alice).await.unwrap(), 5, "the first one has expired");
        assert_eq!(world.faults.calls(Operation::List), 1, "one page has them all");
        let mut listed = Vec::new();
        let mut page = Page::first(2);
        let mut sizes = Vec::new();
        loop {
            let summaries = sessions.list(&alice, page).await.unwrap();
            sizes.push(summaries.len());
            let Some(last) = summaries.last() else { break };
            page = Page::after(last.key(), 2);
            listed.extend(summaries.iter().map(|summary| summary.key()));
        }
        assert_eq!(listed, keys);
        assert_eq!(sizes, [2, 2, 1, 0]);
        assert_eq!(sessions.list(&alice, Page::first(0)).await.unwrap().len(), 0);
        assert_eq!(sessions.count(&user("nobody")).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn more_sessions_than_a_page_holds_are_counted() {
    let world = world();
    for _ in 0..1001 {
        world.signed_in("alice").await;
    }
    assert_eq!(world.layer.sessions().count(&user("alice")).await.unwrap(), 1001);
    assert_eq!(world.layer.sessions().revoke_user(&user("alice")).await.unwrap(), 1001);
    assert_eq!(world.living().await, 0);
}

#[tokio::test]
async fn a_line_of_the_page_of_devices_has_label_and_times() {
    for world in worlds() {
        let start = world.clock.now();
        let visitor = world.anonymous().await;
        world.clock.advance(Duration::from_secs(100));
        let request = InFlight::with(&world, &visitor).await;
        request.session.log_in("alice").unwrap();
        request.session.set_label("Firefox on Linux").unwrap();
        let cookie = cookie_from(&request.finish().await).unwrap();
        let login = world.clock.now();
        world.clock.advance(Duration::from_secs(600));
        assert!(is_signed_in(&world, &cookie).await);

        let page = world.layer.sessions().list(&user("alice"), Page::first(10)).await.unwrap();
        let [line] = page.as_slice() else { panic!("one session was expected") };
        assert_eq!(line.key(), key_of(&world, &cookie).await);
        assert_eq!(line.label(), Some("Firefox on Linux"));
        assert_eq!((line.created_at(), line.authenticated_at()), (start, login));
        assert_eq!(line.last_seen_at(), world.clock.now());
        assert_eq!(line.expires_at(), world.clock.now() + Duration::from_secs(3600));
    }
}

#[tokio::test]
async fn a_user_can_end_an_own_session_and_nobody_elses() {
    for world in worlds() {
        let (alices, bobs) = (world.signed_in("alice").await, world.signed_in("bob").await);
        let visitors = world.anonymous().await;
        let sessions = world.layer.sessions();
        let keys = [key_of(&world, &bobs).await, key_of(&world, &visitors).await];
        for key in keys {
            assert!(!sessions.revoke(&user("alice"), key).await.unwrap());
            assert!(stored(&world, key).await.is_some());
        }
        let key = key_of(&world, &alices).await;
        assert!(sessions.revoke(&user("alice"), key).await.unwrap());
        assert!(!is_signed_in(&world, &alices).await);
        assert!(!sessions.revoke(&user("alice"), key).await.unwrap(), "it was ended before");
        assert!(is_signed_in(&world, &bobs).await);
    }
}

#[tokio::test]
async fn an_administrator_can_end_any_session() {
    for world in worlds() {
        let cookies = [world.signed_in("bob").await, world.anonymous().await];
        for cookie in cookies {
            let key = key_of(&world, &cookie).await;
            assert!(world.layer.sessions().revoke_any(key).await.unwrap());
            assert!(stored(&world, key).await.is_none());
            assert!(!world.layer.sessions().revoke_any(key).await.unwrap());
        }
    }
}

#[tokio::test]
async fn all_sessions_of_a_user_can_be_ended_at_once() {
    for world in worlds() {
        let mut alices = Vec::new();
        for _ in 0..3 {
            alices.push(world.signed_in("alice").await);
        }
        let bobs = world.signed_in("bob").await;
        assert_eq!(world.layer.sessions().revoke_user(&user("alice")).await.unwrap(), 3);
        assert_eq!(world.layer.sessions().revoke_user(&user("alice")).await.unwrap(), 0);
        for cookie in alices {
            assert!(!is_signed_in(&world, &cookie).await);
        }
        assert!(is_signed_in(&world, &bobs).await);
    }
}

#[tokio::test]
async fn all_other_sessions_can_be_ended_and_this_one_stays() {
    for world in worlds() {
        let here = world.signed_in("alice").await;
        let elsewhere = [world.signed_in("alice").await, world.signed_in("alice").await];
        let bobs = world.signed_in("bob").await;
        let request = InFlight::with(&world, &here).await;
        let ended = world.layer.sessions().revoke_others(&request.session).await.unwrap();
        assert_eq!(ended, 2);
        assert_eq!(cookies_set(&request.finish().await), 0);
        for cookie in elsewhere {
            assert!(!is_signed_in(&world, &cookie).await);
        }
        assert!(is_signed_in(&world, &here).await && is_signed_in(&world, &bobs).await);
    }
}

#[tokio::test]
async fn ending_the_others_first_stores_what_is_pending_a_rotation_and_a_login_included() {
    for world in worlds() {
        let here = world.signed_in("alice").await;
        let request = InFlight::with(&world, &here).await;
        let key = request.session.key().unwrap();
        request.session.rotate().unwrap();
        request.session.insert("draft", "text").unwrap();
        assert_eq!(world.layer.sessions().revoke_others(&request.session).await.unwrap(), 0);
        assert!(!is_signed_in(&world, &here).await, "the old token is dead by now");
        assert!(stored(&world, key).await.unwrap().field("draft").is_some());
        let newer = cookie_from(&request.finish().await).expect("a new token");
        assert!(is_signed_in(&world, &newer).await);

        let request = InFlight::without_cookie(&world).await;
        request.session.log_in("alice").unwrap();
        assert_eq!(world.layer.sessions().revoke_others(&request.session).await.unwrap(), 1);
        assert!(!is_signed_in(&world, &newer).await);
        assert!(is_signed_in(&world, &cookie_from(&request.finish().await).unwrap()).await);
    }
}

#[tokio::test]
async fn ending_the_others_of_nobody_ends_nothing() {
    for world in worlds() {
        let alices = world.signed_in("alice").await;
        let visitors = world.anonymous().await;
        for request in
            [InFlight::with(&world, &visitors).await, InFlight::without_cookie(&world).await]
        {
            assert_eq!(world.layer.sessions().revoke_others(&request.session).await.unwrap(), 0);
        }
        assert!(is_signed_in(&world, &alices).await);
    }
}

#[tokio::test]
async fn ending_the_others_ends_nothing_if_the_rotation_can_not_be_stored() {
    for world in worlds() {
        let (here, elsewhere) = (world.signed_in("alice").await, world.signed_in("alice").await);
        let request = InFlight::with(&world, &here).await;
        request.session.rotate().unwrap();
        world.faults.next(Operation::Rotate, Fault::Error(StoreErrorKind::Unavailable));
        let error = world.layer.sessions().revoke_others(&request.session).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
        assert_eq!(world.faults.calls(Operation::DestroyUser), 0);
        assert!(is_signed_in(&world, &elsewhere).await);
    }
}

#[tokio::test]
async fn after_a_rotation_that_failed_ending_the_others_ends_this_session_as_well() {
    for fault in
        [Fault::Error(StoreErrorKind::Unavailable), Fault::LostReply(StoreErrorKind::Timeout)]
    {
        for world in worlds() {
            let here = world.signed_in("alice").await;
            let request = InFlight::with(&world, &here).await;
            request.session.rotate().unwrap();
            world.faults.next(Operation::Rotate, fault.clone());
            request.session.save().await.unwrap_err();
            // Whoever has a copy of the token that was to become worthless must not stay in.
            assert_eq!(world.layer.sessions().revoke_others(&request.session).await.unwrap(), 1);
            request.finish().await;
            assert!(!is_signed_in(&world, &here).await);
            assert_eq!(world.living().await, 0);
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_of_every_call() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, &cookie).await;
    let sessions = world.layer.sessions();
    let alice = user("alice");
    for operation in [Operation::List, Operation::Destroy, Operation::DestroyUser] {
        world.faults.always(operation, Fault::Error(StoreErrorKind::Unavailable));
    }
    let unavailable = SessionErrorKind::Store(StoreErrorKind::Unavailable);
    let errors = [
        sessions.list(&alice, Page::first(1)).await.err(),
        sessions.count(&alice).await.err(),
        sessions.revoke(&alice, key).await.err(),
        sessions.revoke_any(key).await.err(),
        sessions.revoke_user(&alice).await.err(),
    ];
    for error in errors {
        assert_eq!(error.map(|error| error.kind()), Some(unavailable));
    }
    assert!(is_signed_in(&world, &cookie).await);
}

#[tokio::test]
async fn the_key_is_that_of_what_is_stored_now() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let session = &request.session;
        session.log_in("alice").unwrap();
        session.insert("draft", "text").unwrap();
        assert_eq!((session.key(), session.created_at()), (None, None));
        session.save().await.unwrap();
        let key = session.key().expect("it is stored");
        session.rotate().unwrap();
        session.save().await.unwrap();
        assert_eq!(session.key(), Some(key));
        let cookie = cookie_from(&request.finish().await).unwrap();

        let request = InFlight::with(&world, &cookie).await;
        assert_eq!(request.session.key(), Some(key));
        request.session.log_out().await.unwrap();
        assert_eq!((request.session.key(), request.session.expires_at()), (None, None));
        assert_eq!(
            (request.session.last_seen_at(), request.session.authenticated_at()),
            (None, None)
        );
    }
}

#[tokio::test]
async fn the_time_of_authentication_moves_only_at_a_login() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let session = &request.session;
        let created = world.clock.now();
        assert_eq!(session.authenticated_at(), None);
        session.log_in("alice").unwrap();
        assert_eq!(session.authenticated_at(), None, "it is not stored");
        session.save().await.unwrap();
        let login = world.clock.now();
        assert_eq!(session.authenticated_at(), Some(login));
        world.clock.advance(Duration::from_secs(600));
        session.insert("draft", "text").unwrap();
        session.rotate().unwrap();
        session.set_lifetime(tower_wristband::Lifetime::AAL1).unwrap();
        session.save().await.unwrap();
        session.update("n", |_: Option<u8>| Some(1)).await.unwrap();
        session.touch().await.unwrap();
        session.reload().await.unwrap();
        assert_eq!(session.authenticated_at(), Some(login));
        assert_eq!(session.last_seen_at(), Some(world.clock.now()));
        assert_eq!(session.created_at(), Some(created));

        session.log_in("alice").unwrap();
        session.save().await.unwrap();
        assert_eq!(session.authenticated_at(), Some(world.clock.now()));
    }
}

#[tokio::test]
async fn a_request_that_writes_nothing_makes_no_session() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let session = &request.session;
        assert_eq!(session.get::<u32>("count").unwrap(), None);
        assert_eq!(session.take::<u32>("flash").unwrap(), None);
        session.remove("count").unwrap();
        session.clear().unwrap();
        session.set_label("Firefox").unwrap();
        session.set_lifetime(tower_wristband::Lifetime::AAL1).unwrap();
        session.rotate().unwrap();
        session.insert("draft", "text").unwrap();
        session.remove("draft").unwrap();
        session.save().await.unwrap();
        session.log_out().await.unwrap();
        assert_eq!(session.key(), None);
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert_eq!(world.store_calls(), 0);
    }
}

#[tokio::test]
async fn a_request_that_only_reads_its_session_calls_the_store_once() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let before = world.store_calls();
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
        assert_eq!(world.store_calls() - before, 1);
    }
}

#[tokio::test]
async fn a_value_that_is_taken_is_there_once() {
    for world in worlds() {
        let cookie =
            testing::issue_with(&world.layer, "alice", |session| session.insert("flash", "saved"))
                .await;
        let request = InFlight::with(&world, &cookie).await;
        assert_eq!(request.session.take::<String>("flash").unwrap().as_deref(), Some("saved"));
        assert_eq!(request.session.take::<String>("flash").unwrap(), None);
        request.finish().await;
        let request = InFlight::with(&world, &cookie).await;
        assert_eq!(request.session.take::<String>("flash").unwrap(), None);
    }
}

#[tokio::test]
async fn of_a_label_the_first_255_bytes_are_kept() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let x = |bytes| "x".repeat(bytes);
        // No character is cut in two.
        let half = format!("{}\u{e4}", x(254));
        for (label, kept) in [(x(255), x(255)), (x(256), x(255)), (half, x(254))] {
            let request = InFlight::with(&world, &cookie).await;
            request.session.set_label(&label).unwrap();
            request.finish().await;
            let page = world.layer.sessions().list(&user("alice"), Page::first(1)).await.unwrap();
            assert_eq!(page[0].label(), Some(&*kept));
        }
    }
}
