//! Where the session layer goes among others, how one configuration guards several routers, and
//! what two configurations with one cookie name do.
//!
//! `cargo run --example layers`

use std::{future::pending, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::OriginalUri,
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer,
    timeout::TimeoutLayer, trace::TraceLayer,
};
use tower_wristband::{
    Access, BoxError, ConfigError, MemoryStore, RedirectToLogin, RejectionKind, Session,
    SessionError, SessionLayer, UserId,
    testing::{self, FaultyStore, Operation},
};

const FRONTEND: HeaderValue = HeaderValue::from_static("https://www.club.example");

/// The right order, and the right guard for each router.
fn site(sessions: &SessionLayer) -> Result<Router, ConfigError> {
    // From the outside in, as a request meets them.
    let around = ServiceBuilder::new()
        // Sees every answer, and in its extensions why a request was refused.
        .layer(TraceLayer::new_for_http())
        // Answers preflights, which carry no cookie, and lets scripts read a 401.
        .layer(cors())
        .layer(CompressionLayer::new())
        .layer(sessions.optional())
        // Inside, so that a panic or a timeout is an answer of the service: after a 5xx nothing is
        // stored. After a 408, what the handler had asked for until then would be.
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(10)))
        .layer(CatchPanicLayer::new());

    // These are mounts of the configuration that is around them all: each adds what it demands, and
    // they share its look-up of the session.
    let pages = sessions.with_rejection(RedirectToLogin::to("/login")?);
    let shop = Router::new().route("/orders/{id}", get(order)).route_layer(pages);
    let api = Router::new().route("/me", get(me)).route_layer(sessions.clone());
    let anybody = sessions.with_access(Access::AnySession);
    let cart = Router::new().route("/cart", get(async || "a cart")).route_layer(anybody);

    let site = Router::new()
        .nest("/shop", shop)
        .merge(api)
        .merge(cart)
        .route("/hangs", post(log_in_and_hang))
        .layer(around);
    Ok(site)
}

/// For scripts on a sibling of this site: from other sites, `SameSite=Lax` keeps the cookie away.
fn cors() -> CorsLayer {
    CorsLayer::new().allow_origin(FRONTEND).allow_credentials(true)
}

async fn me(user: UserId) -> String {
    user.to_string()
}

async fn order(OriginalUri(address): OriginalUri, user: UserId) -> String {
    format!("{address} of {user}, in a line that is long enough to be worth compressing")
}

async fn log_in_and_hang(session: Session) -> Result<(), SessionError> {
    session.log_in("alice")?;
    pending().await
}

// Time is paused: when all wait, it jumps to the next timeout.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let store = FaultyStore::new(MemoryStore::new()); // counts the calls
    let calls = store.faults();
    let sessions = SessionLayer::new(store);
    let site = site(&sessions)?;

    // A preflight is answered although it has no cookie, and a script may read the 401.
    let origin = (header::ORIGIN, FRONTEND);
    let method = (header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
    let preflight = [origin.clone(), method];
    let allowed = send(&site, Method::OPTIONS, "/me", preflight.clone()).await?;
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(allowed.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], FRONTEND);
    let refused = send(&site, Method::GET, "/me", [origin]).await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], FRONTEND);
    assert_eq!(refused.extensions().get(), Some(&RejectionKind::Unauthenticated));

    // `nest` shortens the path that a router sees; `next` has the whole one.
    let browser = [(header::ACCEPT, HeaderValue::from_static("text/html"))];
    let redirected = send(&site, Method::GET, "/shop/orders/7?page=2", browser).await?;
    assert_eq!(redirected.status(), StatusCode::SEE_OTHER);
    assert_eq!(redirected.headers()[header::LOCATION], "/login?next=/shop/orders/7%3Fpage%3D2");

    // What a handler asked of its session before it hung has not happened.
    let late = send(&site, Method::POST, "/hangs", []).await?;
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(!late.headers().contains_key(header::SET_COOKIE));
    assert_eq!(calls.total_calls(), 0, "nothing of all this needed the store");

    // Two mounts are around each of these, and the store is asked once.
    let cookie = (header::COOKIE, testing::issue(&sessions, "alice").await);
    let gzip = (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (path, loads) in [("/shop/orders/7", 1), ("/me", 2), ("/cart", 3)] {
        let page = send(&site, Method::GET, path, [cookie.clone(), gzip.clone()]).await?;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(calls.calls(Operation::Load), loads);
        let compressed = page.headers().contains_key(header::CONTENT_ENCODING);
        assert_eq!(compressed, path == "/shop/orders/7", "only this one is long enough");
        assert_eq!(page.headers()[header::VARY], "Cookie");
    }

    // Wrong: inside the session layer, CORS never sees the preflight.
    let guarded = Router::new().route("/me", get(me)).layer(cors()).layer(sessions.clone());
    let refused = send(&guarded, Method::OPTIONS, "/me", preflight).await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(!refused.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));

    // Wrong: two configurations, where one with two mounts was meant. With one name for two cookies
    // neither can tell which is its own, so each request is refused, and the log says why.
    let other = SessionLayer::new(MemoryStore::new());
    let clashing = Router::new().route("/me", get(me)).layer(sessions).layer(other.optional());
    let broken = send(&clashing, Method::GET, "/me", [cookie]).await?;
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(broken.extensions().get(), Some(&RejectionKind::Misconfigured));

    println!("the right order works; the wrong ones are refused");
    Ok(())
}

async fn send<const N: usize>(
    app: &Router,
    method: Method,
    path: &str,
    headers: [(HeaderName, HeaderValue); N],
) -> Result<Response<Body>, BoxError> {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty())?;
    request.headers_mut().extend(headers);
    Ok(app.clone().oneshot(request).await?)
}
