//! Who is sent to the login page, and with which address to come back to.

use axum::{Router, body::Body, routing};
use http::{Method, Request, Response, StatusCode};
use tower::ServiceExt;
use tower_wristband::{
    ConfigErrorKind, RedirectToLogin, SessionCookie, SessionLayer, StoreErrorKind, rejection,
    testing::{Fault, Operation},
};
use url::Url;

use crate::support::{app, body, get, header, send, text, visit, who, with, world, world_with};

const SITE: &str = "https://club.example";

fn redirecting() -> SessionLayer<RedirectToLogin> {
    world().layer.with_rejection(RedirectToLogin::to("/login").unwrap())
}

/// What a browser sends that goes to a page.
fn navigation(path: &str) -> Request<Body> {
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    with(with(get(path), "sec-fetch-mode", "navigate"), "accept", accept)
}

fn request(method: Method, lines: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = get("/orders");
    *request.method_mut() = method;
    lines.iter().fold(request, |request, (name, value)| with(request, name, value))
}

/// Where a browser on the site ends up, and what the login page finds in `next`.
fn followed(response: &Response<Body>) -> (Url, Option<String>) {
    let location = header(response, "location").expect("a redirect");
    let target = Url::parse(SITE).unwrap().join(location).unwrap();
    let next = target.query_pairs().find(|(name, _)| name == "next");
    let next = next.map(|(_, value)| value.into_owned());
    (target, next)
}

#[tokio::test]
async fn a_browser_that_goes_to_a_page_is_sent_to_the_login_page() {
    for navigation in [
        request(Method::GET, &[("sec-fetch-mode", "navigate")]),
        request(Method::HEAD, &[("sec-fetch-mode", "navigate")]),
        // A browser too old for `Sec-Fetch-Mode`.
        request(Method::GET, &[("accept", "application/xml, Text/HTML;q=0.9")]),
        request(Method::GET, &[("accept", "application/xml"), ("accept", "text/html")]),
    ] {
        let response = send(&who(&redirecting()), navigation).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(header(&response, "location"), Some("/login?next=/orders"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "vary"), Some("Cookie"));
        assert_eq!(header(&response, "www-authenticate"), None);
        assert_eq!(header(&response, "set-cookie"), None);
    }
}

#[tokio::test]
async fn everything_but_a_navigation_by_get_or_head_is_refused_with_401() {
    let html = ("accept", "text/html");
    let navigate = ("sec-fetch-mode", "navigate");
    for other in [
        request(Method::GET, &[]),
        request(Method::GET, &[("accept", "*/*")]),
        request(Method::GET, &[("accept", "application/json")]),
        request(Method::GET, &[html, ("sec-fetch-mode", "cors")]),
        request(Method::GET, &[html, ("sec-fetch-mode", "no-cors")]),
        request(Method::POST, &[html, navigate]),
        request(Method::PUT, &[html]),
        request(Method::DELETE, &[html, navigate]),
        request(Method::OPTIONS, &[html]),
    ] {
        let what = format!("{} {:?}", other.method(), other.headers());
        let response = send(&who(&redirecting()), other).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(header(&response, "location"), None, "{what}");
        assert!(header(&response, "www-authenticate").is_some(), "{what}");
    }
}

#[tokio::test]
async fn a_websocket_is_never_redirected() {
    let html = ("accept", "text/html");
    let navigate = ("sec-fetch-mode", "navigate");
    for handshake in [
        request(Method::GET, &[("connection", "upgrade"), ("upgrade", "websocket"), navigate]),
        request(Method::GET, &[("connection", "Upgrade"), ("upgrade", "WebSocket"), html]),
        request(Method::GET, &[("connection", "upgrade"), ("upgrade", "h2c, websocket"), html]),
        // RFC 8441: over HTTP/2 it is an extended CONNECT.
        request(Method::CONNECT, &[("sec-websocket-version", "13"), navigate, html]),
    ] {
        let response = send(&who(&redirecting()), handshake).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&response, "location"), None);
    }
}

#[tokio::test]
async fn a_closure_can_tell_the_kinds_of_clients_apart() {
    let layer = world().layer.with_rejection(rejection::from_fn(|rejection| {
        text(format!(
            "{} {} {:?}",
            rejection.is_websocket(),
            rejection.is_grpc(),
            rejection.navigation()
        ))
    }));
    let service = who(&layer);
    for (request, expected) in [
        (navigation("/orders?page=2"), "false false Some(\"/orders?page=2\")"),
        (request(Method::GET, &[("upgrade", "websocket")]), "true false None"),
        (request(Method::GET, &[("upgrade", "h2c")]), "false false None"),
        (request(Method::GET, &[("referer", "websocket")]), "false false None"),
        (request(Method::CONNECT, &[]), "true false None"),
        (request(Method::POST, &[("content-type", "application/grpc")]), "false true None"),
        (request(Method::GET, &[]), "false false None"),
    ] {
        assert_eq!(body(send(&service, request).await).await, expected);
    }
}

#[tokio::test]
async fn a_grpc_call_is_never_redirected() {
    let call =
        request(Method::POST, &[("content-type", "application/grpc"), ("accept", "text/html")]);
    let response = send(&who(&redirecting()), call).await;
    assert_eq!(header(&response, "grpc-status"), Some("16"));
    assert_eq!(header(&response, "location"), None);
}

#[tokio::test]
async fn an_outage_is_never_a_redirect() {
    let world = world();
    let layer = world.layer.with_rejection(RedirectToLogin::to("/login").unwrap());
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
    let mut request = navigation("/orders");
    request.headers_mut().insert("cookie", cookie);
    let response = send(&who(&layer), request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "location"), None);
}

#[tokio::test]
async fn next_is_the_address_to_the_byte_whatever_is_in_it() {
    for address in [
        "/",
        "/orders?page=2&sort=up",
        "/a%20b/%2e%2e/c?next=//evil.example",
        "/caf%C3%A9?x=%26%3D%23+1",
        "/~alice/%00",
        "/a/b;c=d?e",
        "/https://evil.example",
        "/?",
    ] {
        let response = send(&who(&redirecting()), navigation(address)).await;
        let (target, next) = followed(&response);
        assert_eq!(target.path(), "/login", "{address}");
        assert_eq!(next.as_deref(), Some(address));
        assert_eq!(target.query_pairs().count(), 1, "{address} smuggles nothing in");
    }
}

#[tokio::test]
async fn next_is_never_an_address_of_another_site() {
    for address in ["//evil.example", "//evil.example/orders?x", "///evil.example", "//"] {
        let response = send(&who(&redirecting()), navigation(address)).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{address}");
        let (target, next) = followed(&response);
        assert_eq!((target.path(), next), ("/login", None), "{address}");
    }
    // A request to a proxy, or of HTTP/2, has the whole address.
    let absolute = navigation("http://evil.example/orders?page=2");
    let (target, next) = followed(&send(&who(&redirecting()), absolute).await);
    assert_eq!(target.origin(), Url::parse(SITE).unwrap().origin());
    assert_eq!(next.as_deref(), Some("/orders?page=2"));
}

#[test]
fn a_login_handler_accepts_only_addresses_of_its_own_site() {
    for local in ["/", "/orders?page=2", "/a//b", "/https://x", "/caf\u{e9}", "/%5cevil"] {
        assert_eq!(rejection::local_address(local), Some(local));
    }
    for foreign in [
        "",
        "orders",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/a b",
        "/a\\..\\b",
        "/\u{85}/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
    ] {
        assert_eq!(rejection::local_address(foreign), None, "{foreign:?}");
    }
}

#[tokio::test]
async fn next_is_added_to_the_query_that_the_login_page_has() {
    for (login, expected) in [
        ("/login?lang=de", "/login?lang=de&next=/orders"),
        ("https://id.example/login", "https://id.example/login?next=/orders"),
        ("/login?lang=de#form", "/login?lang=de&next=/orders#form"),
    ] {
        let layer = world().layer.with_rejection(RedirectToLogin::to(login).unwrap());
        let response = send(&who(&layer), navigation("/orders")).await;
        assert_eq!(header(&response, "location"), Some(expected));
    }
}

#[tokio::test]
async fn next_is_the_address_as_the_outermost_mount_saw_it() {
    let sessions = world().layer;
    let orders = Router::new()
        .route("/orders", routing::get(async || "orders"))
        .layer(sessions.with_rejection(RedirectToLogin::to("/login").unwrap()));
    let site = Router::new()
        .nest("/admin", Router::new().nest("/club", orders))
        .layer(sessions.optional());
    let response = site.oneshot(navigation("/admin/club/orders?page=2")).await.unwrap();
    let (_, next) = followed(&response);
    assert_eq!(next.as_deref(), Some("/admin/club/orders?page=2"));
}

/// A mount of any session layer around it sees the address first.
#[tokio::test]
async fn next_loses_no_prefix_to_a_mount_of_another_configuration() {
    let members = world_with(|builder| builder.cookie(SessionCookie::new("__Host-member"))).layer;
    let orders = Router::new()
        .route("/orders", routing::get(async || "orders"))
        .layer(members.with_rejection(RedirectToLogin::to("/login").unwrap()));
    let site = Router::new().nest("/admin", orders).layer(world().layer.optional());
    let response = site.oneshot(navigation("/admin/orders")).await.unwrap();
    let (_, next) = followed(&response);
    assert_eq!(next.as_deref(), Some("/admin/orders"));
}

#[tokio::test]
async fn a_user_who_is_signed_in_is_not_redirected() {
    let world = world();
    let layer = world.layer.with_rejection(RedirectToLogin::to("/login").unwrap());
    let cookie = world.signed_in("alice").await;
    let response = visit(&who(&layer), &cookie).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// What a handshake can't deliver is an error at the call, and nothing is stored.
#[tokio::test]
async fn a_websocket_handshake_neither_logs_in_nor_rotates() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let handler = app(&world.layer, |session| async move {
        let errors = [session.log_in("bob").unwrap_err(), session.rotate().unwrap_err()];
        text(format!("{:?}", errors.map(|error| error.kind())))
    });
    let before = world.store_calls();
    let handshake = with(request(Method::GET, &[("upgrade", "websocket")]), "cookie", {
        cookie.to_str().unwrap()
    });
    let response = send(&handler, handshake).await;
    assert_eq!(header(&response, "set-cookie"), None);
    assert_eq!(body(response).await, "[WebSocket, WebSocket]");
    assert_eq!(world.store_calls() - before, 1, "the look-up alone");
}

#[test]
fn an_address_that_no_browser_can_be_sent_to_is_a_configuration_error() {
    for login in [
        "",
        "login",
        "//evil.example/login",
        "/\\evil.example",
        "/log in",
        "/caf\u{e9}",
        "/login\r\nset-cookie: a=b",
        "/login\u{7f}",
        "javascript:alert(1)",
        "ftp://id.example/login",
        "https://",
        "https:///login",
        "https://?next=/",
        "https:/login",
    ] {
        let error = RedirectToLogin::to(login).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::LoginAddress, "{login:?}");
        assert!(error.to_string().contains("`/login`"), "{error}");
    }
    for login in ["/", "/login", "/a/b?c=/d#e", "/caf%C3%A9", "https://id.example", "http://[::1]/"]
    {
        RedirectToLogin::to(login).unwrap();
        RedirectToLogin::to(login.to_owned()).unwrap();
    }
}

/// It is to be open to everybody; where it is not, the browser is not sent round in circles.
#[tokio::test]
async fn the_login_page_is_not_redirected_to_itself() {
    for login in ["/login", "/login?lang=de", "/login?lang=de#form", "/login#form"] {
        let layer = world().layer.with_rejection(RedirectToLogin::to(login).unwrap());
        for address in ["/login", "/login?next=/orders", "/login?lang=de&next=/"] {
            let response = send(&who(&layer), navigation(address)).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{address} at {login}");
            assert!(header(&response, "www-authenticate").is_some());
        }
        for address in ["/", "/login/", "/login/help", "/logins", "/orders?/login"] {
            let response = send(&who(&layer), navigation(address)).await;
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{address} at {login}");
        }
    }
    // The page of this name on another site is another one.
    let elsewhere = RedirectToLogin::to("https://id.example/").unwrap();
    let response = send(&who(&world().layer.with_rejection(elsewhere)), navigation("/")).await;
    assert_eq!(header(&response, "location"), Some("https://id.example/?next=/"));
}
