//! What is gone after a change of password, by a login and by a rotation.

use http::StatusCode;
use tower_wristband::{
    Session, SessionError, SessionErrorKind, StoreErrorKind, UserId,
    testing::{Fault, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, worlds},
    support::{cookies_set, visit, who},
};

fn alice() -> UserId {
    "alice".parse().unwrap()
}

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

/// The login of the guide: the password was the first one, and this is what it is when the session
/// is stored.
async fn log_in(session: &Session, found: Result<u32, ()>) -> Result<bool, SessionError> {
    session.log_in("alice")?;
    session.save().await?;
    let is_current = found.is_ok_and(|now| now == 1);
    if !is_current {
        session.log_out().await?;
    }
    Ok(is_current)
}

#[tokio::test]
async fn a_login_that_looks_again_when_it_is_stored_does_not_outlive_a_change_of_password() {
    for world in worlds() {
        for found in [Ok(1), Ok(2), Err(())] {
            let sessions = world.layer.sessions();
            sessions.revoke_user(&alice()).await.unwrap();
            let request = InFlight::without_cookie(&world).await;
            let is_current = log_in(&request.session, found).await.unwrap();
            assert_eq!(is_current, found == Ok(1));
            assert_eq!(sessions.count(&alice()).await.unwrap(), usize::from(is_current));
            assert_eq!(cookies_set(&request.finish().await), usize::from(is_current));
        }
    }
}

#[tokio::test]
async fn a_login_that_is_taken_back_hands_out_no_token_though_the_store_fails() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        world.faults.next(Operation::Destroy, Fault::Error(StoreErrorKind::Unavailable));
        let error = log_in(&request.session, Ok(2)).await.unwrap_err();
        assert!(error.is_outage());
        assert_eq!(cookies_set(&request.finish().await), 0);
    }
}
