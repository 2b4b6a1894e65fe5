//! A configuration that can't work is refused when it is built, with words that help.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use tower_wristband::{
    Access, Clock, ConfigErrorKind, Lifetime, MemoryStore, SessionCookie, SessionErrorKind,
    SessionLayer, SessionLayerBuilder, StoreErrorKind,
    cookie::SameSite,
    testing::{self, Fault, ManualClock, Operation},
};

use crate::support::{app, get, send, text, visit, who, world, world_with};

fn builder() -> SessionLayerBuilder {
    SessionLayer::builder(MemoryStore::new())
}

/// Refused, for this reason, with a message that has each of these words.
#[track_caller]
fn refused(builder: SessionLayerBuilder, kind: ConfigErrorKind, words: &[&str]) {
    let printed = format!("{builder:?}");
    let error = builder.build().expect_err(&printed);
    assert_eq!(error.kind(), kind, "{error}: {printed}");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[track_caller]
fn accepted(builder: SessionLayerBuilder) {
    let printed = format!("{builder:?}");
    if let Err(error) = builder.build() {
        panic!("{error}: {printed}");
    }
}

#[test]
fn a_cookie_that_browsers_would_ignore_is_refused_with_what_to_do() {
    use ConfigErrorKind::{CookieAttributes, CookieDomain, CookieName, CookiePath};
    let cookie = |name: &str| SessionCookie::new(name);
    let plain = || cookie("session");
    let insecure = || plain().insecure_without_secure();
    let cases: [(SessionCookie, ConfigErrorKind, &[&str]); 19] = [
        (cookie(""), CookieName, &["empty", "__Host-session"]),
        (cookie("a b"), CookieName, &["\"a b\"", "letters"]),
        (cookie("a=b"), CookieName, &["\"a=b\""]),
        (cookie("naïve"), CookieName, &["ASCII"]),
        (cookie(&"a".repeat(4033)), CookieName, &["4032", "shorten"]),
        (cookie("__Host-id").with_path("/app"), CookieName, &["`__Host-id`", "`__Secure-`"]),
        (cookie("__HOST-id").with_domain("x.test"), CookieName, &["Domain", "`__Secure-`"]),
        (cookie("__Host-id").insecure_without_secure(), CookieName, &["`session`"]),
        (cookie("__secure-id").insecure_without_secure(), CookieName, &["without `Secure`"]),
        (cookie("__Http-id").insecure_without_secure(), CookieName, &["without `Secure`"]),
        (
            insecure().with_same_site(SameSite::None),
            CookieAttributes,
            &["SameSite=None", "keep `Secure`"],
        ),
        (insecure().with_partitioned(), CookieAttributes, &["Partitioned", "keep `Secure`"]),
        (plain().with_path("app"), CookiePath, &["\"app\"", "start with `/`"]),
        (plain().with_path("/a;b"), CookiePath, &["percent-encoded"]),
        (plain().with_path(format!("/{}", "a".repeat(1024))), CookiePath, &["1024"]),
        (plain().with_domain(".x.test"), CookieDomain, &["\".x.test\"", "dot"]),
        (plain().with_domain("https://x.test"), CookieDomain, &["example.com", "scheme"]),
        (plain().with_domain("127.0.0.1"), CookieDomain, &["IP address"]),
        (plain().with_domain("é.test"), CookieDomain, &["xn--"]),
    ];
    for (cookie, kind, words) in cases {
        refused(builder().cookie(cookie), kind, words);
    }
    accepted(builder().cookie(cookie(&"a".repeat(4032))));
    accepted(builder().cookie(plain().with_path("/app").with_domain("x.test").with_partitioned()));
    accepted(builder().cookie(insecure()));
}

#[test]
fn a_lifetime_that_makes_no_sense_is_refused() {
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    let second = Duration::from_secs(1);
    let cases: [(Lifetime, &str); 7] = [
        (Lifetime::new(Duration::ZERO, HOUR), "at least one second"),
        (Lifetime::new(HOUR, Duration::ZERO), "at least one second"),
        (Lifetime::new(Duration::from_millis(999), HOUR), "at least one second"),
        (Lifetime::new(HOUR + second, HOUR), "longer than the absolute"),
        (Lifetime::new(HOUR, 400 * DAY + second), "400 days"),
        (Lifetime::new(Duration::MAX, Duration::MAX), "400 days"),
        (Lifetime::new(HOUR, DAY).with_touch_interval(HOUR), "shorter than the idle"),
    ];
    for (lifetime, words) in cases {
        refused(builder().lifetime(lifetime), ConfigErrorKind::Lifetime, &[words]);
        // One session's own lifetime is held to the same.
        let session = testing::signed_in("alice");
        let error = session.set_lifetime(lifetime).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Lifetime);
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(words));
    }
    for lifetime in [Lifetime::AAL1, Lifetime::AAL2, Lifetime::AAL3, Lifetime::default()] {
        accepted(builder().lifetime(lifetime));
    }
    accepted(builder().lifetime(Lifetime::new(second, second)));
    accepted(builder().lifetime(Lifetime::new(400 * DAY, 400 * DAY)));
    accepted(builder().lifetime(Lifetime::new(HOUR, DAY).with_touch_interval(Duration::ZERO)));
}

#[test]
fn limits_of_zero_that_nobody_could_pass_are_refused() {
    refused(builder().store_timeout(Duration::ZERO), ConfigErrorKind::Limit, &["timeout of zero"]);
    refused(builder().sessions_per_user(0), ConfigErrorKind::Limit, &["nobody log in"]);
    accepted(builder().sessions_per_user(1).store_timeout(Duration::from_nanos(1)));
    accepted(builder().max_data_bytes(0));
}

#[tokio::test]
async fn a_realm_is_printable_text_and_quoted_in_the_challenge() {
    for realm in ["a\nb", "a\rb", "a\0", "a\u{7f}", "a\tb", "é"] {
        refused(builder().realm(realm), ConfigErrorKind::Realm, &["printable ASCII"]);
    }
    for (realm, challenge) in [
        ("the club", r#"Cookie realm="the club""#),
        ("", r#"Cookie realm="""#),
        (r#"a"b\c"#, r#"Cookie realm="a\"b\\c""#),
    ] {
        let response = send(&who(&builder().realm(realm).build().unwrap()), get("/")).await;
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
    }
}

#[tokio::test]
async fn the_defaults_are_what_the_documentation_says() {
    let world = world();
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        session.insert("big", &"a".repeat(64 * 1024 - "big".len() - "\"\"".len())).unwrap();
        let error = session.insert("more", &1).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        text("")
    });

    // Who is not signed in is refused, with the default realm.
    let refusal = send(&who(&world.layer), get("/")).await;
    assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refusal.headers()[WWW_AUTHENTICATE], r#"Cookie realm="session""#);
    assert_eq!(Access::default(), Access::SignedIn);

    // The cookie and its term.
    let response = send(&login, get("/")).await;
    let header = response.headers()["set-cookie"].to_str().unwrap();
    let value = &header["__Host-session=".len()..];
    assert!(header.starts_with("__Host-session="), "{header}");
    assert_eq!(&value[64..], "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=86400", "{header}",);
    assert!(!response.headers().contains_key("clear-site-data"));

    // An hour idle, a day in all, no cap.
    let alice = "alice".try_into().unwrap();
    for _ in 0..20 {
        send(&login, get("/")).await;
    }
    assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 21);
    assert_eq!(Lifetime::default(), Lifetime::AAL2);
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 21);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.layer.sessions().count(&alice).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_replaced_or_cleared_makes_room_for_as_much_data() {
    let layer = builder().max_data_bytes(8).build().unwrap();
    let handler = app(&layer.optional(), |session| async move {
        session.insert("n", &1234567).unwrap();
        session.insert("n", &7654321).unwrap();
        session.save().await.unwrap();
        session.insert("n", &1234567).unwrap();
        session.save().await.unwrap();
        session.clear().unwrap();
        session.insert("m", &1234567).unwrap();
        text("")
    });
    assert_eq!(send(&handler, get("/")).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_store_call_may_take_five_seconds_unless_told_otherwise() {
    use tower_wristband::testing::{Fault, Operation};
    for (world, limit) in [
        (world(), Duration::from_secs(5)),
        (
            world_with(|builder| builder.store_timeout(Duration::from_millis(70))),
            Duration::from_millis(70),
        ),
    ] {
        let cookie = world.signed_in("alice").await;
        world.faults.next(Operation::Load, Fault::Hang);
        let start = tokio::time::Instant::now();
        let response = visit(&who(&world.layer), &cookie).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let took = start.elapsed();
        assert!(took >= limit && took < limit + Duration::from_millis(10), "{took:?}");

        let short = Fault::Delay(limit - Duration::from_millis(5));
        world.faults.next(Operation::Load, short);
        assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn options_do_what_they_say() {
    let cookie = SessionCookie::new("__Secure-club").with_path("/app").with_domain("x.test");
    let layer = builder()
        .cookie(cookie.with_same_site(SameSite::Strict))
        .lifetime(Lifetime::AAL3.until_browser_closes())
        .max_data_bytes(8)
        .clear_site_data(true)
        .forward_cookie(false)
        .build()
        .unwrap();
    let handler = app(&layer.optional(), |session| async move {
        session.insert("n", &1234567).unwrap();
        let error = session.insert("n", &12345678).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        text("")
    });
    let response = send(&handler, get("/")).await;
    let header = response.headers()["set-cookie"].to_str().unwrap();
    let attributes = "; Path=/app; Domain=x.test; Secure; HttpOnly; SameSite=Strict";
    assert!(header.starts_with("__Secure-club=") && header.ends_with(attributes), "{header}");

    let logout = app(&layer.optional(), |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    let cookie = testing::cookie_from(&response).unwrap();
    let response = visit(&logout, &cookie).await;
    let clears = HeaderValue::from_static(r#""cache", "cookies", "storage""#);
    assert_eq!(response.headers()["clear-site-data"], clears);
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains(attributes));
}

#[tokio::test(start_paused = true)]
async fn the_store_can_be_checked_at_start_up() {
    let world = world();
    let sessions = world.layer.sessions();
    sessions.check().await.unwrap();
    for (fault, kind) in [
        (Fault::Error(StoreErrorKind::Unavailable), StoreErrorKind::Unavailable),
        (Fault::Hang, StoreErrorKind::Timeout),
    ] {
        world.faults.next(Operation::Check, fault);
        let error = sessions.check().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Store(kind));
    }
    assert_eq!(world.faults.calls(Operation::Check), 3);
    assert_eq!(world.store_calls(), 3);
}

#[tokio::test]
async fn a_clock_can_be_chosen_at_run_time() {
    let manual = ManualClock::new();
    let shared: Arc<dyn Clock> = Arc::new(manual.clone());
    for clock in [Box::new(manual.clone()) as Box<dyn Clock>, Box::new(shared)] {
        let layer = builder().clock(clock).build().unwrap();
        let cookie = testing::issue(&layer, "alice").await;
        assert_eq!(visit(&who(&layer), &cookie).await.status(), StatusCode::OK);
        manual.advance(Duration::from_secs(3600));
        assert_eq!(visit(&who(&layer), &cookie).await.status(), StatusCode::UNAUTHORIZED);
    }
}
