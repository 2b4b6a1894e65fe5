//! An open WebSocket is closed as soon as its user is out: two browsers of one user are signed in, the
//! first has a socket open, and the second says "log out everywhere". A page of another site opens
//! none, though the browser sends the cookie along.
//!
//! `cargo run --example websocket`

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::{IntoResponse, Response, Result},
    routing::{get, post},
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use tower::ServiceExt;
use tower_wristband::{BoxError, MemoryStore, Session, SessionLayer, Sessions, UserId, testing};

/// A busy socket is activity, but it is enough to say so once in a while.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// The site whose pages may open a socket: scheme, host, and the port if it is not the usual one.
pub(crate) const ORIGIN: &str = "https://club.example";

/// "Unauthorized", of the codes that are an application's own (RFC 6455, section 7.4.2).
const UNAUTHORIZED: u16 = 4401;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sessions = SessionLayer::new(MemoryStore::new());
    let app = site(&sessions);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("ws://{}/echo", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app.clone()).into_future());

    // A stranger gets no socket.
    let mut handshake = address.into_client_request()?;
    handshake.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(ORIGIN));
    assert_eq!(refused(&handshake).await, 401);

    let alice = UserId::try_from("alice")?;
    let [laptop, phone] =
        [testing::issue(&sessions, &alice).await, testing::issue(&sessions, &alice).await];
    handshake.headers_mut().insert(header::COOKIE, laptop);

    // Neither does another site whose page alice has open.
    let mut forged = handshake.clone();
    forged.headers_mut().insert(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
    assert_eq!(refused(&forged).await, 403);

    let (mut socket, _) = tokio_tungstenite::connect_async(handshake).await?;
    socket.send("hello".into()).await?;
    let echo = socket.next().await.ok_or("an echo")??;
    assert_eq!(echo.to_text()?, "alice says hello");

    let begin = Instant::now();
    log_out(&app, phone).await?;
    let farewell = socket.next().await.ok_or("a farewell")??;
    let tungstenite::Message::Close(Some(frame)) = farewell else {
        return Err("the socket is not closed".into());
    };
    assert_eq!(u16::from(frame.code), UNAUTHORIZED);
    println!("the socket was closed {:?} after the log-out began", begin.elapsed());
    Ok(())
}

pub(crate) fn site(sessions: &SessionLayer) -> Router {
    Router::new()
        .route("/echo", get(echo))
        .route("/log-out-everywhere", post(log_out_everywhere))
        .route_layer(sessions.clone())
        .with_state(sessions.sessions())
}

async fn echo(
    user: UserId,
    session: Session,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // CORS doesn't hold for WebSockets: the server itself has to look whose page asks. What says
    // nothing of it is no browser.
    if headers.get(header::ORIGIN).is_none_or(|origin| origin != ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    upgrade.on_upgrade(async move |mut socket| {
        // An error means that the other side is gone, or that the store can't be told.
        _ = talk(&mut socket, &user, &session).await;
    })
}

async fn talk(socket: &mut WebSocket, user: &UserId, session: &Session) -> Result<(), BoxError> {
    let mut ended = pin!(session.ended());
    let mut touched = Instant::now();
    loop {
        tokio::select! {
            _ = &mut ended => {
                let farewell = CloseFrame { code: UNAUTHORIZED, reason: "signed out".into() };
                return Ok(socket.send(Message::Close(Some(farewell))).await?);
            }
            message = socket.recv() => {
                let Some(message) = message else { return Ok(()) };
                if let Message::Text(text) = message? {
                    socket.send(format!("{user} says {text}").into()).await?;
                }
                if touched.elapsed() > TOUCH_INTERVAL {
                    session.touch().await?;
                    touched = Instant::now();
                }
            }
        }
    }
}

async fn log_out_everywhere(user: UserId, State(sessions): State<Sessions>) -> Result<String> {
    Ok(format!("{} sessions have ended", sessions.revoke_user(&user).await?))
}

/// The status of a handshake that comes to nothing.
async fn refused(handshake: &Request<()>) -> StatusCode {
    match tokio_tungstenite::connect_async(handshake.clone()).await {
        Err(tungstenite::Error::Http(response)) => response.status(),
        other => panic!("not refused: {other:?}"),
    }
}

/// What the second browser does.
async fn log_out(app: &Router, cookie: HeaderValue) -> Result<(), BoxError> {
    let request = Request::post("/log-out-everywhere").header(header::COOKIE, cookie);
    let response = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
    assert_eq!(response.status(), 200);
    Ok(())
}
