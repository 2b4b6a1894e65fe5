//! Layers that share a store, and what one of them may do to the sessions of another.

use http::StatusCode;
use tower_wristband::{MemoryStore, SessionCookie, SessionErrorKind, testing::issue};

use crate::{
    in_flight::InFlight,
    support::{get_with, send, visit, who, world, world_on},
};

#[tokio::test]
async fn the_others_of_a_session_of_another_layer_are_not_ended() {
    let (ours, theirs) = (world(), world());
    let cookies = [ours.signed_in("alice").await, ours.signed_in("alice").await];
    let foreign = InFlight::with(&theirs, &theirs.signed_in("alice").await).await;
    foreign.session.insert("draft", "text").unwrap();
    let calls = theirs.store_calls();

    let error = ours.layer.sessions().revoke_others(&foreign.session).await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::OtherLayer);
    assert_eq!(error.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(theirs.store_calls(), calls, "nothing was stored");
    for cookie in cookies {
        assert_eq!(visit(&who(&ours.layer), &cookie).await.status(), StatusCode::OK);
    }
}

/// What the documentation warns of: the store is the realm, and the name of a cookie is none.
#[tokio::test]
async fn a_token_is_good_for_every_layer_over_its_store() {
    let store = MemoryStore::new();
    let shop = world_on(store.clone(), |builder| builder);
    let office = world_on(store, |builder| builder.cookie(SessionCookie::new("__Host-office")));
    let cookie = issue(&shop.layer, "alice").await;
    let renamed = cookie.to_str().unwrap().replace("__Host-session", "__Host-office");
    let request = get_with("/", &renamed.parse().unwrap());
    assert_eq!(send(&who(&office.layer), request).await.status(), StatusCode::OK);
}
