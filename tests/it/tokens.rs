//! What a token is made of, and what can't be done with it.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tower_wristband::{MemoryStore, Page, Session, SessionKey, SessionToken, store::Proof};

use crate::{
    captured::Capture,
    in_flight::{InFlight, stored},
    recording_store::RecordingStore,
    support::{World, visit, who, world_on},
};

/// Whether a type implements a trait. A type's own constant is preferred to that of a trait, and this
/// one is there only for types that do.
macro_rules! implements {
    ($type:ty: $($bound:tt)+) => {{
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "one of both is used")]
        trait Otherwise {
            const DOES: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        #[allow(dead_code, reason = "one of both is used")]
        impl<T: ?Sized + $($bound)+> Probe<T> {
            const DOES: bool = true;
        }
        Probe::<$type>::DOES
    }};
}

#[test]
fn a_token_can_be_neither_printed_nor_compared_nor_serialized_nor_made_of_anything() {
    let leaks = [
        implements!(SessionToken: Display),
        implements!(SessionToken: Serialize),
        implements!(SessionToken: AsRef<[u8]>),
        implements!(SessionToken: std::ops::Deref),
        implements!(SessionToken: PartialEq),
        implements!(SessionToken: PartialOrd),
        implements!(SessionToken: std::hash::Hash),
        implements!(Session: Display),
        implements!(Session: Serialize),
        implements!(Proof: Display),
        implements!(Proof: Serialize),
    ];
    assert_eq!(leaks, [false; 11]);
    let makers = [
        implements!(SessionToken: Default),
        implements!(SessionToken: FromStr),
        implements!(SessionToken: DeserializeOwned),
        implements!(SessionToken: From<[u8; 48]>),
        implements!(SessionToken: TryFrom<&'static [u8]>),
        implements!(SessionToken: TryFrom<&'static str>),
        implements!(SessionToken: From<u128>),
        implements!(SessionToken: From<SessionKey>),
    ];
    assert_eq!(makers, [false; 8]);
    // What is there is found.
    let public = [
        implements!(SessionToken: Debug),
        implements!(SessionKey: Display),
        implements!(SessionKey: Serialize),
        implements!(SessionKey: DeserializeOwned),
        implements!(SessionKey: FromStr),
        implements!(SessionKey: std::hash::Hash),
        implements!(String: AsRef<[u8]>),
        implements!(u128: From<u8>),
    ];
    assert_eq!(public, [true; 8]);
}

/// A world whose generator makes the same bytes every time.
fn monotonous_world() -> World {
    world_on(MemoryStore::new(), |builder| {
        builder.random_source(|bytes| {
            bytes.fill(7);
            Ok(())
        })
    })
}

async fn set_cookie(request: InFlight) -> HeaderValue {
    request.finish().await.headers()["set-cookie"].clone()
}

#[tokio::test]
async fn the_value_of_the_cookie_is_random_bytes_alone_whatever_is_in_the_session() {
    let request = InFlight::without_cookie(&monotonous_world()).await;
    request.session.insert("draft", "text").unwrap();
    let visitors = set_cookie(request).await;
    let value = "BwcH".repeat(16);
    assert!(visitors.as_bytes().starts_with(format!("__Host-session={value}; ").as_bytes()));

    let world = monotonous_world();
    world.clock.advance(Duration::from_secs(12_345));
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("alice@example.com").unwrap();
    request.session.set_label("Firefox on Linux").unwrap();
    request.session.insert("cart", &[1, 2]).unwrap();
    assert_eq!(set_cookie(request).await, visitors);
}

/// Whoever has a copy of the store tries all that is in it.
#[tokio::test]
async fn nothing_that_a_store_is_given_lets_in() {
    let store = RecordingStore::default();
    let world = world_on(store.clone(), |builder| builder);
    let cookie = world.signed_in("alice").await;
    let service = who(&world.layer);
    assert_eq!(visit(&service, &cookie).await.status(), StatusCode::OK);
    let dump = store.dump();
    let alice = "alice".parse().unwrap();
    let key = world.layer.sessions().list(&alice, Page::first(1)).await.unwrap()[0].key();
    let proof = stored(&world, key).await.unwrap().proof();
    assert!(memchr::memmem::find(&dump, proof.as_bytes()).is_some(), "it is a copy");

    // The right key, with the proof in the place of the secret.
    let as_token = URL_SAFE_NO_PAD.encode([&key.as_bytes()[..], proof.as_bytes()].concat());
    let hex = proof.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    // And any 48 bytes as a token, any 64 as the text of one.
    let bytes = dump.windows(48).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let texts = dump.windows(64).filter_map(|text| String::from_utf8(text.to_vec()).ok());
    let (loads, capture) = (world.loads(), Capture::start());
    for value in [as_token, hex].into_iter().chain(bytes).chain(texts) {
        let Ok(guess) = HeaderValue::try_from(format!("__Host-session={value}")) else { continue };
        assert_eq!(visit(&service, &guess).await.status(), StatusCode::UNAUTHORIZED, "{value}");
    }
    assert!(world.loads() - loads > dump.len() - 48, "they are well-formed");
    let told = |event: &crate::captured::Event| event.message == "wrong secret for a session key";
    assert!(capture.take().iter().any(told), "the key is right");
    assert_eq!(visit(&service, &cookie).await.status(), StatusCode::OK);
}

/// The body of a function, which begins with `head`, in an item of the token's module.
fn body_of<'a>(item: &str, head: &str, source: &'a str) -> &'a str {
    let (_, item) = source.split_once(item).unwrap_or_else(|| panic!("there is no {item:?}"));
    let (_, rest) = item.split_once(head).unwrap_or_else(|| panic!("there is no {head:?}"));
    rest.split_once("\n    }\n").unwrap().0
}

/// No test can see how long a comparison takes, but one can see what it is made of.
#[test]
fn proofs_and_tokens_are_compared_by_what_takes_constant_time() {
    let source = include_str!("../../src/token/mod.rs");
    assert!(source.contains("\nuse subtle::{Choice, ConstantTimeEq};\n"));
    for body in [
        body_of("\nimpl PartialEq for Proof {", "fn eq(&self, other: &Self) -> bool {", source),
        body_of("\nimpl SessionToken {", "fn is(&self, other: &Self) -> bool {", source),
    ] {
        assert!(body.contains(".ct_eq(&"), "{body}");
        let ends_early = ["==", "!=", ".eq(", ".ne(", "cmp(", "if ", "match ", "?", "any(", "all("];
        assert!(ends_early.iter().all(|word| !body.contains(word)), "{body}");
    }
    // Nor is there another way.
    for of_secrets in ["\npub struct Proof(", "\npub struct SessionToken("] {
        let derived = source.split_once(of_secrets).unwrap().0.lines().next_back().unwrap();
        assert!(derived.starts_with("#[derive(") && !derived.contains("Eq"), "{derived}");
        assert!(!derived.contains("Ord") && !derived.contains("Hash"), "{derived}");
    }
}
