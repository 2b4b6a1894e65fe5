//! Tokens, keys, user ids, and the configuration of the cookie: all that is checked as it is read.

use std::iter;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header::COOKIE};
use sha2::{Digest, Sha256};
use tower_wristband::{
    MemoryStore, SessionCookie, SessionKey, SessionLayer, SessionToken, UserId, internals,
    store::Proof,
};

use crate::set_cookie::{Deed, assert_browsers_keep, set_cookie, visit};

/// Every reader reads all of the input.
pub fn check(input: &[u8]) {
    a_token_is_the_base64url_of_48_bytes(input);
    a_cookie_is_read_as_the_token_that_is_its_value(input);
    if let Ok(text) = std::str::from_utf8(input) {
        a_key_has_one_spelling(text);
        a_user_id_has_1_to_255_bytes(text);
        a_cookie_that_is_accepted_is_written_as_it_was_meant(text);
    }
    from_json_they_are_what_their_text_is(input);
}

fn expected(value: &[u8]) -> Option<[u8; 48]> {
    URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
}

fn assert_is(token: Option<&SessionToken>, expected: Option<[u8; 48]>) {
    let halves = token.map(|token| (*token.key().as_bytes(), token.proof()));
    let digest = |bytes| Proof::from_bytes(Sha256::digest(bytes).into());
    let expected = expected.map(|bytes| (*bytes.first_chunk().expect("16 bytes"), digest(bytes)));
    assert_eq!(halves, expected);
}

fn a_token_is_the_base64url_of_48_bytes(input: &[u8]) {
    assert_is(internals::parse_token(input).as_ref(), expected(input));
    // Most inputs are too long or too short.
    let fitted: Vec<u8> = input.iter().copied().chain(iter::repeat(b'A')).take(64).collect();
    assert_is(internals::parse_token(&fitted).as_ref(), expected(&fitted));
}

fn a_cookie_is_read_as_the_token_that_is_its_value(input: &[u8]) {
    let value = input.split(|byte| *byte == b';').next().unwrap_or_default();
    let Ok(line) = HeaderValue::from_bytes(&[b"a=b; session=", value, b"; c"].concat()) else {
        return;
    };
    let mut headers = HeaderMap::from_iter([(COOKIE, line)]);
    let [one, another] = internals::find_tokens(&mut headers, "session", true);
    assert_is(one.as_ref(), expected(value.trim_ascii_end()));
    assert!(another.is_none());
}

fn a_key_has_one_spelling(text: &str) {
    // Without a sign, which `from_str_radix` takes.
    let digits = Some(text).filter(|text| text.len() == 32 && !text.starts_with('+'));
    let number = digits.and_then(|text| u128::from_str_radix(text, 16).ok());
    let expected = number.filter(|number| format!("{number:032x}") == text).map(u128::to_be_bytes);
    let key: Option<SessionKey> = text.parse().ok();
    assert_eq!(key.map(|key| *key.as_bytes()), expected);
    assert!(key.is_none_or(|key| key.to_string() == text));
}

fn a_user_id_has_1_to_255_bytes(text: &str) {
    let user = UserId::new(text).ok();
    let expected = Some(text).filter(|text| (1..=255).contains(&text.len()));
    assert_eq!(user.as_ref().map(UserId::as_str), expected);
    assert_eq!(user.map(|user| user.to_string()).as_deref(), expected);
}

fn from_json_they_are_what_their_text_is(input: &[u8]) {
    let text: Option<String> = serde_json::from_slice(input).ok();
    let key = text.as_ref().and_then(|text| text.parse().ok());
    assert_eq!(serde_json::from_slice::<SessionKey>(input).ok(), key);
    let user = text.and_then(|text| UserId::new(text).ok());
    assert_eq!(serde_json::from_slice::<UserId>(input).ok(), user);
    if let Some(key) = key {
        assert_eq!(serde_json::to_string(&key).expect("a text"), format!("\"{key}\""));
    }
    if let Some(user) = user {
        let json = serde_json::to_string(&user).expect("a text");
        assert_eq!(serde_json::from_str::<String>(&json).expect("a text"), user.as_str());
    }
}

/// Its name, path and domain are lines.
fn a_cookie_that_is_accepted_is_written_as_it_was_meant(text: &str) {
    let mut lines = text.split('\n');
    let name = lines.next().unwrap_or_default();
    let (path, domain) = (lines.next(), lines.next());
    let mut cookie = SessionCookie::new(name);
    if let Some(path) = path {
        cookie = cookie.with_path(path);
    }
    if let Some(domain) = domain {
        cookie = cookie.with_domain(domain);
    }
    let Ok(layer) = SessionLayer::builder(MemoryStore::new()).cookie(cookie).build() else {
        return;
    };

    let line = set_cookie(&visit(&layer, Deed::LogIn, None)).expect("a login sets the cookie");
    let written = Cookie::parse(&line).expect("a cookie");
    assert_eq!(written.name(), name);
    assert_eq!(written.path(), Some(path.unwrap_or("/")));
    assert_eq!(written.domain(), domain);
    assert_browsers_keep(&written);
}
