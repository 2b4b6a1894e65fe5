//! What becomes of a request whose changes can't be stored.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use tower::{Layer, ServiceExt, service_fn};
use tower_wristband::{
    Session, SessionErrorKind, StoreErrorKind,
    testing::{Fault, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, WISHES, Wish, stored, worlds},
    support::{
        body, cookies_set, get, get_with, header, near_world, status, text, visit, who, world,
    },
};

const KINDS: [StoreErrorKind; 6] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::Timeout,
    StoreErrorKind::Collision,
    StoreErrorKind::Corrupt,
    StoreErrorKind::Full,
    StoreErrorKind::Other,
];

/// The handler's response, with headers that must not outlive it.
fn handlers_response() -> Response<Body> {
    let mut response = text("your order is placed");
    let headers = response.headers_mut();
    headers.insert("x-handler", "secret".parse().unwrap());
    headers.insert("set-cookie", "theme=dark".parse().unwrap());
    response
}

async fn assert_refused(response: Response<Body>, case: &str) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{case}");
    assert_eq!(response.headers().get(RETRY_AFTER), None, "{case}");
    assert_eq!(response.headers().get("x-handler"), None, "{case}");
    assert_eq!(cookies_set(&response), 0, "{case}");
    assert!(!body(response).await.contains("order"), "{case}");
}

#[tokio::test]
async fn a_store_that_fails_at_the_commit_is_503_without_retry_after_or_cookie() {
    for world in worlds() {
        for wish in WISHES {
            for kind in KINDS {
                // A full store drops visitors' sessions; another key is taken for a taken one.
                let is_no_failure = match kind {
                    StoreErrorKind::Full => wish == Wish::NewSession,
                    StoreErrorKind::Collision => wish.operation() == Operation::Create,
                    _ => false,
                };
                if is_no_failure {
                    continue;
                }
                for fault in [Fault::Error(kind), Fault::LostReply(kind)] {
                    let case = format!("{wish:?} {fault:?}");
                    let request = wish.request(&world).await;
                    let before = world.store_calls();
                    world.faults.next(wish.operation(), fault);
                    assert_refused(request.answer_with(handlers_response()).await, &case).await;
                    assert_eq!(world.store_calls() - before, 1, "{case}: it is not repeated");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_at_the_commit_is_503_after_the_limit() {
    for wish in WISHES {
        let world = near_world();
        let request = wish.request(&world).await;
        world.faults.next(wish.operation(), Fault::Hang);
        let start = tokio::time::Instant::now();
        assert_refused(request.answer_with(handlers_response()).await, "").await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_store_that_fails_while_a_lost_login_is_looked_into_is_503() {
    for world in worlds() {
        for kind in KINDS {
            let cookie = world.anonymous().await;
            let request = InFlight::with(&world, &cookie).await;
            request.session.log_in("alice").unwrap();
            world.rotate(&cookie).await;
            world.faults.next(Operation::Load, Fault::Error(kind));
            let response = request.answer_with(handlers_response()).await;
            assert_refused(response, &format!("{kind:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_grpc_call_whose_changes_can_not_be_stored_gets_status_13() {
    for world in worlds() {
        let request = Request::post("/")
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        let request = InFlight::enter(&world.layer.optional(), request).await;
        request.session.insert("draft", "text").unwrap();
        world.faults.next(Operation::Create, Fault::Error(StoreErrorKind::Unavailable));
        let response = request.answer_with(handlers_response()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "grpc-status"), Some("13"));
        assert_eq!(cookies_set(&response), 0);
    }
}

#[tokio::test]
async fn what_was_saved_before_the_commit_failed_has_its_cookie() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        request.session.log_in("alice").unwrap();
        request.session.save().await.unwrap();
        request.session.insert("draft", "text").unwrap();
        world.faults.next(Operation::Update, Fault::Error(StoreErrorKind::Unavailable));
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let cookie = cookie_from(&response).expect("the session is in the store");
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
    }
}

#[tokio::test]
async fn a_touch_that_fails_leaves_the_response_as_it_is() {
    for world in worlds() {
        for kind in KINDS {
            let cookie = world.signed_in("alice").await;
            world.clock.advance(Duration::from_secs(600));
            let before = world.faults.calls(Operation::Touch);
            world.faults.next(Operation::Touch, Fault::Error(kind));
            let response = visit(&who(&world.layer), &cookie).await;
            assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
            assert_eq!(body(response).await, "alice");
            assert_eq!(world.faults.calls(Operation::Touch) - before, 1);
        }
    }
}

#[tokio::test]
async fn a_save_that_fails_says_why_and_is_not_repeated() {
    for world in worlds() {
        for kind in [StoreErrorKind::Unavailable, StoreErrorKind::Timeout, StoreErrorKind::Full] {
            let request = InFlight::with(&world, &world.anonymous().await).await;
            request.session.insert("draft", "text").unwrap();
            world.faults.next(Operation::Update, Fault::Error(kind));
            let error = request.session.save().await.unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::Store(kind));
            assert!(error.is_outage());
            let before = world.store_calls();
            assert_eq!(request.finish().await.status(), StatusCode::OK);
            assert_eq!(world.store_calls(), before);
        }
    }
}

#[tokio::test]
async fn a_logout_that_fails_says_so_and_the_cookie_stays() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        world.faults.next(Operation::Destroy, Fault::Error(StoreErrorKind::Unavailable));
        let error = request.session.log_out().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
    }
}

/// Heads that say that the server failed.
fn failures() -> Vec<Response<Body>> {
    let mut heads: Vec<_> = [500, 502, 503, 504, 599]
        .map(|code| status(StatusCode::from_u16(code).unwrap()))
        .into_iter()
        .collect();
    heads.extend(["2", "13", "14", "15"].map(grpc));
    heads
}

/// A trailers-only gRPC response.
fn grpc(code: &'static str) -> Response<Body> {
    let mut response = status(StatusCode::OK);
    response.headers_mut().insert("grpc-status", code.parse().unwrap());
    response
}

#[tokio::test]
async fn a_server_error_drops_what_is_pending_a_login_and_a_rotation_included() {
    for world in worlds() {
        for wish in WISHES {
            for head in failures() {
                let (code, grpc) = (head.status(), head.headers().get("grpc-status").cloned());
                let request = wish.request(&world).await;
                let before = world.store_calls();
                let response = request.answer_with(head).await;
                assert_eq!(response.status(), code);
                assert_eq!(response.headers().get("grpc-status"), grpc.as_ref());
                assert_eq!(cookies_set(&response), 0, "{wish:?} {code} {grpc:?}");
                assert_eq!(world.store_calls(), before, "{wish:?} {code} {grpc:?}");
            }
        }
    }
}

#[tokio::test]
async fn any_other_head_is_no_reason_to_drop_anything() {
    for world in worlds() {
        let heads = [204, 302, 303, 304, 400, 401, 403, 404, 422, 499]
            .map(|code| status(StatusCode::from_u16(code).unwrap()))
            .into_iter()
            .chain(["0", "1", "3", "5", "7", "16", "130", "2 "].map(grpc));
        for head in heads {
            let code = head.status();
            let request = Wish::Login.request(&world).await;
            let response = request.answer_with(head).await;
            assert_eq!(response.status(), code);
            assert_eq!(cookies_set(&response), 1, "{code}");
        }
    }
}

#[tokio::test]
async fn what_was_awaited_stays_done_when_the_server_then_fails() {
    for world in worlds() {
        for head in failures() {
            let request = InFlight::without_cookie(&world).await;
            request.session.log_in("alice").unwrap();
            request.session.save().await.unwrap();
            let key = request.session.key().unwrap();
            let add_one = |n: Option<u32>| Some(n.unwrap_or(0) + 1);
            request.session.update("count", add_one).await.unwrap();
            request.session.insert("dropped", &1).unwrap();
            let response = request.answer_with(head).await;
            let cookie = cookie_from(&response).expect("it is in the store");
            let record = stored(&world, key).await.unwrap();
            assert_eq!(record.fields().collect::<Vec<_>>(), [("count", "1")]);
            assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
        }
        for head in failures() {
            let cookie = world.signed_in("alice").await;
            let request = InFlight::with(&world, &cookie).await;
            let key = request.session.key().unwrap();
            request.session.log_out().await.unwrap();
            let response = request.answer_with(head).await;
            assert_eq!((cookies_set(&response), cookie_from(&response)), (1, None));
            assert!(stored(&world, key).await.is_none());
        }
    }
}

#[tokio::test]
async fn an_error_of_the_service_passes_unchanged_and_drops_what_is_pending() {
    #[derive(Debug, PartialEq)]
    struct Broken(u8);

    for world in worlds() {
        let service = service_fn(|request: Request<Body>| async move {
            let session = Session::of(request.extensions()).unwrap();
            session.insert("stored", &1).unwrap();
            session.save().await.unwrap();
            session.insert("dropped", &1).unwrap();
            session.log_in("alice").unwrap();
            Err::<Response<Body>, _>(Broken(7))
        });
        let cookie = world.anonymous().await;
        let key = InFlight::with(&world, &cookie).await.session.key().unwrap();
        let layer = world.layer.optional();
        let answer = layer.layer(service).oneshot(get_with("/", &cookie)).await;
        assert_eq!(answer.unwrap_err(), Broken(7));
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("stored"), record.field("dropped")), (Some("1"), None));
        assert_eq!(record.user(), None);
    }
}

#[tokio::test]
async fn an_informational_response_creates_and_rotates_nothing() {
    for world in worlds() {
        for code in [100, 101, 103] {
            for wish in WISHES {
                let request = wish.request(&world).await;
                let before = world.faults.clone();
                let (creates, rotates) =
                    (before.calls(Operation::Create), before.calls(Operation::Rotate));
                let response = request.answer_with(status(code.try_into().unwrap())).await;
                assert_eq!((response.status().as_u16(), cookies_set(&response)), (code, 0));
                assert_eq!(world.faults.calls(Operation::Create), creates, "{wish:?}");
                assert_eq!(world.faults.calls(Operation::Rotate), rotates, "{wish:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_informational_response_still_stores_the_data_of_a_session_that_exists() {
    for world in worlds() {
        let request = InFlight::with(&world, &world.anonymous().await).await;
        let key = request.session.key().unwrap();
        request.session.rotate().unwrap();
        request.session.insert("draft", "text").unwrap();
        let response = request.answer_with(status(StatusCode::PROCESSING)).await;
        assert_eq!(cookies_set(&response), 0);
        assert_eq!(stored(&world, key).await.unwrap().field("draft"), Some(r#""text""#));
    }
}

#[tokio::test]
async fn a_panic_of_the_handler_stores_nothing() {
    let world = world();
    let service = service_fn(|request: Request<Body>| async move {
        let session = Session::of(request.extensions()).unwrap();
        session.log_in("alice").unwrap();
        if session.key().is_none() {
            panic!("a bug");
        }
        Ok::<_, Infallible>(text(""))
    });
    let layer = world.layer.optional();
    let answer = tokio::spawn(layer.layer(service).oneshot(get("/")));
    assert!(answer.await.unwrap_err().is_panic());
    assert_eq!(world.living().await, 0);
}
