use std::time::Duration;

use ::cookie::Cookie;
use cookie_store::CookieStore;
use http::HeaderValue;
use url::Url;

use super::*;

fn token() -> SessionToken {
    SessionToken::parse(&[b'A'; SessionToken::WIRE_LENGTH]).expect("a token")
}

fn refused(cookie: &SessionCookie) -> ConfigErrorKind {
    let error = cookie.validate().expect_err(&cookie.attributes());
    assert!(!error.to_string().is_empty());
    error.kind()
}

#[track_caller]
fn accepted(cookie: &SessionCookie) {
    if let Err(error) = cookie.validate() {
        panic!("{cookie:?}: {error}");
    }
}

/// One of each kind of cookie that browsers accept.
fn accepted_cookies() -> Vec<SessionCookie> {
    vec![
        SessionCookie::default(),
        SessionCookie::new("__Http-session").with_path("/app"),
        SessionCookie::new("__Host-Http-session").with_same_site(SameSite::Strict),
        SessionCookie::new("__Secure-session").with_domain("example.com").with_path("/app/"),
        SessionCookie::default().with_same_site(SameSite::None).with_partitioned(),
        SessionCookie::new("session").with_partitioned().with_domain("EXAMPLE.com"),
        SessionCookie::new("session").insecure_without_secure(),
    ]
}

fn writer(cookie: &SessionCookie) -> CookieWriter {
    CookieWriter::new(cookie).expect("an acceptable cookie")
}

fn text(header: &HeaderValue) -> &str {
    assert!(header.is_sensitive());
    header.to_str().expect("visible ASCII")
}

#[test]
fn names_are_tokens() {
    for name in ["", "a=b", "a;b", "a b", "a\tb", "a\r\nb", "a\0", "a\u{7f}", "é", "\"a\"", "a,b"]
    {
        assert_eq!(refused(&SessionCookie::new(name)), ConfigErrorKind::CookieName, "{name:?}");
    }
    accepted(&SessionCookie::new("!#$%&'*+-.^_`|~09azAZ"));
}

#[test]
fn prefixes_in_any_case_demand_their_attributes() {
    for name in ["__Host-id", "__host-id", "__HOST-id", "__Host-Http-id", "__hOST-hTTP-id"] {
        let cookie = SessionCookie::new(name);
        accepted(&cookie);
        for wrong in [
            cookie.clone().with_path("/app"),
            cookie.clone().with_domain("example.com"),
            cookie.insecure_without_secure(),
        ] {
            assert_eq!(refused(&wrong), ConfigErrorKind::CookieName, "{wrong:?}");
        }
    }
    for name in ["__Secure-id", "__sECURE-id", "__Http-id", "__HTTP-id"] {
        let cookie = SessionCookie::new(name).with_path("/app").with_domain("example.com");
        accepted(&cookie);
        assert_eq!(refused(&cookie.insecure_without_secure()), ConfigErrorKind::CookieName);
    }
    accepted(&SessionCookie::new("_Host-id").with_path("/app").insecure_without_secure());
}

#[test]
fn cookies_of_all_sites_and_partitioned_ones_are_secure() {
    let insecure = SessionCookie::new("session").insecure_without_secure();
    let everywhere = insecure.clone().with_same_site(SameSite::None);
    assert_eq!(refused(&everywhere), ConfigErrorKind::CookieAttributes);
    assert_eq!(refused(&insecure.with_partitioned()), ConfigErrorKind::CookieAttributes);
    accepted(&SessionCookie::default().with_same_site(SameSite::None));
    accepted(&SessionCookie::default().with_partitioned());
}

#[test]
fn a_path_is_one_that_browsers_keep() {
    let at = |path: &str| SessionCookie::new("session").with_path(path);
    let longest = format!("/{}", "a".repeat(1023));
    for path in
        ["", "app", "/a;b", "/a b", "/a ", "/a\tb", "/a\r\n", "/é", &(longest.clone() + "a")]
    {
        assert_eq!(refused(&at(path)), ConfigErrorKind::CookiePath, "{path:?}");
    }
    accepted(&at("/a/b%20c/~d"));
    accepted(&at(&longest));
}

#[test]
fn a_domain_is_a_host_name() {
    let at = |domain: &str| SessionCookie::new("session").with_domain(domain);
    let longest =
        format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
    for domain in [
        "",
        ".",
        ".x.test",
        "x.test.",
        "x..test",
        "x.test:80",
        "https://x.test",
        "x.test/a",
        "é.test",
        "x test",
        "x;test",
        "x\r\ntest",
        "-x.test",
        "x-.test",
        "127.0.0.1",
        "1.2",
        "0x7f",
        "127.0X1",
        "[::1]",
        "::1",
        &"a".repeat(64),
        &format!("{longest}d"),
        &"a.".repeat(600),
    ] {
        assert_eq!(refused(&at(domain)), ConfigErrorKind::CookieDomain, "{domain:?}");
    }
    for domain in ["x.test", "xn--9ca.test", "1.x.test", "a_b.x-y.TEST", "x.0xyz", &longest] {
        accepted(&at(domain));
    }
}

#[test]
fn name_and_value_have_at_most_4096_octets() {
    let of = |length| SessionCookie::new("n".repeat(length));
    accepted(&of(4096 - SessionToken::WIRE_LENGTH));
    assert_eq!(refused(&of(4097 - SessionToken::WIRE_LENGTH)), ConfigErrorKind::CookieName);
}

#[test]
fn the_writer_refuses_what_browsers_ignore() {
    let error = CookieWriter::new(&SessionCookie::default().insecure_without_secure());
    assert_eq!(error.expect_err("no Secure").kind(), ConfigErrorKind::CookieName);
}

#[test]
fn the_headers_are_spelled_as_promised() {
    let writer = writer(&SessionCookie::default());
    let value = "A".repeat(64);
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(writer.name(), "__Host-session");
    assert_eq!(
        text(&writer.set(&token(), Some(Duration::from_secs(86_400)))),
        format!("__Host-session={value}; {attributes}; Max-Age=86400"),
    );
    assert_eq!(text(&writer.set(&token(), None)), format!("__Host-session={value}; {attributes}"));
    assert_eq!(
        text(&writer.removal()),
        format!("__Host-session=; {attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    );
}

#[test]
fn attributes_stand_in_their_order_and_once() {
    let cookie = SessionCookie::new("session")
        .with_partitioned()
        .with_same_site(SameSite::None)
        .with_domain("example.com")
        .with_path("/app");
    assert_eq!(
        cookie.attributes(),
        "Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=None; Partitioned",
    );
    for cookie in accepted_cookies() {
        let writer = writer(&cookie);
        for header in [writer.set(&token(), Some(Duration::from_secs(60))), writer.removal()] {
            let mut names: Vec<_> = text(&header)
                .split("; ")
                .skip(1)
                .map(|attribute| attribute.split('=').next().unwrap_or_default())
                .collect();
            let written = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), written, "{header:?}");
            assert!(names.contains(&"HttpOnly") && names.contains(&"SameSite"));
        }
    }
}

#[test]
fn max_age_is_in_whole_seconds_rounded_up_and_at_most_400_days() {
    let writer = writer(&SessionCookie::default());
    for (age, seconds) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(1_000), 1),
        (Duration::from_millis(59_001), 60),
        (Duration::from_secs(34_560_000), 34_560_000),
        (Duration::from_millis(34_560_000_001), 34_560_000),
        (Duration::from_secs(u64::MAX), 34_560_000),
        (Duration::MAX, 34_560_000),
    ] {
        let header = writer.set(&token(), Some(age));
        assert!(text(&header).ends_with(&format!("; Max-Age={seconds}")), "{age:?}");
    }
}

#[test]
fn another_parser_reads_what_was_written() {
    for cookie in accepted_cookies() {
        let writer = writer(&cookie);
        let set = writer.set(&token(), Some(Duration::from_secs(60)));
        let removal = writer.removal();
        for (header, value, max_age) in [(&set, "A".repeat(64), 60), (&removal, String::new(), 0)] {
            let read = Cookie::parse(text(header)).expect("a cookie");
            assert_eq!(read.name_value(), (cookie.name(), &value[..]));
            assert_eq!(read.path(), Some(&cookie.path[..]));
            assert_eq!(read.domain(), cookie.domain.as_deref());
            assert_eq!(read.secure(), cookie.secure.then_some(true));
            assert_eq!(read.http_only(), Some(true));
            assert_eq!(
                read.same_site().map(|same_site| same_site.to_string()),
                Some(cookie.same_site.to_string()),
            );
            assert_eq!(read.partitioned(), cookie.partitioned.then_some(true));
            assert_eq!(read.max_age().map(|age| age.whole_seconds()), Some(max_age));
        }
        assert_eq!(Cookie::parse(text(&set)).expect("a cookie").expires(), None);
        let expires = Cookie::parse(text(&removal)).expect("a cookie").expires_datetime();
        assert_eq!(expires.map(|time| time.unix_timestamp()), Some(0));
    }
}

#[test]
fn a_browser_keeps_the_cookie_until_it_is_removed() {
    let page = Url::parse("https://example.com/app/page").expect("a URL");
    for cookie in accepted_cookies() {
        let writer = writer(&cookie);
        for max_age in [None, Some(Duration::from_secs(3600))] {
            let mut browser = CookieStore::default();
            browser.parse(text(&writer.set(&token(), max_age)), &page).expect("accepted");
            let sent: Vec<_> = browser.get_request_values(&page).collect();
            assert_eq!(sent, [(cookie.name(), &"A".repeat(64)[..])]);

            browser.parse(text(&writer.removal()), &page).expect("accepted");
            assert_eq!(browser.iter_unexpired().count(), 0, "{cookie:?}");
        }
    }
}

#[test]
fn a_token_is_not_in_what_is_printed() {
    let header = writer(&SessionCookie::default()).set(&token(), None);
    assert!(!format!("{header:?}").contains("AAAA"));
}
