//! How a refused request is answered, by kind of client.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};
use tower_wristband::{
    Access, ConfigErrorKind, DefaultRejection, MemoryStore, RedirectToLogin, RejectionKind,
    RejectionResponse, SessionLayer, StoreErrorKind, rejection,
    testing::{self, Fault, Operation},
};

use crate::support::{
    App, World, app, body, get, get_with, header, send, status, text, visit, who, with, world,
    world_on, world_with,
};

/// A request of this method with these headers.
fn request(method: Method, lines: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = get("/");
    *request.method_mut() = method;
    lines.iter().fold(request, |request, (name, value)| with(request, name, value))
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// A service that changes its session: the commit has something to fail at.
fn writer(world: &World) -> App {
    app(&world.layer.optional(), |session| async move {
        session.insert("n", &1).unwrap();
        text("written")
    })
}

#[tokio::test]
async fn a_grpc_call_is_refused_in_the_head_with_status_16() {
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json; charset=utf-8",
        "application/grpc;x=1",
        "application/grpc; x=1",
        "Application/gRPC",
    ] {
        let call = request(Method::POST, &[("content-type", content_type), ("te", "trailers")]);
        let response = send(&who(&world().layer), call).await;
        assert_eq!(response.status(), StatusCode::OK, "{content_type}");
        assert_eq!(header(&response, "grpc-status"), Some("16"), "{content_type}");
        assert_eq!(header(&response, "content-type"), Some("application/grpc"));
        assert_eq!(header(&response, "www-authenticate"), None);
        assert_eq!(header(&response, "location"), None);
        // Trailers-only: the head ends the stream.
        assert!(response.body().is_end_stream(), "{content_type}");
    }
}

#[tokio::test]
async fn what_only_resembles_grpc_is_refused_with_401() {
    for content_type in [
        "application/grpcfoo",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grp",
        "text/application/grpc",
        "application/json",
        "",
    ] {
        let call = request(Method::POST, &[("content-type", content_type)]);
        let response = send(&who(&world().layer), call).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{content_type}");
        assert_eq!(header(&response, "grpc-status"), None, "{content_type}");
    }
}

#[tokio::test]
async fn a_grpc_call_sees_an_outage_as_14_and_a_failed_commit_as_13() {
    for (operation, expected) in [(Operation::Load, "14"), (Operation::Update, "13")] {
        let world = world();
        let cookie = world.signed_in("alice").await;
        world.faults.always(operation, Fault::Error(StoreErrorKind::Unavailable));
        let mut call = request(Method::POST, &[("content-type", "application/grpc")]);
        call.headers_mut().insert("cookie", cookie);
        let response = send(&writer(&world), call).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "grpc-status"), Some(expected));
        assert!(response.body().is_end_stream());
        assert_eq!(header(&response, "set-cookie"), None);
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_challenge_too() {
    let response = send(&who(&world().layer), request(Method::HEAD, &[])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "www-authenticate"), Some("Cookie realm=\"session\""));
}

#[tokio::test]
async fn the_realm_is_a_quoted_string() {
    let world = world_with(|builder| builder.realm(r#"the "back" \ office"#));
    let response = send(&who(&world.layer), get("/")).await;
    let challenge = r#"Cookie realm="the \"back\" \\ office""#;
    assert_eq!(header(&response, "www-authenticate"), Some(challenge));
}

#[test]
fn a_realm_that_no_header_can_carry_is_a_configuration_error() {
    for realm in ["Büro", "a\nb", "a\u{7f}"] {
        let error = SessionLayer::builder(MemoryStore::new()).realm(realm).build().unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Realm, "{realm:?}");
    }
}

#[tokio::test]
async fn an_outage_of_the_look_up_says_when_to_come_back() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Load, Fault::Error(StoreErrorKind::Timeout));
    let response = visit(&writer(&world), &cookie).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "retry-after"), Some("5"));
    assert_eq!(response.extensions().get::<RejectionKind>(), Some(&RejectionKind::Unavailable));
}

/// The work may be done: who repeats it may do it twice.
#[tokio::test]
async fn a_failed_commit_does_not_ask_to_come_back() {
    for signed_in in [true, false] {
        let world = world();
        let cookie = world.signed_in("alice").await;
        for operation in [Operation::Update, Operation::Create] {
            world.faults.always(operation, Fault::Error(StoreErrorKind::Unavailable));
        }
        let request = if signed_in { get_with("/", &cookie) } else { get("/") };
        let response = send(&writer(&world), request).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&response, "retry-after"), None);
        assert_eq!(header(&response, "set-cookie"), None);
        let kind = response.extensions().get::<RejectionKind>();
        assert_eq!(kind, Some(&RejectionKind::CommitFailed));
        assert_eq!(body(response).await, "", "the service's body is not released");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_too_long_fails() {
    let world =
        world_on(MemoryStore::new(), |builder| builder.store_timeout(Duration::from_secs(2)));
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Update, Fault::Hang);
    let start = tokio::time::Instant::now();
    let response = visit(&writer(&world), &cookie).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "retry-after"), None);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn no_answer_tells_what_the_store_said() {
    for kind in [
        StoreErrorKind::Unavailable,
        StoreErrorKind::Timeout,
        StoreErrorKind::Full,
        StoreErrorKind::Collision,
        StoreErrorKind::Other,
    ] {
        for operation in [Operation::Load, Operation::Update] {
            let world = world();
            let cookie = world.signed_in("alice").await;
            world.faults.always(operation, Fault::Error(kind));
            let response = visit(&writer(&world), &cookie).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
            let allowed = ["cache-control", "retry-after", "vary"];
            assert!(names(response.headers()).iter().all(|name| allowed.contains(name)));
            assert_eq!(body(response).await, "", "{kind:?} of {operation:?}");
        }
    }
}

/// A body that has no `Default`.
#[derive(Debug, PartialEq)]
struct Page(String);

#[tokio::test]
async fn a_closure_answers_with_a_body_that_has_no_default_and_its_types_are_inferred() {
    let layer = world().layer.with_rejection(rejection::from_fn(|rejection| {
        rejection.response(Page(format!("sorry: {}", rejection.kind())))
    }));
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Page("hello".to_owned())))
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(*response.body(), Page("sorry: unauthenticated".to_owned()));
}

#[tokio::test]
async fn an_own_401_gets_the_challenge_and_is_not_stored() {
    let layer = world().layer.with_rejection(rejection::from_fn(|_| {
        let mut response = status(StatusCode::UNAUTHORIZED);
        let headers = response.headers_mut();
        headers.insert("cache-control", "public, max-age=60".parse().unwrap());
        headers.insert("vary", "Accept".parse().unwrap());
        response
    }));
    let response = send(&who(&layer), get("/")).await;
    assert_eq!(header(&response, "www-authenticate"), Some("Cookie realm=\"session\""));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(header(&response, "vary"), Some("Accept, Cookie"));
    let kind = response.extensions().get::<RejectionKind>();
    assert_eq!(kind, Some(&RejectionKind::Unauthenticated));
}

#[tokio::test]
async fn an_own_challenge_stays_the_only_one_and_another_status_gets_none() {
    let layer = world().layer.with_rejection(rejection::from_fn(|rejection| {
        let mut response = rejection.response(Body::from("no"));
        response.headers_mut().insert("www-authenticate", "Club".parse().unwrap());
        response
    }));
    assert_eq!(header(&send(&who(&layer), get("/")).await, "www-authenticate"), Some("Club"));

    let layer = world().layer.with_rejection(rejection::from_fn(|_| status(StatusCode::NOT_FOUND)));
    let response = send(&who(&layer), get("/")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&response, "www-authenticate"), None);
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_401_of_the_handler_is_left_alone() {
    let own = |_| async {
        let mut response = status(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert("x-own", "1".parse().unwrap());
        *response.body_mut() = Body::from("wrong password");
        response
    };
    let response = send(&app(&world().layer.optional(), own), get("/")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(names(response.headers()), ["x-own"]);
    assert_eq!(response.extensions().get::<RejectionKind>(), None);
    assert_eq!(body(response).await, "wrong password");
}

/// A body that counts how often it is polled.
struct Counted(Arc<AtomicUsize>);

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_not_touched() {
    let polls = Arc::new(AtomicUsize::new(0));
    let mut request = get("/").map(|_| Body::new(Counted(Arc::clone(&polls))));
    *request.method_mut() = Method::POST;
    let response = send(&who(&world().layer), request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(polls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_expects_100_continue_is_refused_before_the_body_is_asked_for() {
    let service = world().layer.layer(service_fn(async |_: Request<hyper::body::Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let (mut client, server) = tokio::io::duplex(4096);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    let server = tokio::spawn(connection);
    client
        .write_all(
            b"POST / HTTP/1.1\r\nhost: club.example\r\ncontent-length: 5\r\n\
              expect: 100-continue\r\nconnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_own_401_to_a_grpc_call_gets_what_every_401_gets() {
    let layer =
        world().layer.with_rejection(rejection::from_fn(|_| status(StatusCode::UNAUTHORIZED)));
    let call = request(Method::POST, &[("content-type", "application/grpc")]);
    let response = send(&who(&layer), call).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "www-authenticate"), Some("Cookie realm=\"session\""));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_answer_can_be_chosen_at_run_time() {
    type Chosen = dyn RejectionResponse<Body> + Send + Sync;
    for (is_site, expected) in [(true, StatusCode::SEE_OTHER), (false, StatusCode::UNAUTHORIZED)] {
        let choose = || -> Box<Chosen> {
            match is_site {
                true => Box::new(RedirectToLogin::to("/login").unwrap()),
                false => Box::new(DefaultRejection::default()),
            }
        };
        let shared: Arc<Chosen> = Arc::from(choose());
        let navigation = || request(Method::GET, &[("accept", "text/html")]);
        let layer = world().layer;
        let response = send(&who(&layer.with_rejection(choose())), navigation()).await;
        assert_eq!(response.status(), expected);
        // A shared one can be cloned, and so can what is derived from the layer.
        let derived = layer.with_rejection(shared).with_access(Access::AnySession);
        assert_eq!(send(&who(&derived), navigation()).await.status(), expected);
    }
}

#[tokio::test]
async fn an_answer_can_be_tested_without_a_layer_and_is_the_one_that_the_layer_gives() {
    let answer = || {
        rejection::from_fn(|rejection| {
            rejection.response(Body::from(format!("{} {}", rejection.kind(), rejection.is_grpc())))
        })
    };
    for lines in [&[][..], &[("content-type", "application/grpc")], &[("accept", "text/html")]] {
        let asked = || request(Method::POST, lines);
        let tested = testing::refuse(&answer(), RejectionKind::Unauthenticated, &asked());
        let given = send(&who(&world().layer.with_rejection(answer())), asked()).await;
        assert_eq!((tested.status(), tested.headers()), (given.status(), given.headers()));
        assert_eq!(body(tested).await, body(given).await);
    }
}
