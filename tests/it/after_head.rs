//! Sessions where no cookie can be sent any more: in the bodies of responses, and on WebSockets.

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tower_wristband::{
    Lifetime, Session, SessionErrorKind,
    testing::{Fault, Gate, cookie_from},
};

use crate::{
    captured::Capture,
    in_flight::{InFlight, WISHES, stored, worlds},
    support::{World, app, body, cookies_set, get_with, status, text, visit, who, with, world},
};

/// What a streaming body keeps of a request: the session, with the head on its way.
async fn after_head(world: &World, cookie: &HeaderValue) -> Session {
    let request = InFlight::with(world, cookie).await;
    let session = request.session.clone();
    request.finish().await;
    session
}

async fn is_signed_in(world: &World, cookie: &HeaderValue) -> bool {
    visit(&who(&world.layer), cookie).await.status() == StatusCode::OK
}

#[tokio::test]
async fn after_the_head_whatever_needs_a_cookie_is_an_error() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let session = after_head(&world, &cookie).await;
        let head_sent = Err(SessionErrorKind::HeadSent);
        let kind = |result: Result<(), tower_wristband::SessionError>| {
            result.map_err(|error| error.kind())
        };
        assert_eq!(kind(session.rotate()), head_sent);
        assert_eq!(kind(session.log_in("alice")), head_sent);
        assert_eq!(kind(session.log_in("bob")), head_sent);
        assert_eq!(kind(session.set_lifetime(Lifetime::AAL1)), head_sent);
        assert_eq!(kind(session.log_out().await), head_sent);
        session.save().await.unwrap();
        assert!(is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn after_the_head_data_can_be_saved() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let session = after_head(&world, &cookie).await;
        let key = session.key().unwrap();
        session.insert("progress", &50).unwrap();
        session.save().await.unwrap();
        session.update("chunks", |n: Option<u8>| Some(n.unwrap_or(0) + 1)).await.unwrap();
        session.touch().await.unwrap();
        session.reload().await.unwrap();
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("progress"), record.field("chunks")), (Some("50"), Some("1")));
    }
}

#[tokio::test]
async fn after_the_head_no_session_is_made() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let session = request.session.clone();
        request.finish().await;
        session.insert("progress", &50).unwrap();
        assert_eq!(session.save().await.unwrap_err().kind(), SessionErrorKind::HeadSent);
        let error = session.update("n", |_: Option<u8>| Some(1)).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::HeadSent);
        assert_eq!((session.key(), world.store_calls()), (None, 0));
    }
}

#[tokio::test]
async fn after_the_head_a_session_that_has_ended_is_not_written_to() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let session = after_head(&world, &cookie).await;
        world.layer.sessions().revoke_user(&"alice".parse().unwrap()).await.unwrap();
        session.insert("progress", &50).unwrap();
        let gone = SessionErrorKind::Gone;
        assert_eq!(session.save().await.unwrap_err().kind(), gone);
        assert_eq!(session.reload().await.unwrap_err().kind(), gone);
        assert_eq!(session.touch().await.unwrap_err().kind(), gone);
        assert_eq!(world.living().await, 0);
    }
}

#[tokio::test]
async fn a_streaming_body_saves_as_it_goes() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let key = InFlight::with(&world, &cookie).await.session.key().unwrap();
        let stream = app(&world.layer, |session| async move {
            let (chunks, received) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(async move {
                for chunk in 1..=3 {
                    session.insert("sent", &chunk).unwrap();
                    session.save().await.unwrap();
                    chunks.send(format!("{chunk}\n")).unwrap();
                }
            });
            let chunks = UnboundedReceiverStream::new(received).map(Ok::<_, std::io::Error>);
            http::Response::new(Body::from_stream(chunks))
        });
        let response = visit(&stream, &cookie).await;
        assert_eq!(body(response).await, "1\n2\n3\n");
        assert_eq!(stored(&world, key).await.unwrap().field("sent"), Some("3"));
    }
}

#[tokio::test]
async fn a_handle_that_is_dropped_with_unsaved_changes_after_the_head_is_reported() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let session = after_head(&world, &cookie).await;
    let key = session.key().unwrap();
    session.insert("progress", &50).unwrap();
    let events = Capture::start();
    let clone = session.clone();
    drop(session);
    assert_eq!(events.take(), [], "a clone may save them");
    drop(clone);
    let dropped: Vec<_> = events.take().into_iter().map(|event| event.message).collect();
    assert_eq!(dropped, ["session changes dropped"]);
    assert_eq!(stored(&world, key).await.unwrap().field("progress"), None);
}

#[tokio::test]
async fn a_handle_that_is_dropped_after_a_save_is_not_reported() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let session = after_head(&world, &cookie).await;
    session.insert("progress", &50).unwrap();
    session.save().await.unwrap();
    let events = Capture::start();
    drop(session);
    assert_eq!(events.take(), []);
}

/// A WebSocket handshake of HTTP/1.1, or (RFC 8441) of HTTP/2.
fn handshakes(cookie: Option<&HeaderValue>) -> [Request<Body>; 2] {
    let http_1 = with(Request::get("/ws").body(Body::empty()).unwrap(), "upgrade", "websocket");
    let http_2 = Request::connect("/ws").body(Body::empty()).unwrap();
    [http_1, http_2].map(|mut request| {
        if let Some(cookie) = cookie {
            let headers = get_with("/ws", cookie).headers().clone();
            request.headers_mut().extend(headers);
        }
        request
    })
}

#[tokio::test]
async fn in_a_websocket_handshake_whatever_needs_a_cookie_is_an_error_at_the_call() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        for handshake in handshakes(Some(&cookie)) {
            let request = InFlight::enter(&world.layer, handshake).await;
            let websocket = SessionErrorKind::WebSocket;
            assert_eq!(request.session.rotate().unwrap_err().kind(), websocket);
            assert_eq!(request.session.log_in("alice").unwrap_err().kind(), websocket);
            let error = request.session.set_lifetime(Lifetime::AAL1).unwrap_err();
            assert_eq!(error.kind(), websocket);
            let response = request.answer_with(status(StatusCode::SWITCHING_PROTOCOLS)).await;
            assert_eq!(cookies_set(&response), 0);
        }
        assert!(is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn a_websocket_saves_data_of_the_session_it_came_with_and_makes_none() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        for handshake in handshakes(Some(&cookie)) {
            let request = InFlight::enter(&world.layer, handshake).await;
            let session = request.session.clone();
            session.insert("during", &1).unwrap();
            session.save().await.unwrap();
            request.answer_with(status(StatusCode::SWITCHING_PROTOCOLS)).await;
            session.insert("after", &1).unwrap();
            session.save().await.unwrap();
            let record = stored(&world, session.key().unwrap()).await.unwrap();
            assert_eq!((record.field("during"), record.field("after")), (Some("1"), Some("1")));
        }
        for handshake in handshakes(None) {
            let before = world.store_calls();
            let request = InFlight::enter(&world.layer.optional(), handshake).await;
            let session = request.session.clone();
            session.insert("during", &1).unwrap();
            assert_eq!(session.save().await.unwrap_err().kind(), SessionErrorKind::WebSocket);
            session.insert("pending", &1).unwrap();
            let response = request.answer_with(status(StatusCode::SWITCHING_PROTOCOLS)).await;
            assert_eq!((cookies_set(&response), world.store_calls()), (0, before));
        }
    }
}

#[tokio::test]
async fn a_login_before_the_head_is_stored_before_the_body_begins() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let session = request.session.clone();
        session.log_in("alice").unwrap();
        let cookie = cookie_from(&request.finish().await).unwrap();
        assert!(session.key().is_some());
        assert!(is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn no_head_is_released_before_what_the_request_wants_stored_is_stored() {
    for world in worlds() {
        for wish in WISHES {
            let request = wish.request(&world).await;
            let gate = Gate::new();
            world.faults.next(wish.operation(), Fault::HoldReply(gate.clone()));
            let response = request.start_answering(text("done"));
            gate.arrived().await;
            // A head that waits for nothing would be there by now.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!response.is_finished(), "{wish:?}");
            gate.release();
            assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        }
    }
}
