//! Whose pages may open a WebSocket: what an application does, as the example `websocket` does it.

#[allow(dead_code, reason = "its `main` is for `cargo run`")]
#[path = "../../examples/websocket.rs"]
mod example;

use http::{
    HeaderValue, StatusCode,
    header::{COOKIE, ORIGIN},
};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, client::IntoClientRequest},
};
use tower_wristband::{MemoryStore, SessionLayer, testing};

/// What a handshake from a page of this origin gets.
async fn handshake(
    address: &str,
    origin: Option<&str>,
    cookie: Option<&HeaderValue>,
) -> StatusCode {
    let mut request = address.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
    headers.extend(cookie.map(|cookie| (COOKIE, cookie.clone())));
    match connect_async(request).await {
        Ok((_, response)) => response.status(),
        Err(Error::Http(response)) => response.status(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_handshake_from_another_origin_is_refused_although_its_cookie_is_good() {
    let sessions = SessionLayer::new(MemoryStore::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/echo", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, example::site(&sessions)).into_future());
    let cookie = testing::issue(&sessions, "alice").await;

    for origin in [
        None,
        Some("null"),
        Some("https://evil.example"),
        Some("http://club.example"),
        Some("https://club.example:8443"),
        Some("https://www.club.example"),
        Some("https://club.example.evil.example"),
        Some("https://evil.example/https://club.example"),
    ] {
        let status = handshake(&address, origin, Some(&cookie)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{origin:?}");
    }
    let own = Some(example::ORIGIN);
    let status = handshake(&address, own, Some(&cookie)).await;
    assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
    // The right origin is no login.
    assert_eq!(handshake(&address, own, None).await, StatusCode::UNAUTHORIZED);
}
