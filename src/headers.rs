//! The headers about caching that a response gets for having depended on a session.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, Entry, VARY},
};

pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const ALL_SITE_DATA: HeaderValue = HeaderValue::from_static(r#""cache", "cookies", "storage""#);

/// The directives that may stand beside `no-store`: they only restrict what a cache may do.
/// `must-understand` is not among them, for it can override `no-store` (RFC 9111, section 5.2.2.3).
const RESTRICTING: [&str; 5] =
    ["private", "no-cache", "no-transform", "must-revalidate", "proxy-revalidate"];

/// Keeps caches from storing the response: one that sets or removes the cookie. `Set-Cookie` alone
/// doesn't (RFC 9111, section 7.3).
pub(crate) fn forbid_storing(headers: &mut HeaderMap) {
    match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(vacant) => {
            vacant.insert(NO_STORE);
        }
        Entry::Occupied(mut lines) => {
            let value = no_store_and(|directive| {
                lines.iter().any(|line| lists(line, directive.as_bytes()))
            });
            lines.insert(value);
        }
    }
    for (name, value) in headers.iter_mut() {
        if is_for_certain_caches(name) {
            *value = NO_STORE;
        }
    }
}

/// `no-store`, and what restricts caches further.
fn no_store_and(is_set: impl Fn(&str) -> bool) -> HeaderValue {
    let mut kept = RESTRICTING.into_iter().filter(|directive| is_set(directive)).peekable();
    if kept.peek().is_none() {
        return NO_STORE;
    }
    let value = kept.fold(String::from("no-store"), |value, directive| value + ", " + directive);
    HeaderValue::try_from(value).expect("all directives are visible ASCII")
}

/// Whether caches that know the field obey it instead of `Cache-Control`: `CDN-Cache-Control`, the
/// vendors' own (RFC 9213), and what there was before.
fn is_for_certain_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || name == "surrogate-control" || name == "edge-control"
}

/// Says that the response depended on the cookie: `Vary: Cookie`, and `private` unless the handler
/// decided otherwise.
pub(crate) fn depends_on_cookie(headers: &mut HeaderMap) {
    let is_said = |line: &HeaderValue| lists(line, b"*") || lists(line, b"cookie");
    if !headers.contains_key(VARY) {
        headers.insert(VARY, COOKIE);
    } else if !headers.get_all(VARY).iter().any(is_said)
        // Into the first line, because some caches read no other.
        && let Some(first) = headers.get_mut(VARY)
    {
        *first = with_member(first, COOKIE);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, PRIVATE);
    }
}

/// Tells the browser to forget what it keeps of the site, beside what the handler says of that.
pub(crate) fn clear_site_data(headers: &mut HeaderMap) {
    headers.append(CLEAR_SITE_DATA, ALL_SITE_DATA);
}

/// Whether a comma-separated list has this member.
///
/// It doesn't heed quotes: in `private="no-cache, x-y"` it sees a `no-cache"`, which is no member
/// we look for, and in `private="x, no-cache, y"` it sees one too many, which only restricts.
fn lists(line: &HeaderValue, member: &[u8]) -> bool {
    line.as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(member))
}

fn with_member(list: &HeaderValue, member: HeaderValue) -> HeaderValue {
    if list.as_bytes().trim_ascii().is_empty() {
        return member;
    }
    HeaderValue::try_from([list.as_bytes(), b", ", member.as_bytes()].concat())
        .expect("all its bytes come from headers' values")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(fields: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value).expect("legal bytes");
            headers.append(*name, value);
        }
        headers
    }

    fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
        headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_response_with_a_cookie_is_not_stored() {
        for (lines, result) in [
            (&[][..], "no-store"),
            (&["no-store"], "no-store"),
            (&["public, max-age=600, must-understand"], "no-store"),
            (&["s-maxage=9, immutable, stale-while-revalidate=5, stale-if-error=5"], "no-store"),
            (&["private=\"x\", no-cache=\"Set-Cookie\""], "no-store"),
            (&["No-Cache , PRIVATE,,private"], "no-store, private, no-cache"),
            (&["public", "private", "", "no-transform"], "no-store, private, no-transform"),
            (
                &["must-revalidate,proxy-revalidate,no-store"],
                "no-store, must-revalidate, proxy-revalidate",
            ),
            (&["private, \u{e9}, x=\"y"], "no-store, private"),
        ] {
            let fields: Vec<_> =
                lines.iter().map(|line| ("cache-control", line.as_bytes())).collect();
            let mut headers = response(&fields);
            forbid_storing(&mut headers);
            assert_eq!(values(&headers, "cache-control"), [result.as_bytes()], "{lines:?}");
        }
    }

    #[test]
    fn a_qualified_directive_never_comes_out() {
        let mut headers = response(&[("cache-control", b"private=\"a, no-cache, public\", \xff")]);
        forbid_storing(&mut headers);
        assert_eq!(values(&headers, "cache-control"), [b"no-store, no-cache"]);
    }

    #[test]
    fn fields_for_certain_caches_say_the_same() {
        let targeted = [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "vercel-cdn-cache-control",
            "netlify-cdn-cache-control",
            "surrogate-control",
            "edge-control",
        ];
        for name in targeted {
            let mut headers =
                response(&[(name, b"max-age=60"), (name, b"public"), ("etag", b"\"1\"")]);
            forbid_storing(&mut headers);
            assert!(values(&headers, name).iter().all(|value| value == b"no-store"), "{name}");
            assert_eq!(values(&headers, "etag"), [b"\"1\""]);
        }
        let mut headers = response(&[]);
        forbid_storing(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_response_that_depended_on_the_cookie_varies_by_it() {
        for (lines, result) in [
            (&[][..], &["Cookie"][..]),
            (&[""], &["Cookie"]),
            (&["Accept"], &["Accept, Cookie"]),
            (&["x-cookie, cookies"], &["x-cookie, cookies, Cookie"]),
            (&["Accept", "Origin"], &["Accept, Cookie", "Origin"]),
            (&["*"], &["*"]),
            (&["Accept", "Origin , *"], &["Accept", "Origin , *"]),
            (&["Accept,COOKIE"], &["Accept,COOKIE"]),
            (&["Accept", "cookie"], &["Accept", "cookie"]),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("vary", line.as_bytes())).collect();
            let mut headers = response(&fields);
            depends_on_cookie(&mut headers);
            let result: Vec<_> = result.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(values(&headers, "vary"), result, "{lines:?}");
            depends_on_cookie(&mut headers);
            assert_eq!(values(&headers, "vary"), result, "twice: {lines:?}");
        }

        let mut headers = response(&[("vary", b"\xff")]);
        depends_on_cookie(&mut headers);
        assert_eq!(values(&headers, "vary"), [b"\xff, Cookie"]);
    }

    #[test]
    fn it_is_private_unless_the_handler_decided() {
        let mut headers = response(&[]);
        depends_on_cookie(&mut headers);
        assert_eq!(values(&headers, "cache-control"), [b"private"]);

        let mut headers = response(&[("cache-control", b"public, max-age=60")]);
        depends_on_cookie(&mut headers);
        assert_eq!(values(&headers, "cache-control"), [b"public, max-age=60"]);

        let mut headers = response(&[]);
        forbid_storing(&mut headers);
        depends_on_cookie(&mut headers);
        assert_eq!(values(&headers, "cache-control"), [b"no-store"]);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn site_data_is_cleared_beside_what_the_handler_clears() {
        let mut headers = response(&[("clear-site-data", b"\"executionContexts\"")]);
        clear_site_data(&mut headers);
        assert_eq!(
            values(&headers, "clear-site-data"),
            [&b"\"executionContexts\""[..], b"\"cache\", \"cookies\", \"storage\""],
        );
    }
}
