//! What a token is made of, and what can't be done with it.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
    time::Duration,
};

use http::HeaderValue;
use serde::{Serialize, de::DeserializeOwned};
use tower_wristband::{MemoryStore, Session, SessionKey, SessionToken, store::Proof};

use crate::{
    in_flight::InFlight,
    support::{World, world_on},
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
