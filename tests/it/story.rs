//! The whole story once: log in, come back, log out, replay.

use http::StatusCode;
use tower_wristband::testing::cookie_from;

use crate::support::{app, body, get, send, status, text, visit, who, world};

#[tokio::test]
async fn a_user_logs_in_comes_back_and_logs_out_and_the_old_cookie_is_refused() {
    let world = world();
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("welcome")
    });
    let logout = app(&world.layer, |session| async move {
        session.log_out().await.unwrap();
        status(StatusCode::NO_CONTENT)
    });

    let response = send(&login, get("/login")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = cookie_from(&response).expect("a login sets the cookie");

    let response = visit(&who(&world.layer), &cookie).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await, "alice");

    let response = visit(&logout, &cookie).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(cookie_from(&response), None, "the cookie is removed");

    let response = visit(&who(&world.layer), &cookie).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.living().await, 0);
}
