//! A request that is dropped while it waits leaves nothing half done.

use std::{future::Future, sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};
use tower_wristband::{
    Session, StoreErrorKind,
    testing::{Fault, Gate, Operation},
};

use crate::{
    in_flight::{InFlight, WISHES, Wish, cancel, near_worlds_with, stored, worlds},
    support::{World, app, around, body, cookies_set, counted, get_with, send, text, visit, who},
};

/// Where the store call is when the request is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    /// It never arrived.
    Lost,
    /// It is done, but the answer isn't there.
    Done,
}

const REACHES: [Reach; 2] = [Reach::Lost, Reach::Done];

impl Reach {
    fn fault(self, gate: &Gate) -> Fault {
        match self {
            Self::Lost => Fault::Hold(gate.clone()),
            Self::Done => Fault::HoldReply(gate.clone()),
        }
    }
}

/// Answers a request, and drops it at the next call of the operation.
async fn cancel_commit(world: &World, request: InFlight, operation: Operation, reach: Reach) {
    let gate = Gate::new();
    world.faults.next(operation, reach.fault(&gate));
    let response = request.start_answering(text("done"));
    gate.arrived().await;
    cancel(response).await;
}

async fn is_signed_in(world: &World, cookie: &HeaderValue, user: &str) -> bool {
    let response = visit(&who(&world.layer), cookie).await;
    response.status() == StatusCode::OK && body(response).await == user
}

#[tokio::test]
async fn dropped_while_the_session_is_looked_up_the_service_is_not_called() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.signed_in("alice").await;
            let gate = Gate::new();
            let mount = who(&world.layer);
            let (inner, calls) = counted(app(&world.layer, |_| async { text("") }));
            let service = around(&world.layer, inner);
            world.faults.next(Operation::Load, reach.fault(&gate));
            let request = get_with("/", &cookie);
            let task = tokio::spawn(async move { send(&service, request).await });
            gate.arrived().await;
            cancel(task).await;
            assert_eq!(calls.load(Ordering::SeqCst), 0);
            assert_eq!(body(visit(&mount, &cookie).await).await, "alice");
        }
    }
}

#[tokio::test]
async fn dropped_in_the_handler_nothing_that_was_only_wished_for_is_stored() {
    for world in worlds() {
        for wish in WISHES {
            let request = wish.request(&world).await;
            let before = world.store_calls();
            request.cancel().await;
            assert_eq!(world.store_calls(), before, "{wish:?}");
        }
    }
}

#[tokio::test]
async fn dropped_in_the_handler_what_was_awaited_stays() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        request.session.update("count", |_: Option<u8>| Some(1)).await.unwrap();
        request.session.insert("saved", &1).unwrap();
        request.session.save().await.unwrap();
        request.session.insert("dropped", &1).unwrap();
        request.cancel().await;
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.fields().collect::<Vec<_>>(), [("count", "1"), ("saved", "1")]);
        assert!(is_signed_in(&world, &cookie, "alice").await);
    }
}

#[tokio::test]
async fn dropped_while_a_session_is_made_it_is_there_as_a_whole_or_not_at_all() {
    for world in worlds() {
        for wish in [Wish::NewSession, Wish::Login] {
            for reach in REACHES {
                let before = world.living().await;
                let request = wish.request(&world).await;
                request.session.insert("second", &2).unwrap();
                cancel_commit(&world, request, Operation::Create, reach).await;
                let made = world.living().await - before;
                assert_eq!(made, usize::from(reach == Reach::Done), "{wish:?} {reach:?}");
            }
        }
    }
}

#[tokio::test]
async fn dropped_while_data_is_stored_all_of_it_is_there_or_nothing_and_the_session_lives() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.signed_in("alice").await;
            let request = InFlight::with(&world, &cookie).await;
            let key = request.session.key().unwrap();
            request.session.insert("first", &1).unwrap();
            request.session.insert("second", &2).unwrap();
            request.session.set_label("Firefox").unwrap();
            cancel_commit(&world, request, Operation::Update, reach).await;
            let record = stored(&world, key).await.unwrap();
            let is_there = reach == Reach::Done;
            assert_eq!(record.fields().count(), if is_there { 2 } else { 0 });
            assert_eq!(record.label().is_some(), is_there);
            assert!(is_signed_in(&world, &cookie, "alice").await);
        }
    }
}

#[tokio::test]
async fn dropped_while_the_token_is_replaced_the_old_one_lives_or_the_session_needs_a_new_login() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.signed_in("alice").await;
            let request = InFlight::with(&world, &cookie).await;
            let key = request.session.key().unwrap();
            request.session.insert("draft", "text").unwrap();
            request.session.rotate().unwrap();
            cancel_commit(&world, request, Operation::Rotate, reach).await;
            let record = stored(&world, key).await.unwrap();
            assert_eq!(record.field("draft").is_some(), reach == Reach::Done);
            assert_eq!(is_signed_in(&world, &cookie, "alice").await, reach == Reach::Lost);
        }
    }
}

#[tokio::test]
async fn dropped_while_a_visitor_logs_in_the_visitor_stays_or_the_old_token_is_dead() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.anonymous().await;
            let request = InFlight::with(&world, &cookie).await;
            let key = request.session.key().unwrap();
            request.session.log_in("alice").unwrap();
            cancel_commit(&world, request, Operation::Rotate, reach).await;
            let is_bound = stored(&world, key).await.unwrap().user().is_some();
            assert_eq!(is_bound, reach == Reach::Done);
            let next = InFlight::with(&world, &cookie).await;
            assert_eq!(next.session.user_id(), None);
            assert_eq!(next.session.key().is_some(), reach == Reach::Lost);
        }
    }
}

#[tokio::test]
async fn dropped_while_a_lost_login_is_looked_into_nothing_is_made() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.anonymous().await;
            let request = InFlight::with(&world, &cookie).await;
            request.session.log_in("alice").unwrap();
            let newer = world.rotate(&cookie).await;
            let before = world.living().await;
            cancel_commit(&world, request, Operation::Load, reach).await;
            assert_eq!(world.living().await, before);
            assert!(InFlight::with(&world, &newer).await.session.key().is_some());
        }
    }
}

#[tokio::test]
async fn dropped_while_another_users_session_ends_the_new_one_is_whole() {
    for world in worlds() {
        for reach in REACHES {
            let bobs = world.signed_in("bob").await;
            let request = InFlight::with(&world, &bobs).await;
            request.session.log_in("alice").unwrap();
            let before = world.living().await;
            cancel_commit(&world, request, Operation::Destroy, reach).await;
            assert_eq!(is_signed_in(&world, &bobs, "bob").await, reach == Reach::Lost);
            let alices = usize::from(reach == Reach::Lost);
            assert_eq!(world.living().await, before + alices);
        }
    }
}

#[tokio::test]
async fn dropped_while_activity_is_written_the_session_lives() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.signed_in("alice").await;
            world.clock.advance(Duration::from_secs(600));
            let request = InFlight::with(&world, &cookie).await;
            cancel_commit(&world, request, Operation::Touch, reach).await;
            assert!(is_signed_in(&world, &cookie, "alice").await);
        }
    }
}

/// Drops an awaited call of the handler at its store call, and finishes the request.
async fn cancel_call<F>(
    world: &World,
    request: InFlight,
    operation: Operation,
    reach: Reach,
    call: impl FnOnce(Session) -> F,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let gate = Gate::new();
    world.faults.next(operation, reach.fault(&gate));
    let task = tokio::spawn(call(request.session.clone()));
    gate.arrived().await;
    cancel(task).await;
    request.finish().await
}

#[tokio::test]
async fn a_save_that_was_dropped_is_not_repeated() {
    for world in worlds() {
        for reach in REACHES {
            for wish in WISHES {
                let request = wish.request(&world).await;
                let before = world.faults.calls(wish.operation());
                let save = |session: Session| async move {
                    session.save().await.unwrap();
                };
                let response = cancel_call(&world, request, wish.operation(), reach, save).await;
                let case = format!("{wish:?} {reach:?}");
                assert_eq!(
                    (response.status(), cookies_set(&response)),
                    (StatusCode::OK, 0),
                    "{case}"
                );
                assert_eq!(world.faults.calls(wish.operation()) - before, 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_update_that_was_dropped_is_not_repeated_and_no_older_value_follows() {
    for world in worlds() {
        for reach in REACHES {
            let request = InFlight::with(&world, &world.signed_in("alice").await).await;
            let key = request.session.key().unwrap();
            request.session.insert("count", &10).unwrap();
            let update = |session: Session| async move {
                session.update("count", |n: Option<u8>| n.map(|n| n + 1)).await.unwrap();
            };
            cancel_call(&world, request, Operation::Update, reach, update).await;
            let record = stored(&world, key).await.unwrap();
            let expected = (reach == Reach::Done).then_some("11");
            assert_eq!(record.field("count"), expected);
        }
    }
}

#[tokio::test]
async fn after_a_call_that_was_dropped_the_handle_works_on() {
    for world in worlds() {
        for reach in REACHES {
            let request = InFlight::with(&world, &world.signed_in("alice").await).await;
            let session = request.session.clone();
            let key = session.key().unwrap();
            let gate = Gate::new();
            world.faults.next(Operation::Update, reach.fault(&gate));
            session.insert("first", &1).unwrap();
            let saving = session.clone();
            let task = tokio::spawn(async move { saving.save().await });
            gate.arrived().await;
            cancel(task).await;
            let stored_two = session.update("second", |_: Option<u8>| Some(2)).await.unwrap();
            assert_eq!(stored_two, Some(2));
            drop(session);
            assert_eq!(request.finish().await.status(), StatusCode::OK);
            assert_eq!(stored(&world, key).await.unwrap().field("second"), Some("2"));
        }
    }
}

#[tokio::test]
async fn a_logout_that_was_dropped_left_the_session_as_it_was_or_ended_it() {
    for world in worlds() {
        for reach in REACHES {
            let cookie = world.signed_in("alice").await;
            let request = InFlight::with(&world, &cookie).await;
            let key = request.session.key().unwrap();
            request.session.insert("draft", "text").unwrap();
            let log_out = |session: Session| async move {
                session.log_out().await.unwrap();
            };
            let response = cancel_call(&world, request, Operation::Destroy, reach, log_out).await;
            assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
            assert_eq!(stored(&world, key).await.is_some(), reach == Reach::Lost);
            assert_eq!(is_signed_in(&world, &cookie, "alice").await, reach == Reach::Lost);

            // Another try ends it, or finds that it has ended.
            let request = InFlight::with(&world, &cookie).await;
            request.session.log_out().await.unwrap();
            assert_eq!(cookies_set(&request.finish().await), 1);
            assert!(stored(&world, key).await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_within_a_time_limit_that_ran_out_can_be_tried_again_in_the_same_request() {
    for world in near_worlds_with(|builder| builder) {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        world.faults.next(Operation::Destroy, Fault::LostReply(StoreErrorKind::Timeout));
        request.session.log_out().await.unwrap_err();
        request.session.log_out().await.unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        assert_eq!(world.living().await, 0);
    }
}
