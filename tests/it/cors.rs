//! Beside tower-http's `CorsLayer` and `CsrfLayer`, which go outside.

use axum::{Router, body::Body, routing};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use tower::ServiceExt;
use tower_http::{cors::CorsLayer, csrf::CsrfLayer};
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
    assert_eq!(header(&response, "access-control-allow-credentials"), Some("true"));
    assert!(varies_by(&response, "origin") && varies_by(&response, "cookie"));

    // That of another origin is told nothing that would let it.
    let request = with(get_with("/notes", &cookie), "origin", "https://evil.example");
    let response = ask(interface(&world.layer), request).await;
    assert_eq!(header(&response, "access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_forged_post_is_refused_before_its_session_is_looked_up() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let csrf = CsrfLayer::new().add_trusted_origin(PAGE).unwrap();
    let router = Router::new()
        .route("/notes", routing::post(async || "written"))
        .layer(world.layer.clone())
        .layer(csrf);
    let post = |lines: &[(&'static str, &str)]| {
        let mut request = get_with("/notes", &cookie);
        *request.method_mut() = Method::POST;
        let host = with(request, "host", "api.example");
        lines.iter().fold(host, |request, (name, value)| with(request, name, value))
    };
    let before = world.store_calls();
    for forged in [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
        &[("sec-fetch-site", "same-site"), ("origin", "https://other.app.example")],
        // A browser too old for `Sec-Fetch-Site`.
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        let response = ask(router.clone(), post(forged)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{forged:?}");
    }
    assert_eq!(world.store_calls(), before);
    for honest in [
        &[("sec-fetch-site", "same-origin"), ("origin", "https://api.example")][..],
        &[("sec-fetch-site", "cross-site"), ("origin", PAGE)],
    ] {
        let response = ask(router.clone(), post(honest)).await;
        assert_eq!(response.status(), StatusCode::OK, "{honest:?}");
    }
}
