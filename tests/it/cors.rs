//! Beside tower-http's `CorsLayer`, which goes outside.

use axum::{Router, body::Body, routing};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use tower::ServiceExt;
use tower_http::cors::CorsLayer;
use tower_wristband::{
    SessionLayer, StoreErrorKind,
    testing::{Fault, Operation},
};

use crate::support::{get, get_with, header, with, world};

const PAGE: &str = "https://app.example";

/// An interface that scripts of another origin use with the cookie.
fn interface(sessions: &SessionLayer) -> Router {
    let cors = CorsLayer::new()
        .allow_origin([HeaderValue::from_static(PAGE)])
        .allow_methods([Method::PUT])
        .allow_headers([CONTENT_TYPE])
        .allow_credentials(true);
    Router::new()
        .route("/notes", routing::any(async || "a note"))
        .layer(sessions.clone())
        .layer(cors)
}

async fn ask(router: Router, request: Request<Body>) -> Response<Body> {
    router.oneshot(request).await.unwrap()
}

fn varies_by(response: &Response<Body>, name: &str) -> bool {
    let lines = response.headers().get_all("vary").iter();
    lines
        .flat_map(|line| line.to_str().unwrap().split(','))
        .any(|field| field.trim().eq_ignore_ascii_case(name))
}

#[tokio::test]
async fn a_preflight_is_answered_although_it_carries_no_cookie() {
    let world = world();
    let mut preflight = get("/notes");
    *preflight.method_mut() = Method::OPTIONS;
    for (name, value) in [
        ("origin", PAGE),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type"),
    ] {
        preflight = with(preflight, name, value);
    }
    let response = ask(interface(&world.layer), preflight).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(header(&response, "access-control-allow-credentials"), Some("true"));
    assert_eq!(header(&response, "access-control-allow-methods"), Some("PUT"));
    assert_eq!(world.store_calls(), 0);
}

#[tokio::test]
async fn a_script_can_read_each_refusal() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
    for (request, status) in [
        (get("/notes"), StatusCode::UNAUTHORIZED),
        (get_with("/notes", &cookie), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let response = ask(interface(&world.layer), with(request, "origin", PAGE)).await;
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "access-control-allow-origin"), Some(PAGE));
        assert_eq!(header(&response, "access-control-allow-credentials"), Some("true"));
        assert!(varies_by(&response, "origin") && varies_by(&response, "cookie"));
    }
}

#[tokio::test]
async fn a_script_reads_what_is_behind_the_session() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = with(get_with("/notes", &cookie), "origin", PAGE);
    let response = ask(interface(&world.layer), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "access-control-allow-origin"), Some(PAGE));
    assert!(varies_by(&response, "origin") && varies_by(&response, "cookie"));
}
