//! placeholder
use axum::{Router, routing::get};
use tower::ServiceExt;
use tower_wristband::{MemoryStore, Session, SessionLayer, UserId, testing};

#[tokio::main]
async fn main() {
    let sessions = SessionLayer::new(MemoryStore::new());
    let app: Router = Router::new()
        .route("/me", get(|user: UserId| async move { user.to_string() }))
        .route_layer(sessions.clone())
        .route(
            "/visit",
            get(|s: Session| async move {
                s.insert("x", &1).unwrap();
                "hi"
            }),
        )
        .layer(sessions.optional());
    let cookie = testing::issue(&sessions, "alice").await;
    let r = app
        .clone()
        .oneshot(
            http::Request::get("/me")
                .header("cookie", cookie)
                .body(axum::body::Body::empty())
                .unwrap(),
        )
        .await
        .unwrap();
    println!("{r:?}");
    let r = app
        .clone()
        .oneshot(http::Request::get("/me").body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    println!("{r:?}");
    let r = app
        .clone()
        .oneshot(http::Request::get("/visit").body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    println!("{r:?} {:?}", testing::cookie_from(&r));
}
