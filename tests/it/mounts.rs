//! One configuration, many mounts; several configurations.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, routing};
use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_wristband::{
    Access, RedirectToLogin, Rejection, RejectionKind, RejectionResponse, Session, SessionCookie,
    SessionLayer,
    testing::{Fault, Operation, cookie_from},
};

use crate::support::{
    App, World, app, around, body, cookies_set, counted, get, get_with, header, send, text, visit,
    who, with, world, world_with,
};

/// A world whose cookie has this name.
fn named(name: &str) -> World {
    world_with(|builder| builder.cookie(SessionCookie::new(name)))
}

/// An application that adds one to a field of its session.
fn counter(layer: &SessionLayer) -> App {
    app(layer, |session| async move {
        let n: u32 = session.get("n").unwrap().unwrap_or(0) + 1;
        session.insert("n", &n).unwrap();
        text(n.to_string())
    })
}

#[tokio::test]
async fn nested_mounts_of_one_configuration_cost_one_load_and_one_commit() {
    for loads in [Fault::None, Fault::Pending] {
        let world = world();
        world.faults.always(Operation::Load, loads);
        let cookie = world.signed_in("alice").await;
        let any = world.layer.with_access(Access::AnySession);
        let nested = around(&world.layer.optional(), around(&any, counter(&world.layer)));
        for expected in ["1", "2"] {
            let before = world.store_calls();
            let updates = world.faults.calls(Operation::Update);
            let response = visit(&nested, &cookie).await;
            assert_eq!(cookies_set(&response), 0);
            assert_eq!(body(response).await, expected);
            assert_eq!(world.store_calls() - before, 2, "one load, one update");
            assert_eq!(world.faults.calls(Operation::Update) - updates, 1);
        }
    }
}

#[tokio::test]
async fn nested_mounts_create_one_session_with_one_cookie() {
    let world = world();
    let optional = world.layer.optional();
    let nested = around(&optional, around(&optional, counter(&optional)));
    let response = send(&nested, get("/")).await;
    assert_eq!(cookies_set(&response), 1);
    assert_eq!(world.store_calls(), 1, "one create");
    let cookie = cookie_from(&response).unwrap();
    assert_eq!(body(visit(&nested, &cookie).await).await, "2");
}

#[tokio::test]
async fn each_mount_demands_what_it_says_wherever_it_is_nested() {
    let world = world();
    let (alice, anonymous) = (world.signed_in("alice").await, world.anonymous().await);
    let mount = |access| world.layer.with_access(access);
    for (outer, inner, expected) in [
        // Without a cookie, with an anonymous session, signed in.
        (Access::Optional, Access::SignedIn, [401, 401, 200]),
        (Access::Optional, Access::AnySession, [401, 200, 200]),
        (Access::AnySession, Access::SignedIn, [401, 401, 200]),
        (Access::SignedIn, Access::Optional, [401, 401, 200]),
        (Access::Optional, Access::Optional, [200, 200, 200]),
    ] {
        let (inner_app, calls) = counted(who(&mount(Access::Optional)));
        let nested = around(&mount(outer), around(&mount(inner), inner_app));
        let requests = [get("/"), get_with("/", &anonymous), get_with("/", &alice)];
        for (request, status) in requests.into_iter().zip(expected) {
            let before = calls.load(Ordering::SeqCst);
            let response = send(&nested, request).await;
            assert_eq!(response.status(), status, "{inner:?} in {outer:?}");
            if status == 401 {
                assert!(header(&response, "www-authenticate").is_some());
            }
            assert_eq!(calls.load(Ordering::SeqCst) - before, usize::from(status == 200));
        }
    }
}

#[tokio::test]
async fn an_inner_mount_refuses_in_its_own_way() {
    let world = world();
    let pages = world.layer.with_rejection(RedirectToLogin::to("/login").unwrap());
    let nested = around(&world.layer.optional(), who(&pages));
    let response = send(&nested, with(get("/"), "accept", "text/html")).await;
    assert_eq!(header(&response, "location"), Some("/login?next=/"));
}

/// What a middleware between two mounts does to the session counts at the inner one.
#[tokio::test]
async fn an_inner_mount_sees_what_was_done_to_the_session_outside_of_it() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let inner = who(&world.layer);
    for (log_out, expected) in [(true, StatusCode::UNAUTHORIZED), (false, StatusCode::OK)] {
        let inner = inner.clone();
        let between = service_fn(move |request: Request<Body>| {
            let inner = inner.clone();
            async move {
                let session = Session::of(request.extensions()).unwrap().clone();
                if log_out {
                    session.log_out().await.unwrap();
                } else {
                    session.log_in("bob").unwrap();
                }
                inner.oneshot(request).await
            }
        });
        let nested = around(&world.layer.optional(), BoxCloneSyncService::new(between));
        let request = if log_out { get_with("/", &cookie) } else { get("/") };
        assert_eq!(send(&nested, request).await.status(), expected);
    }
}

#[tokio::test]
async fn two_configurations_with_different_names_work_beside_each_other() {
    let (a, b) = (named("__Host-a"), named("__Host-b"));
    let both = |first: &SessionLayer, second: &SessionLayer, third: &SessionLayer| {
        around(first, around(second, counter(third)))
    };
    let (outer, inner) = (a.layer.optional(), b.layer.optional());

    // The handler writes the innermost one's session; A inside B inside A is A's again.
    let response = send(&around(&outer, counter(&inner)), get("/")).await;
    let cookie = cookie_from(&response).unwrap();
    assert!(cookie.to_str().unwrap().starts_with("__Host-b="), "B's alone");
    assert_eq!((a.living().await, b.living().await), (0, 1));

    let aba = both(&outer, &inner, &outer);
    let response = send(&aba, get("/")).await;
    let cookie = cookie_from(&response).unwrap();
    assert!(cookie.to_str().unwrap().starts_with("__Host-a="), "A's alone");
    assert_eq!((a.living().await, b.living().await), (1, 1));

    let (a_before, b_before) = (a.store_calls(), b.store_calls());
    let response = visit(&aba, &cookie).await;
    assert_eq!(body(response).await, "2");
    assert_eq!(a.store_calls() - a_before, 2, "one load and one commit for both mounts of A");
    assert_eq!(b.store_calls() - b_before, 0);
}

#[tokio::test]
async fn each_of_two_configurations_demands_its_own_session() {
    let (a, b) = (named("__Host-a"), named("__Host-b"));
    let nested = around(&a.layer, who(&b.layer));
    let (alice, bob) = (a.signed_in("alice").await, b.signed_in("bob").await);
    assert_eq!(visit(&nested, &alice).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(visit(&nested, &bob).await.status(), StatusCode::UNAUTHORIZED);
    let mut request = get_with("/", &alice);
    request.headers_mut().append(COOKIE, bob);
    assert_eq!(body(send(&nested, request).await).await, "bob", "the innermost one's");
}

#[tokio::test]
async fn two_configurations_may_both_set_a_cookie_in_one_response() {
    let (a, b) = (named("__Host-a"), named("__Host-b"));
    let inner = counter(&b.layer.optional());
    let between = service_fn(move |request: Request<Body>| {
        Session::of(request.extensions()).unwrap().log_in("alice").unwrap();
        inner.clone().oneshot(request)
    });
    let nested = around(&a.layer.optional(), BoxCloneSyncService::new(between));
    let response = send(&nested, get("/")).await;
    assert_eq!(cookies_set(&response), 2);
    let cookies = cookie_from(&response).unwrap();
    assert_eq!(body(visit(&who(&a.layer), &cookies).await).await, "alice");
    assert_eq!(body(visit(&nested, &cookies).await).await, "2");
}

/// A service that asks for no session.
fn text_alone() -> App {
    BoxCloneSyncService::new(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(text("served"))
    }))
}

#[tokio::test]
async fn two_configurations_with_one_name_are_found_out_at_the_first_request() {
    let (one, other) = (world(), world());
    let between = named("__Host-between").layer.optional();
    let (outer, inner) = (one.layer.optional(), other.layer.optional());
    let (service, calls) = counted(text_alone());
    let innermost = around(&inner, service);
    for nested in [
        around(&outer, innermost.clone()),
        // Hidden behind a third.
        around(&outer, around(&between, innermost.clone())),
        around(&outer, around(&between, around(&outer, innermost.clone()))),
        // With the outer one on both sides.
        around(&outer, around(&inner, around(&outer, innermost))),
    ] {
        for request in [get("/"), get_with("/", &one.signed_in("alice").await)] {
            let response = send(&nested, request).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let kind = response.extensions().get::<RejectionKind>();
            assert_eq!(kind, Some(&RejectionKind::Misconfigured));
            assert_eq!(cookies_set(&response), 0);
            assert_eq!(body(response).await, "");
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert_eq!(other.store_calls(), 0);
}

#[tokio::test]
async fn a_mount_decides_by_method_and_address() {
    let world = world();
    let guarded = world.layer.with_access_by(|method, uri| match (method.as_str(), uri.path()) {
        (_, "/login") | ("GET", "/") => Access::Optional,
        ("GET", "/cart") => Access::AnySession,
        _ => Access::SignedIn,
    });
    let (alice, anonymous) = (world.signed_in("alice").await, world.anonymous().await);
    // Both as the only mount and inside of another one.
    for service in [who(&guarded), around(&world.layer.optional(), who(&guarded))] {
        for (method, path, expected) in [
            ("GET", "/", [200, 200, 200]),
            ("POST", "/", [401, 401, 200]),
            ("POST", "/login", [200, 200, 200]),
            ("GET", "/cart?x=/login", [401, 200, 200]),
            ("GET", "/%6cogin", [401, 401, 200]),
            ("GET", "/login/", [401, 401, 200]),
        ] {
            let requests = [get(path), get_with(path, &anonymous), get_with(path, &alice)];
            for (mut request, status) in requests.into_iter().zip(expected) {
                *request.method_mut() = method.parse().unwrap();
                let response = send(&service, request).await;
                assert_eq!(response.status(), status, "{method} {path}");
            }
        }
    }
}

/// What the documentation warns of: axum's `nest` takes the prefix off the address that a layer sees.
#[tokio::test]
async fn a_rule_inside_of_nest_takes_an_admins_login_page_for_the_public_one() {
    let world = world();
    let guarded = world.layer.with_access_by(|_, uri| match uri.path() {
        "/login" => Access::Optional,
        _ => Access::SignedIn,
    });
    let admin = || Router::new().route("/login", routing::get(async || "secret"));
    let inside = Router::new().nest("/admin", admin().layer(guarded.clone()));
    let outside = Router::new().nest("/admin", admin()).layer(guarded);
    for (router, expected) in [(inside, StatusCode::OK), (outside, StatusCode::UNAUTHORIZED)] {
        let response = router.oneshot(get("/admin/login")).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn a_layer_and_its_clones_are_one_configuration() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let derived = world.layer.clone().optional().with_access(Access::SignedIn).clone();
    let before = world.store_calls();
    let response = visit(&around(&world.layer.clone(), who(&derived)), &cookie).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(world.store_calls() - before, 1);
}

/// A rejection that can't be cloned is no obstacle to clones of the layer and of the service.
#[tokio::test]
async fn a_layer_is_cloned_without_its_rejection() {
    struct Unique;
    impl RejectionResponse<Body> for Unique {
        fn response(&self, rejection: &Rejection<'_>) -> Response<Body> {
            rejection.response(Body::from("unique"))
        }
    }
    let layer = world().layer.with_rejection(Unique);
    let response = send(&who(&layer.clone()), get("/")).await;
    assert_eq!(body(response).await, "unique");
}

/// The `Cookie` lines that the inner service sees.
fn lines_seen(layer: &SessionLayer) -> App {
    let service = service_fn(async |request: Request<Body>| {
        let lines: Vec<_> = request
            .headers()
            .get_all(COOKIE)
            .iter()
            .map(|line| format!("{}{}", line.to_str().unwrap(), mark(line)))
            .collect();
        Ok::<_, Infallible>(text(lines.join(" | ")))
    });
    BoxCloneSyncService::new(layer.layer(service))
}

fn mark(line: &HeaderValue) -> &'static str {
    if line.is_sensitive() { " (sensitive)" } else { "" }
}

#[tokio::test]
async fn lines_that_hold_our_cookie_are_marked_sensitive() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let cookie = cookie.to_str().unwrap();
    let request = with(with(get("/"), "cookie", "theme=dark"), "cookie", cookie);
    let seen = body(send(&lines_seen(&world.layer), request).await).await;
    assert_eq!(seen, format!("theme=dark | {cookie} (sensitive)"));
}

#[tokio::test]
async fn a_proxy_forwards_every_cookie_but_ours() {
    let world = world_with(|builder| builder.forward_cookie(false));
    let service = lines_seen(&world.layer.optional());
    let cookie = world.signed_in("alice").await;
    let ours = cookie.to_str().unwrap();
    for (lines, expected) in [
        (vec![ours], ""),
        (vec!["theme=dark"], "theme=dark"),
        (vec![&format!("a=1; {ours}; b=2")[..], "c=3;d=4"], "a=1; b=2 (sensitive) | c=3;d=4"),
        (vec![&format!("{ours}; {ours}")[..], "a=1"], "a=1"),
        (vec!["__Host-session=club; __host-session=1"], "__host-session=1 (sensitive)"),
        (vec!["__Host-sessions=1; x__Host-session=2"], "__Host-sessions=1; x__Host-session=2"),
    ] {
        let request = lines.iter().fold(get("/"), |request, line| with(request, "cookie", line));
        assert_eq!(body(send(&service, request).await).await, expected, "{lines:?}");
    }
    assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice", "it is read");
}

/// What the documentation says that a proxy has to do itself.
#[tokio::test]
async fn a_cookie_that_an_upstream_sets_is_passed_on_whatever_its_name() {
    let world = world_with(|builder| builder.forward_cookie(false));
    let cookie = world.signed_in("alice").await;
    let upstream = app(&world.layer, async |_| {
        let mut response = text("");
        response.headers_mut().insert("set-cookie", "__Host-session=theirs".parse().unwrap());
        response
    });
    let response = visit(&upstream, &cookie).await;
    assert_eq!(header(&response, "set-cookie"), Some("__Host-session=theirs"));
}

#[derive(Debug, PartialEq)]
struct OutOfCoffee;

#[tokio::test]
async fn an_error_of_the_inner_service_comes_out_unchanged() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let service = world.layer.layer(service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let session = Session::of(request.extensions()).unwrap().clone();
        session.insert("n", &1).unwrap();
        async { Err::<Response<Body>, _>(OutOfCoffee) }
    }));
    for pending in [Fault::None, Fault::Pending] {
        world.faults.next(Operation::Load, pending);
        let before = world.store_calls();
        let error = service.clone().oneshot(get_with("/", &cookie)).await.unwrap_err();
        assert_eq!(error, OutOfCoffee);
        assert_eq!(world.store_calls() - before, 1, "what it wrote is dropped");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
