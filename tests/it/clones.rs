//! A handle can be cloned, kept, and used in any order, while its request goes on or is over.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::StatusCode;
use tower_wristband::{
    Lifetime, Page, Session, SessionErrorKind, UserId,
    testing::{self, Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, save_held_at_reply, stored, worlds},
    support::{
        app, body, cookies_set, get, header, near_world, send, status, text, visit, who, world,
    },
};

fn plus_one(n: Option<u32>) -> Option<u32> {
    Some(n.unwrap_or(0) + 1)
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// What was stored meanwhile by another request is not overwritten by an update from what was known.
async fn updates_after(store_something: impl AsyncFn(InFlight) -> Session) {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let slow = InFlight::with(&world, &cookie).await;
        let other = InFlight::with(&world, &cookie).await;
        assert_eq!(other.session.update("n", plus_one).await.unwrap(), Some(1));
        let session = store_something(slow).await;
        assert_eq!(session.update("n", plus_one).await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn an_update_after_a_save_loses_no_update_of_another_request() {
    updates_after(async |request: InFlight| {
        request.session.insert("draft", "text").unwrap();
        request.session.save().await.unwrap();
        request.session.clone()
    })
    .await;
}

#[tokio::test]
async fn an_update_after_a_rotation_loses_no_update_of_another_request() {
    updates_after(async |request: InFlight| {
        request.session.rotate().unwrap();
        request.session.save().await.unwrap();
        request.session.clone()
    })
    .await;
}

#[tokio::test]
async fn an_update_in_a_stream_loses_no_update_of_another_request() {
    updates_after(async |request: InFlight| {
        request.session.insert("draft", "text").unwrap();
        let session = request.session.clone();
        request.finish().await;
        session
    })
    .await;
}

#[test]
fn the_closure_of_an_update_may_look_at_the_session() {
    let (tell, told) = mpsc::channel();
    // On a thread of its own: a deadlock would block it for ever.
    std::thread::spawn(move || {
        for session in [testing::signed_in("alice"), testing::visitor()] {
            let clone = session.clone();
            let update = session.update("n", |n| {
                assert!(clone.key().is_none() || clone.user_id().is_some());
                clone.get::<u32>("n").unwrap();
                plus_one(n)
            });
            let updated = pin!(update).poll(&mut Context::from_waker(Waker::noop()));
            tell.send(matches!(updated, Poll::Ready(Ok(Some(1))))).unwrap();
        }
    });
    for _ in 0..2 {
        assert!(told.recv_timeout(Duration::from_secs(30)).expect("a deadlock"));
    }
}

#[test]
fn an_update_under_contention_on_a_store_in_memory_needs_no_runtime() {
    fn finish<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(output) = polled {
                return output;
            }
        }
    }
    let world = near_world();
    let cookie = finish(world.signed_in("alice"));
    let handles = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&handles);
    let keeper = app(&world.layer, move |session| {
        kept.lock().unwrap().push(session);
        std::future::ready(text(""))
    });
    finish(visit(&keeper, &cookie));
    finish(visit(&keeper, &cookie));
    let handles = handles.lock().unwrap().clone();
    assert_eq!(finish(handles[0].update("n", plus_one)).unwrap(), Some(1));
    assert_eq!(finish(handles[1].update("n", plus_one)).unwrap(), Some(2));
}

#[tokio::test]
async fn the_handle_of_a_request_that_is_over_lets_no_other_request_in() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let socket = InFlight::with(&world, &cookie).await;
        let session = socket.session.clone();
        socket.finish().await;
        // A bridge sends a request into the application with the extensions of the one it came from.
        let mut request = get("/");
        request.extensions_mut().insert(session);
        let response = send(&who(&world.layer), request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

/// The end of a request, while a save of a clone waits for the store's reply.
async fn ends_during_a_save(operation: Operation) {
    let world = world();
    let request = match operation {
        Operation::Rotate => InFlight::with(&world, &world.signed_in("alice").await).await,
        _ => InFlight::without_cookie(&world).await,
    };
    request.session.log_in("alice").unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, operation).await;
    let answering = request.start_answering(text("done"));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!answering.is_finished(), "the head waits for the token that is under way");
    gate.release();
    let response = answering.await.unwrap();
    save.await.unwrap().unwrap();
    let cookie = cookie_from(&response).expect("the token goes out");
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
    let sessions = world.layer.sessions().list(&user("alice"), Page::first(9)).await.unwrap();
    assert_eq!(sessions.len(), 1, "one login makes one session");
}

#[tokio::test]
async fn the_end_of_a_request_waits_for_a_clone_that_creates() {
    ends_during_a_save(Operation::Create).await;
}

#[tokio::test]
async fn the_end_of_a_request_waits_for_a_clone_that_rotates() {
    ends_during_a_save(Operation::Rotate).await;
}

#[tokio::test]
async fn the_end_of_a_request_waits_for_a_clone_whose_update_creates() {
    let world = world();
    let request = InFlight::without_cookie(&world).await;
    let gate = Gate::new();
    world.faults.next(Operation::Create, Fault::HoldReply(gate.clone()));
    let clone = request.session.clone();
    let update = tokio::spawn(async move { clone.update("n", plus_one).await });
    gate.arrived().await;
    let response = request.start_answering(text(""));
    tokio::task::yield_now().await;
    gate.release();
    update.await.unwrap().unwrap();
    assert_eq!(cookies_set(&response.await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_never_gets_its_answer_fails_the_request_in_time() {
    let world = near_world();
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("alice").unwrap();
    let gate = Gate::new();
    world.faults.next(Operation::Create, Fault::Hold(gate.clone()));
    // Polled once and then forgotten: nobody drives it any more.
    let clone = request.session.clone();
    let mut forgotten = Box::pin(async move { clone.save().await });
    assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let response = request.finish().await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cookies_set(&response), 0);
}

#[tokio::test]
async fn a_login_during_another_users_save_gets_nothing_of_theirs() {
    let world = world();
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("alice").unwrap();
    request.session.insert("secret", "of alice").unwrap();
    let (gate, save) = save_held_at_reply(&world, &request.session, Operation::Create).await;
    request.session.log_in("bob").unwrap();
    gate.release();
    save.await.unwrap().unwrap();
    let cookie = cookie_from(&request.finish().await).unwrap();
    let secret = app(&world.layer, |session| async move {
        let secret: Option<String> = session.get("secret").unwrap();
        text(format!("{} {secret:?}", session.user_id().unwrap()))
    });
    assert_eq!(body(visit(&secret, &cookie).await).await, "bob None");
    assert_eq!(world.layer.sessions().count(&user("alice")).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_wished_for_a_session_outlasts_a_save_that_made_none() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let session = &request.session;
        session.set_label("Firefox").unwrap();
        session.set_lifetime(Lifetime::AAL3).unwrap();
        session.save().await.unwrap();
        session.update("failures", |_: Option<u32>| None).await.unwrap();
        session.log_in("alice").unwrap();
        session.save().await.unwrap();
        let record = stored(&world, session.key().unwrap()).await.unwrap();
        assert_eq!((record.label(), record.lifetime()), (Some("Firefox"), Lifetime::AAL3));
    }
}

#[tokio::test]
async fn a_rotation_that_lost_is_superseded_and_not_gone() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        world.rotate(&cookie).await;
        request.session.rotate().unwrap();
        let error = request.session.save().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Superseded);
        assert!(stored(&world, request.session.key().unwrap()).await.is_some());
    }
}

#[tokio::test]
async fn a_token_that_is_in_the_store_goes_out_with_its_own_term() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        request.session.rotate().unwrap();
        request.session.save().await.unwrap();
        request.session.log_in("bob").unwrap();
        let response = request.answer_with(status(StatusCode::INTERNAL_SERVER_ERROR)).await;
        let cookie = header(&response, "set-cookie").unwrap();
        assert!(cookie.contains("; Max-Age=86400"), "{cookie}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_stored_ends_the_session_it_left_behind_also_after_a_cancelled_save() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.log_in("bob").unwrap();
    world.faults.next(Operation::Destroy, Fault::Hang);
    let cancelled = tokio::time::timeout(Duration::from_millis(50), request.session.save()).await;
    assert!(cancelled.is_err());
    assert_eq!(cookies_set(&request.finish().await), 1);
    assert_eq!(world.layer.sessions().count(&user("alice")).await.unwrap(), 0);
    assert_eq!(world.layer.sessions().count(&user("bob")).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_read_late_of_a_session_that_the_handle_has_left_does_not_get_into_the_new_one() {
    let world = world();
    let request = InFlight::with(&world, &world.signed_in("alice").await).await;
    let gate = Gate::new();
    world.faults.next(Operation::Load, Fault::HoldReply(gate.clone()));
    let clone = request.session.clone();
    let reload = tokio::spawn(async move { clone.reload().await });
    gate.arrived().await;
    request.session.log_in("bob").unwrap();
    request.session.save().await.unwrap();
    gate.release();
    assert_eq!(reload.await.unwrap().unwrap_err().kind(), SessionErrorKind::Gone);
    assert_eq!(request.session.user_id(), Some(user("bob")));
}

#[tokio::test]
async fn the_session_that_a_login_leaves_behind_is_ended_once() {
    for world in worlds() {
        let request = InFlight::with(&world, &world.signed_in("alice").await).await;
        request.session.log_in("bob").unwrap();
        request.session.save().await.unwrap();
        assert_eq!(world.faults.calls(Operation::Destroy), 1);
        request.finish().await;
        assert_eq!(world.faults.calls(Operation::Destroy), 1);
    }
}

#[tokio::test]
async fn a_login_that_is_dropped_leaves_the_other_users_session_alone() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        request.session.log_in("bob").unwrap();
        request.answer_with(status(StatusCode::INTERNAL_SERVER_ERROR)).await;
        assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn when_the_client_has_gone_a_clone_can_wish_for_no_cookie() {
    let world = world();
    let request = InFlight::without_cookie(&world).await;
    let session = request.session.clone();
    request.cancel().await;
    let error = session.log_in("alice").unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::HeadSent);
}

#[tokio::test]
async fn after_a_login_of_the_same_user_older_handles_can_do_nothing_any_more() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let thief = InFlight::with(&world, &cookie).await;
        let socket = thief.session.clone();
        thief.finish().await;
        let owner = InFlight::with(&world, &cookie).await;
        // A change of password: the credentials have just been checked.
        owner.session.log_in("alice").unwrap();
        world.layer.sessions().revoke_others(&owner.session).await.unwrap();
        owner.finish().await;
        let gone = SessionErrorKind::Gone;
        assert_eq!(socket.reload().await.unwrap_err().kind(), gone);
        assert_eq!(socket.touch().await.unwrap_err().kind(), gone);
        assert_eq!(socket.update("n", plus_one).await.unwrap_err().kind(), gone);
        socket.insert("draft", "text").unwrap();
        assert_eq!(socket.save().await.unwrap_err().kind(), gone);
    }
}

#[tokio::test]
async fn a_session_made_for_a_lost_login_keeps_the_lifetime_of_the_lost_one() {
    for world in worlds() {
        let visitor = InFlight::without_cookie(&world).await;
        visitor.session.insert("cart", "a hat").unwrap();
        visitor.session.set_lifetime(Lifetime::AAL1).unwrap();
        let cookie = cookie_from(&visitor.finish().await).unwrap();
        let request = InFlight::with(&world, &cookie).await;
        world.rotate(&cookie).await;
        request.session.log_in("alice").unwrap();
        request.session.save().await.unwrap();
        let record = stored(&world, request.session.key().unwrap()).await.unwrap();
        assert_eq!(record.lifetime(), Lifetime::AAL1);
        assert!(record.field("cart").is_some());
    }
}

#[tokio::test]
async fn a_session_made_for_a_lost_login_has_the_data_of_the_same_user_and_of_no_other() {
    for (second, has_cart) in [("alice", true), ("bob", false)] {
        for world in worlds() {
            let first = InFlight::without_cookie(&world).await;
            first.session.log_in("alice").unwrap();
            first.session.insert("cart", "a hat").unwrap();
            let cookie = cookie_from(&first.finish().await).unwrap();
            let request = InFlight::with(&world, &cookie).await;
            world.rotate(&cookie).await;
            request.session.log_in(second).unwrap();
            request.session.save().await.unwrap();
            let record = stored(&world, request.session.key().unwrap()).await.unwrap();
            assert_eq!(record.user(), Some(&user(second)));
            assert_eq!(record.field("cart").is_some(), has_cart);
        }
    }
}

#[tokio::test]
async fn a_wish_for_another_session_is_not_retired_by_a_commit_of_the_old_one() {
    let world = world();
    let alice = world.signed_in("alice").await;
    let gate = Gate::new();
    world.faults.next(Operation::Update, Fault::Hold(gate.clone()));
    let handler = {
        let gate = gate.clone();
        app(&world.layer.optional(), move |session| {
            let gate = gate.clone();
            async move {
                session.insert("theme", "dark").unwrap();
                session.set_label("Firefox").unwrap();
                let clone = session.clone();
                let saving = clone.save();
                let switching = async {
                    gate.arrived().await;
                    session.log_in("bob").unwrap();
                    session.insert("theme", "dark").unwrap();
                    session.set_label("Firefox").unwrap();
                    gate.release();
                };
                let (saved, ()) = tokio::join!(saving, switching);
                saved.unwrap();
                text("")
            }
        })
    };
    let response = visit(&handler, &alice).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bob = cookie_from(&response).expect("bob's cookie");
    assert_eq!(body(visit(&who(&world.layer), &bob).await).await, "bob");
    let read = app(&world.layer, |session| async move {
        text(session.get::<String>("theme").unwrap().unwrap_or_default())
    });
    assert_eq!(body(visit(&read, &bob).await).await, "dark");
}
