//! The session cookie as a browser gets it and gives it back.

use std::time::Duration;

use axum::body::Body;
use cookie_store::CookieStore;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use tower_wristband::{
    Lifetime, RedirectToLogin, SessionCookie, StoreErrorKind,
    cookie::SameSite,
    testing::{Fault, Operation, cookie_from},
};
use url::Url;

use crate::support::{
    App, World, app, body, cookies_set, get, get_with, header, send, status, text, visit, who,
    with, world, world_with,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: u64 = 24 * 60 * 60;

fn login(world: &World) -> App {
    app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("welcome")
    })
}

fn rotation(world: &World) -> App {
    app(&world.layer.optional(), |session| async move {
        session.rotate().unwrap();
        text("rotated")
    })
}

fn logout(world: &World) -> App {
    app(&world.layer.optional(), |session| async move {
        session.log_out().await.unwrap();
        status(StatusCode::NO_CONTENT)
    })
}

/// The value and the rest of the one cookie.
fn set_cookie(response: &Response<Body>) -> (&str, &str) {
    let line = header(response, "set-cookie").expect("a cookie");
    let (pair, attributes) = line.split_once("; ").expect("attributes");
    (pair.split_once('=').expect("a value").1, attributes)
}

#[tokio::test]
async fn the_default_cookie_has_every_protective_attribute() {
    let world = world();
    let response = send(&login(&world), get("/")).await;
    let line = header(&response, "set-cookie").unwrap();
    assert!(line.starts_with("__Host-session="), "{line}");
    let (token, attributes) = set_cookie(&response);
    assert_eq!(token.len(), 64);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=86400");
    assert!(response.headers()[SET_COOKIE].is_sensitive());
}

#[tokio::test]
async fn no_cookie_is_set_while_the_token_stays_the_same() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let write = app(&world.layer, |session| async move {
        session.insert("n", &1).unwrap();
        session.set_label("Firefox").unwrap();
        text("")
    });
    world.clock.advance(HOUR / 2);
    for service in [who(&world.layer), write] {
        let response = visit(&service, &cookie).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(cookies_set(&response), 0);
    }
}

#[tokio::test]
async fn max_age_is_what_is_left_of_the_absolute_lifetime_rounded_up() {
    let world = world();
    let mut cookie = world.signed_in("alice").await;
    for (later, expected) in [
        (Duration::from_millis(1), DAY),
        (Duration::from_millis(999), DAY - 1),
        (Duration::from_millis(1), DAY - 1),
        (HOUR / 2, DAY - 1 - 1800),
        (HOUR / 2, DAY - 1 - 3600),
    ] {
        world.clock.advance(later);
        let response = visit(&rotation(&world), &cookie).await;
        let expected = format!("Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={expected}");
        assert_eq!(set_cookie(&response).1, expected);
        cookie = cookie_from(&response).unwrap();
    }
}

#[tokio::test]
async fn the_session_ends_when_its_cookie_does_and_not_before() {
    let lifetime = Lifetime::new(Duration::from_secs(100), Duration::from_secs(100));
    let world = world_with(|builder| builder.lifetime(lifetime));
    let response = send(&login(&world), get("/")).await;
    assert!(set_cookie(&response).1.ends_with("; Max-Age=100"));
    let cookie = cookie_from(&response).unwrap();
    world.clock.advance(Duration::from_millis(99_999));
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
    // Whoever keeps the cookie all the same gets nothing for it.
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_cookie_until_the_browser_closes_has_no_term() {
    let world = world_with(|builder| builder.lifetime(Lifetime::AAL2.until_browser_closes()));
    let response = send(&login(&world), get("/")).await;
    assert_eq!(set_cookie(&response).1, "Path=/; Secure; HttpOnly; SameSite=Lax");
    let response = visit(&rotation(&world), &cookie_from(&response).unwrap()).await;
    assert_eq!(set_cookie(&response).1, "Path=/; Secure; HttpOnly; SameSite=Lax");
}

#[tokio::test]
async fn another_lifetime_gives_the_browser_a_new_token_with_the_new_term() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    for (lifetime, expected) in [
        (Lifetime::AAL1, format!("; Max-Age={}", 30 * DAY - 60)),
        (Lifetime::AAL3, format!("; Max-Age={}", DAY / 2 - 60)),
        (Lifetime::AAL1.until_browser_closes(), "; SameSite=Lax".to_owned()),
    ] {
        let world = &world;
        let cookie = world.signed_in("alice").await;
        world.clock.advance(Duration::from_secs(60));
        let remember = app(&world.layer, move |session| async move {
            session.set_lifetime(lifetime).unwrap();
            text("")
        });
        let response = visit(&remember, &cookie).await;
        assert!(set_cookie(&response).1.ends_with(&expected), "{:?}", set_cookie(&response));
        let fresh = cookie_from(&response).unwrap();
        assert_ne!(fresh, cookie);
        assert_eq!(visit(&who(&world.layer), &fresh).await.status(), StatusCode::OK);
        assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
}

/// A real cookie jar at this address.
struct Browser {
    jar: CookieStore,
    url: Url,
}

impl Browser {
    fn at(url: &str) -> Self {
        Self { jar: CookieStore::default(), url: Url::parse(url).unwrap() }
    }

    /// What it sends, or `None` if it has no cookie for the address.
    fn cookies(&self) -> Option<String> {
        let pairs: Vec<_> = self
            .jar
            .get_request_values(&self.url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    async fn visit(&mut self, service: &App) -> Response<Body> {
        let request = match self.cookies() {
            Some(cookies) => with(get(self.url.path()), "cookie", &cookies),
            None => get(self.url.path()),
        };
        let response = send(service, request).await;
        for line in response.headers().get_all(SET_COOKIE) {
            // What it refuses is not kept.
            let _ = self.jar.parse(line.to_str().unwrap(), &self.url);
        }
        response
    }
}

#[tokio::test]
async fn a_browser_keeps_the_cookie_and_a_logout_empties_its_jar() {
    for (cookie, url) in [
        (SessionCookie::default(), "https://club.example/"),
        (SessionCookie::new("id").with_path("/app"), "https://club.example/app/orders"),
        (
            SessionCookie::new("__Secure-id").with_domain("club.example"),
            "https://www.club.example/",
        ),
        (
            SessionCookie::new("__Host-id").with_same_site(SameSite::None).with_partitioned(),
            "https://club.example/",
        ),
        (SessionCookie::new("id").insecure_without_secure(), "http://club.example/"),
    ] {
        let world = world_with(|builder| builder.cookie(cookie.clone()));
        let mut browser = Browser::at(url);
        let response = browser.visit(&login(&world)).await;
        assert!(set_cookie(&response).1.starts_with(&cookie.attributes()));
        assert!(browser.cookies().is_some(), "{cookie:?} is kept");
        assert_eq!(browser.visit(&who(&world.layer)).await.status(), StatusCode::OK);

        let response = browser.visit(&logout(&world)).await;
        let (token, attributes) = set_cookie(&response);
        assert_eq!(token, "");
        let expired = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(attributes, cookie.attributes() + expired, "every attribute is repeated");
        assert_eq!(browser.cookies(), None, "{cookie:?} is removed");
        assert_eq!(browser.visit(&who(&world.layer)).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn only_a_logout_removes_the_cookie() {
    let world = world();
    let dead = world.signed_in("alice").await;
    world.layer.sessions().revoke_user(&"alice".parse().unwrap()).await.unwrap();
    for service in [who(&world.layer), who(&world.layer.optional())] {
        for cookie in [dead.to_str().unwrap(), "__Host-session=club", "__Host-session="] {
            let response = send(&service, with(get("/"), "cookie", cookie)).await;
            assert_eq!(cookies_set(&response), 0, "{cookie}");
        }
    }
    // A dead cookie is removed by a logout too; without one there is nothing to remove.
    assert_eq!(cookies_set(&visit(&logout(&world), &dead).await), 1);
    assert_eq!(cookies_set(&send(&logout(&world), get("/")).await), 0);
}

#[tokio::test]
async fn a_token_counts_in_the_cookie_alone() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let cookie = cookie.to_str().unwrap();
    let token = cookie.strip_prefix("__Host-session=").unwrap();
    let before = world.store_calls();
    let header = |name, value: String| with(get("/"), name, &value);
    let path = |path: String| -> Request<Body> { get(&path) };
    for request in [
        path(format!("/?__Host-session={token}")),
        path(format!("/?session={token}&id={token}")),
        path(format!("/{token}")),
        path(format!("/;__Host-session={token}")),
        header("authorization", format!("Bearer {token}")),
        header("authorization", format!("Cookie {token}")),
        header("x-session", token.to_owned()),
        header("__host-session", token.to_owned()),
        header("cookie2", cookie.to_owned()),
        header("set-cookie", cookie.to_owned()),
        // Other names, and other spellings of the value.
        header("cookie", format!("session={token}")),
        header("cookie", format!("__host-session={token}")),
        header("cookie", format!("__Host-session=\"{token}\"")),
        header("cookie", format!("__Host-session={token}=")),
        header("cookie", format!("__Host-session= {token}")),
        header("cookie", format!("__Host-session ={token}")),
        header("cookie", format!("x=__Host-session={token}")),
        // Some proxies join metadata of gRPC by commas.
        header("cookie", format!("a=1,{cookie}")),
        header("cookie", format!("{cookie},b=2")),
        header("cookie", format!("__Host-session={}", token.replace(&token[..1], "%41"))),
    ] {
        let what = format!("{} {:?}", request.uri(), request.headers());
        let response = send(&who(&world.layer), request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    assert_eq!(world.store_calls(), before, "none of them cost a store call");
    let response = send(&who(&world.layer), header("cookie", cookie.to_owned())).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_token_leaves_the_layer_in_set_cookie_alone() {
    let world = world();
    let response = send(&login(&world), get("/")).await;
    let token = set_cookie(&response).0.to_owned();
    let others = response.headers().iter().filter(|(name, _)| **name != SET_COOKIE);
    for (name, value) in others {
        assert!(!value.to_str().unwrap().contains(&token[..20]), "{name}");
    }
    assert!(!format!("{:?}", response.headers()).contains(&token[..20]), "it is sensitive");
}

#[tokio::test]
async fn no_answer_has_a_token_anywhere_but_in_set_cookie() {
    let world = world();
    let login_page = world.layer.with_rejection(RedirectToLogin::to("/login").unwrap());
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        let mut response = status(StatusCode::SEE_OTHER);
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/orders"));
        response
    });
    let mut cookies = vec![world.signed_in("alice").await];
    // What is done, and whether it comes with the first token, which a login replaces.
    for (what, service, comes_with_first, expected) in [
        ("a read", &who(&world.layer), false, StatusCode::OK),
        ("a login that leads elsewhere", &login, false, StatusCode::SEE_OTHER),
        ("a rotation", &rotation(&world), false, StatusCode::OK),
        ("a refusal", &who(&world.layer), true, StatusCode::UNAUTHORIZED),
        ("a refusal that leads elsewhere", &who(&login_page), true, StatusCode::SEE_OTHER),
        ("an outage", &who(&world.layer), false, StatusCode::SERVICE_UNAVAILABLE),
        ("a logout", &logout(&world), false, StatusCode::NO_CONTENT),
        ("a refusal after it", &who(&world.layer), false, StatusCode::UNAUTHORIZED),
    ] {
        if expected == StatusCode::SERVICE_UNAVAILABLE {
            world.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
        }
        let cookie = if comes_with_first { cookies.first() } else { cookies.last() };
        let request = with(get_with("/", cookie.unwrap()), "sec-fetch-mode", "navigate");
        let mut response = send(service, request).await;
        assert_eq!(response.status(), expected, "{what}");
        cookies.extend(cookie_from(&response));
        response.headers_mut().remove(SET_COOKIE);
        let mut said = String::new();
        for (name, value) in response.headers() {
            said += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        said += &body(response).await;
        for cookie in &cookies {
            let secret = &cookie.to_str().unwrap()["__Host-session=".len() + 22..];
            assert!(!said.contains(&secret[..20]), "{what}: {said}");
        }
    }
    assert_eq!(cookies.len(), 3);
}
