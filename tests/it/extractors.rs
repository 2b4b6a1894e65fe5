//! The session and its user as axum's handlers take them.

use axum::{Router, body::Body, routing};
use http::{Request, Response, StatusCode};
use tower::ServiceExt;
use tower_wristband::{
    NotSignedIn, RedirectToLogin, RejectionKind, Session, SessionError, StoreErrorKind, UserId,
    rejection,
    testing::{Fault, Operation, cookie_from, issue_with},
};

use crate::support::{body, get, get_with, header, status, with, world};

async fn ask(router: Router, request: Request<Body>) -> Response<Body> {
    router.oneshot(request).await.unwrap()
}

async fn session_and_user(session: Session, user: UserId) -> String {
    assert_eq!(session.user_id().as_ref(), Some(&user));
    format!("{user} {}", session.key().is_some())
}

async fn maybe(session: Option<Session>, user: Option<UserId>) -> String {
    format!("{} {}", session.is_some(), user.map_or("nobody".to_owned(), |user| user.to_string()))
}

async fn only_user(user: UserId) -> String {
    user.to_string()
}

fn navigation() -> Request<Body> {
    with(get("/"), "sec-fetch-mode", "navigate")
}

#[tokio::test]
async fn a_handler_gets_the_session_and_its_user() {
    let world = world();
    let router = Router::new().route("/", routing::get(session_and_user));
    let cookie = world.signed_in("alice").await;
    let response = ask(router.layer(world.layer.clone()), get_with("/", &cookie)).await;
    assert_eq!(body(response).await, "alice true");
}

#[tokio::test]
async fn a_route_layer_guards_the_routes_above_it_alone() {
    let sessions = world().layer;
    let router = Router::new()
        .route("/dashboard", routing::get(only_user))
        .route_layer(sessions.clone())
        .route("/", routing::get(maybe))
        .layer(sessions.optional());
    let response = ask(router.clone(), get("/dashboard")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(ask(router.clone(), get("/")).await).await, "false nobody");
    assert_eq!(ask(router, get("/nowhere")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_option_is_none_when_nobody_is_there() {
    let world = world();
    let router = Router::new().route("/", routing::get(maybe)).layer(world.layer.optional());
    assert_eq!(body(ask(router.clone(), get("/")).await).await, "false nobody");
    let anonymous = world.anonymous().await;
    assert_eq!(body(ask(router.clone(), get_with("/", &anonymous)).await).await, "true nobody");
    let alice = world.signed_in("alice").await;
    assert_eq!(body(ask(router, get_with("/", &alice)).await).await, "true alice");
}

#[tokio::test]
async fn without_the_layer_each_extractor_says_which_layer_is_missing_and_where_to_put_it() {
    let router = Router::new()
        .route("/session", routing::get(async |_: Session| ""))
        .route("/user", routing::get(async |_: UserId| ""))
        .route("/maybe-session", routing::get(async |_: Option<Session>| ""))
        .route("/maybe-user", routing::get(async |_: Option<UserId>| ""));
    for path in ["/session", "/user", "/maybe-session", "/maybe-user"] {
        let response = ask(router.clone(), get(path)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let message = body(response).await;
        assert!(message.contains("SessionLayer"), "{path}: {message}");
        assert!(message.contains(".layer(sessions.optional())"), "{path}: {message}");
        assert!(message.contains("after the routes"), "{path}: {message}");
    }
    // A router's layer covers only the routes that were there before it.
    let late = Router::new()
        .layer(world().layer.optional())
        .route("/", routing::get(async |_: Session| ""));
    assert_eq!(ask(late, get("/")).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_401_of_the_user_extractor_is_the_layers() {
    let sessions = world().layer;
    let router = Router::new().route("/", routing::get(only_user)).layer(sessions.optional());
    let response = ask(router, get("/")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "www-authenticate"), Some("Cookie realm=\"session\""));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(header(&response, "vary"), Some("Cookie"));
    let kind = response.extensions().get::<RejectionKind>();
    assert_eq!(kind, Some(&RejectionKind::Unauthenticated));
    assert_eq!(body(response).await, "");
}

#[tokio::test]
async fn the_401_of_the_user_extractor_looks_like_the_one_of_a_mount_that_demands_a_user() {
    let sessions = world().layer;
    let extracted = Router::new().route("/", routing::get(only_user)).layer(sessions.optional());
    let demanded = Router::new().route("/", routing::get(only_user)).layer(sessions.clone());
    let (extracted, demanded) = (ask(extracted, get("/")).await, ask(demanded, get("/")).await);
    assert_eq!(extracted.status(), demanded.status());
    for name in ["www-authenticate", "cache-control", "vary", "content-type", "set-cookie"] {
        assert_eq!(header(&extracted, name), header(&demanded, name), "{name}");
    }
    assert_eq!(body(extracted).await, body(demanded).await);
}

#[tokio::test]
async fn the_401_of_the_user_extractor_is_rendered_by_the_innermost_mount() {
    let sessions = world().layer;
    let pages = sessions.optional().with_rejection(RedirectToLogin::to("/login").unwrap());
    let api = sessions.optional().with_rejection(rejection::from_fn(|rejection| {
        rejection.response(Body::from("{\"error\":\"log in\"}"))
    }));
    let route = || Router::new().route("/", routing::get(only_user));

    let response = ask(route().layer(pages.clone()), navigation()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), Some("/login?next=/"));

    let response = ask(route().layer(pages.clone()).layer(api.clone()), navigation()).await;
    assert_eq!(header(&response, "location"), Some("/login?next=/"));

    let response = ask(route().layer(api).layer(pages), navigation()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "location"), None);
    assert!(header(&response, "www-authenticate").is_some());
    assert_eq!(body(response).await, "{\"error\":\"log in\"}");
}

#[tokio::test]
async fn the_401_of_the_user_extractor_is_grpcs_for_a_grpc_call() {
    let router = Router::new().route("/", routing::post(only_user)).layer(world().layer.optional());
    let mut call = with(get("/"), "content-type", "application/grpc");
    *call.method_mut() = http::Method::POST;
    let response = ask(router, call).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "grpc-status"), Some("16"));
}

/// It is the extractor's answer that is rendered, not every 401 below an `Optional` mount.
#[tokio::test]
async fn a_401_of_the_handler_is_not_rendered_by_the_layer() {
    let pages = world().layer.optional().with_rejection(RedirectToLogin::to("/login").unwrap());
    let router = Router::new()
        .route("/", routing::get(async || status(StatusCode::UNAUTHORIZED)))
        .layer(pages);
    let response = ask(router, navigation()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "www-authenticate"), None);
}

async fn count(session: Session) -> Result<String, SessionError> {
    let count = session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).await?;
    Ok(format!("{count:?}"))
}

async fn read(session: Session) -> Result<String, SessionError> {
    Ok(format!("{:?}", session.get::<u32>("text")?))
}

#[tokio::test]
async fn an_error_of_the_session_is_503_in_an_outage_and_500_otherwise() {
    let world = world();
    let cookie =
        issue_with(&world.layer, "alice", |session| session.insert("text", "not a number")).await;
    let router = Router::new()
        .route("/count", routing::get(count))
        .route("/read", routing::get(read))
        .layer(world.layer.clone());
    assert_eq!(body(ask(router.clone(), get_with("/count", &cookie)).await).await, "Some(1)");

    let response = ask(router.clone(), get_with("/read", &cookie)).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body(response).await, "");

    world.faults.always(Operation::Update, Fault::Error(StoreErrorKind::Unavailable));
    let response = ask(router, get_with("/count", &cookie)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "retry-after"), None);
    assert_eq!(header(&response, "set-cookie"), None);
    assert_eq!(body(response).await, "", "the store's words stay inside");
}

async fn who_is_it(user: Result<UserId, NotSignedIn>) -> String {
    match user {
        Ok(user) => user.to_string(),
        Err(reason) => {
            let source = std::error::Error::source(&reason);
            format!("{reason} ({} {})", reason.is_missing_layer(), source.is_some())
        }
    }
}

#[tokio::test]
async fn a_handler_can_ask_why_nobody_is_signed_in() {
    let world = world();
    let router = Router::new().route("/", routing::get(who_is_it));
    let inside = router.clone().layer(world.layer.optional());
    let alice = world.signed_in("alice").await;
    assert_eq!(body(ask(inside.clone(), get_with("/", &alice)).await).await, "alice");
    assert_eq!(body(ask(inside, get("/")).await).await, "nobody is signed in (false false)");
    let outside = body(ask(router, get("/")).await).await;
    assert_eq!(outside, "nothing says who is signed in (true true)");
}

async fn log_in_and_name_no_field(session: Session) -> Result<(), SessionError> {
    session.log_in("alice")?;
    session.insert("", "a field without a name")
}

async fn log_in_and_read(session: Session) -> Result<(), SessionError> {
    session.log_in("alice")?;
    session.insert("text", "not a number")?;
    session.get::<u32>("text").map(drop)
}

#[tokio::test]
async fn a_login_before_an_error_is_stored_unless_that_is_a_server_error() {
    let world = world();
    let router = Router::new()
        .route("/400", routing::get(log_in_and_name_no_field))
        .route("/500", routing::get(log_in_and_read))
        .layer(world.layer.optional());
    let response = ask(router.clone(), get("/500")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(cookie_from(&response), None);
    let response = ask(router, get("/400")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let cookie = cookie_from(&response).expect("the login is stored");
    let guarded = Router::new().route("/", routing::get(only_user)).layer(world.layer.clone());
    assert_eq!(body(ask(guarded, get_with("/", &cookie)).await).await, "alice");
}
