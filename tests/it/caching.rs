//! What caches and the browser are told, beside what the handler tells them.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode, header::SET_COOKIE};
use tower_wristband::{Session, testing::cookie_from};

use crate::support::{
    App, World, app, body, cookies_set, get, send, text, visit, who, world, world_with,
};

/// What a handler does with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Read,
    Write,
    /// It writes although there is no session.
    Create,
    Rotate,
    LogIn,
    LogOut,
}

impl Does {
    const SETTING_OR_REMOVING: [Self; 4] = [Self::Create, Self::Rotate, Self::LogIn, Self::LogOut];

    async fn carry_out(self, session: Session) {
        match self {
            Self::Nothing => {}
            Self::Read => assert!(session.user_id().is_some()),
            Self::Write | Self::Create => session.insert("n", &1).unwrap(),
            Self::Rotate => session.rotate().unwrap(),
            Self::LogIn => session.log_in("alice").unwrap(),
            Self::LogOut => session.log_out().await.unwrap(),
        }
    }
}

type Lines = &'static [(&'static str, &'static str)];

/// An application that does this, and answers with these headers.
fn service(world: &World, does: Does, status: StatusCode, lines: Lines) -> App {
    app(&world.layer.optional(), move |session| async move {
        does.carry_out(session).await;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        for (name, value) in lines {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

/// What a signed-in user gets, or to create a session, a visitor.
async fn response(does: Does, status: StatusCode, lines: Lines) -> Response<Body> {
    let world = world();
    let service = service(&world, does, status, lines);
    match does {
        Does::Create => send(&service, get("/")).await,
        _ => visit(&service, &world.signed_in("alice").await).await,
    }
}

/// The headers of that, the session cookie's line left out.
async fn answer(does: Does, status: StatusCode, lines: Lines) -> HeaderMap {
    let response = response(does, status, lines).await;
    assert_eq!(response.status(), status);
    let sets = Does::SETTING_OR_REMOVING.contains(&does);
    let mut headers = response.headers().clone();
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    let is_ours = |line: &http::HeaderValue| line.as_bytes().starts_with(b"__Host-session=");
    assert_eq!(cookies.iter().filter(|line| is_ours(line)).count(), usize::from(sets), "{does:?}");
    headers.remove(SET_COOKIE);
    for other in cookies.into_iter().filter(|line| !is_ours(line)) {
        headers.append(SET_COOKIE, other);
    }
    headers
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn a_response_that_sets_or_removes_the_cookie_is_not_stored_by_any_cache() {
    for does in Does::SETTING_OR_REMOVING {
        for (lines, expected) in [
            (&[][..], &[("cache-control", "no-store")][..]),
            (&[("cache-control", "public, max-age=600")], &[("cache-control", "no-store")]),
            (
                &[("cache-control", "private, s-maxage=9, must-revalidate")],
                &[("cache-control", "no-store, private, must-revalidate")],
            ),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("cdn-cache-control", "max-age=60"),
                    ("cloudflare-cdn-cache-control", "public"),
                    ("surrogate-control", "max-age=60"),
                ],
                &[
                    ("cache-control", "no-store"),
                    ("cdn-cache-control", "no-store"),
                    ("cloudflare-cdn-cache-control", "no-store"),
                    ("surrogate-control", "no-store"),
                ],
            ),
        ] {
            let mut headers = answer(does, StatusCode::OK, lines).await;
            headers.remove("vary");
            assert_eq!(headers, map(expected), "{does:?} {lines:?}");
        }
    }
}

#[tokio::test]
async fn a_response_that_depended_on_the_session_is_private_unless_the_handler_decided() {
    for does in [Does::Read, Does::Write] {
        for (lines, expected) in [
            (&[][..], "private"),
            (&[("cache-control", "public, max-age=60")], "public, max-age=60"),
            (&[("cache-control", "no-cache")], "no-cache"),
        ] {
            let headers = answer(does, StatusCode::OK, lines).await;
            assert_eq!(headers["cache-control"], expected, "{does:?}");
            assert_eq!(headers["vary"], "Cookie");
        }
        let targeted = answer(does, StatusCode::OK, &[("cdn-cache-control", "max-age=60")]).await;
        assert_eq!(targeted["cdn-cache-control"], "max-age=60", "the handler decided");
    }
}

#[tokio::test]
async fn vary_is_merged_with_the_handlers() {
    for (lines, expected) in [
        (&[][..], &["Cookie"][..]),
        (&[("vary", "Accept")], &["Accept, Cookie"]),
        (&[("vary", "accept, COOKIE")], &["accept, COOKIE"]),
        (&[("vary", "*")], &["*"]),
        (&[("vary", "Accept"), ("vary", "cookie")], &["Accept", "cookie"]),
        (&[("vary", "Accept"), ("vary", "Origin")], &["Accept, Cookie", "Origin"]),
    ] {
        for does in [Does::Read, Does::Write, Does::Rotate, Does::LogIn, Does::LogOut] {
            let headers = answer(does, StatusCode::OK, lines).await;
            let vary: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(vary, expected, "{does:?}");
        }
    }
}

#[tokio::test]
async fn a_response_that_did_not_look_at_the_session_is_left_alone() {
    let lines = &[("vary", "Accept"), ("etag", "\"1\"")];
    assert_eq!(answer(Does::Nothing, StatusCode::OK, lines).await, map(lines));
    assert_eq!(answer(Does::Nothing, StatusCode::OK, &[]).await, HeaderMap::new());
}

/// Whether it comes out at all depends on the cookie.
#[tokio::test]
async fn what_is_behind_a_demand_depends_on_the_session_although_no_handler_looks_at_it() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let service = app(&world.layer, |_| async { text("members only") });
    let response = visit(&service, &cookie).await;
    assert_eq!(*response.headers(), map(&[("vary", "Cookie"), ("cache-control", "private")]));
}

/// A cache updates what it has stored with the headers of a 304 (RFC 9111, section 3.2).
#[tokio::test]
async fn a_304_says_the_same_as_a_200() {
    let lines = &[("cache-control", "public, max-age=60"), ("etag", "\"1\"")];
    let headers = answer(Does::Rotate, StatusCode::NOT_MODIFIED, lines).await;
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["vary"], "Cookie");
    let headers = answer(Does::Read, StatusCode::NOT_MODIFIED, &[]).await;
    assert_eq!(headers["cache-control"], "private");
    assert_eq!(headers["vary"], "Cookie");
}

#[tokio::test]
async fn cookies_of_the_handler_are_passed_on_to_the_byte_and_in_order() {
    const LINES: Lines = &[
        ("set-cookie", "b=2; Path=/x; HttpOnly"),
        ("set-cookie", "__Host-sessions=1;Secure ; path=/"),
        ("set-cookie", "a=\"1\";Max-Age=0"),
        ("set-cookie", "__host-session=other; Path=/; Secure"),
        ("set-cookie", "b=3"),
    ];
    let expected: Vec<_> = LINES.iter().map(|(_, value)| *value).collect();
    for does in [Does::Nothing, Does::Read, Does::Rotate, Does::LogIn, Does::LogOut] {
        let headers = answer(does, StatusCode::OK, LINES).await;
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, expected, "{does:?}");
    }
}

/// A browser must not get two of one name (RFC 6265bis, section 4.1.1).
#[tokio::test]
async fn a_cookie_that_the_handler_gave_our_name_makes_way_for_ours() {
    const LINES: Lines = &[
        ("set-cookie", "a=1"),
        ("set-cookie", "__Host-session=hand-made; Path=/; Secure"),
        ("set-cookie", "__Host-session=; Max-Age=0"),
        ("set-cookie", "b=2"),
    ];
    for does in Does::SETTING_OR_REMOVING {
        let response = response(does, StatusCode::OK, LINES).await;
        let lines: Vec<_> =
            response.headers().get_all(SET_COOKIE).iter().map(|l| l.to_str().unwrap()).collect();
        assert_eq!(lines.len(), 3, "{does:?}: {lines:?}");
        assert_eq!(lines[..2], ["a=1", "b=2"]);
        assert!(lines[2].contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{lines:?}");
    }
}

#[tokio::test]
async fn there_is_one_cookie_however_much_a_handler_does() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let busy = app(&world.layer.optional(), |session| async move {
        session.rotate().unwrap();
        session.save().await.unwrap();
        session.rotate().unwrap();
        session.insert("n", &1).unwrap();
        session.save().await.unwrap();
        session.log_out().await.unwrap();
        session.log_in("bob").unwrap();
        session.save().await.unwrap();
        session.rotate().unwrap();
        text("busy")
    });
    let response = visit(&busy, &cookie).await;
    assert_eq!(cookies_set(&response), 1);
    let cookie = cookie_from(&response).unwrap();
    let response = visit(&who(&world.layer), &cookie).await;
    assert_eq!(body(response).await, "bob");
}

fn clearing() -> World {
    world_with(|builder| builder.clear_site_data(true))
}

#[tokio::test]
async fn site_data_is_cleared_by_a_logout_alone() {
    for does in [Does::Nothing, Does::Read, Does::Write, Does::Rotate, Does::LogIn, Does::LogOut] {
        let world = clearing();
        let cookie = world.signed_in("alice").await;
        let response = visit(&service(&world, does, StatusCode::OK, &[]), &cookie).await;
        let cleared = response.headers().get("clear-site-data");
        let expected = (does == Does::LogOut).then_some(r#""cache", "cookies", "storage""#);
        assert_eq!(cleared.map(|value| value.to_str().unwrap()), expected, "{does:?}");
    }
    let world = clearing();
    let response = send(&who(&world.layer), get("/")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key("clear-site-data"), "a refusal clears nothing");
}

#[tokio::test]
async fn site_data_is_not_cleared_unless_that_was_asked_for() {
    assert!(!answer(Does::LogOut, StatusCode::OK, &[]).await.contains_key("clear-site-data"));
}

#[tokio::test]
async fn site_data_is_never_cleared_beside_a_fresh_cookie() {
    let world = clearing();
    let cookie = world.signed_in("alice").await;
    let swap = app(&world.layer.optional(), |session| async move {
        session.log_out().await.unwrap();
        session.log_in("bob").unwrap();
        text("swapped")
    });
    let response = visit(&swap, &cookie).await;
    assert_eq!(cookies_set(&response), 1);
    assert!(!response.headers().contains_key("clear-site-data"));
}
