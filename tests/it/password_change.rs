//! What is gone after a change of password, by a login and by a rotation.

use http::StatusCode;
use tower_wristband::{SessionErrorKind, testing::cookie_from};

use crate::{
    in_flight::{InFlight, worlds},
    support::{visit, who},
};

#[tokio::test]
async fn a_login_and_the_end_of_the_others_reach_a_thiefs_open_stream() {
    for world in worlds() {
        let stolen = world.signed_in("alice").await;
        let stream = InFlight::with(&world, &stolen).await;
        let elsewhere = world.signed_in("alice").await;

        let change = InFlight::with(&world, &stolen).await;
        change.session.log_in("alice").unwrap();
        assert_eq!(world.layer.sessions().revoke_others(&change.session).await.unwrap(), 1);
        let newer = cookie_from(&change.finish().await).unwrap();

        for cookie in [&stolen, &elsewhere] {
            let response = visit(&who(&world.layer), cookie).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(visit(&who(&world.layer), &newer).await.status(), StatusCode::OK);
        let session = &stream.session;
        let errors = [
            session.reload().await.unwrap_err(),
            session.touch().await.unwrap_err(),
            session.update("n", |_: Option<u8>| Some(1)).await.unwrap_err(),
        ];
        assert_eq!(errors.map(|error| error.kind()), [SessionErrorKind::Gone; 3]);
    }
}

/// What the documentation says that a rotation does not do.
#[tokio::test]
async fn a_rotation_leaves_the_streams_of_the_replaced_token_alone() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let stream = InFlight::with(&world, &cookie).await;
        let login = stream.session.authenticated_at();

        let change = InFlight::with(&world, &cookie).await;
        change.session.rotate().unwrap();
        assert_eq!(world.layer.sessions().revoke_others(&change.session).await.unwrap(), 0);
        change.finish().await;

        let response = visit(&who(&world.layer), &cookie).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        stream.session.reload().await.unwrap();
        assert_eq!(stream.session.authenticated_at(), login);
    }
}

/// What the guide's login does for passwords that are changed while it is under way.
#[tokio::test]
async fn a_login_that_looks_again_when_it_is_stored_does_not_outlive_a_change_of_password() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        // The old password was right, and is being replaced.
        let late = InFlight::without_cookie(&world).await;
        late.session.log_in("alice").unwrap();
        let change = InFlight::with(&world, &cookie).await;
        change.session.log_in("alice").unwrap();
        assert_eq!(world.layer.sessions().revoke_others(&change.session).await.unwrap(), 0);

        late.session.save().await.unwrap();
        assert_eq!(world.layer.sessions().count(&"alice".try_into().unwrap()).await.unwrap(), 2);
        late.session.log_out().await.unwrap();
        assert!(cookie_from(&late.finish().await).is_none());
        assert_eq!(world.layer.sessions().count(&"alice".try_into().unwrap()).await.unwrap(), 1);
        change.finish().await;
    }
}
