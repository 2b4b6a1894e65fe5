//! Server-sent events stop as soon as their user is out: two browsers of one user are signed in, the
//! first listens, and the second says "log out everywhere".
//!
//! `cargo run --example sse`

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{Result, Sse, sse::Event},
    routing::{get, post},
};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, Request, Response, header};
use tokio_stream::wrappers::IntervalStream;
use tower::ServiceExt;
use tower_wristband::{BoxError, MemoryStore, Session, SessionLayer, Sessions, UserId, testing};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sessions = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/ticks", get(ticks))
        .route("/log-out-everywhere", post(log_out_everywhere))
        .route_layer(sessions.clone())
        .with_state(sessions.sessions());

    let alice = UserId::try_from("alice")?;
    let [laptop, phone] =
        [testing::issue(&sessions, &alice).await, testing::issue(&sessions, &alice).await];

    let listening = send(&app, Request::get("/ticks"), laptop).await?;
    let mut events = listening.into_body().into_data_stream();
    let first = events.next().await.ok_or("a first tick")??;
    assert_eq!(first, "data: 1\n\n");

    let begin = Instant::now();
    let goodbye = send(&app, Request::post("/log-out-everywhere"), phone).await?;
    assert_eq!(goodbye.status(), 200);
    let mut last = first;
    while let Some(event) = events.next().await {
        last = event?;
    }
    assert_eq!(last, "event: signed-out\ndata: goodbye\n\n");
    println!("the events stopped {:?} after the log-out began", begin.elapsed());
    Ok(())
}

async fn ticks(session: Session) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(100)))
        .enumerate()
        .map(|(before, _)| Event::default().data((before + 1).to_string()))
        .take_until(session.ended());
    // A browser connects again by itself, and then gets 401.
    let farewell = stream::once(async { Event::default().event("signed-out").data("goodbye") });
    Sse::new(ticks.chain(farewell).map(Ok))
}

async fn log_out_everywhere(user: UserId, State(sessions): State<Sessions>) -> Result<String> {
    Ok(format!("{} sessions have ended", sessions.revoke_user(&user).await?))
}

async fn send(
    app: &Router,
    request: http::request::Builder,
    cookie: HeaderValue,
) -> Result<Response<Body>, BoxError> {
    let request = request.header(header::COOKIE, cookie).body(Body::empty())?;
    Ok(app.clone().oneshot(request).await?)
}
