//! An open connection that ends with its session: the time, each second.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderMap, header::ACCEPT},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use tokio_stream::wrappers::IntervalStream;
use tower_wristband::{Clock, Session, SystemClock, UserId};

use crate::{pages, time::rfc3339};

/// The page for whoever opens the address, and what the script in it asks for.
pub(crate) async fn live(user: UserId, session: Session, headers: HeaderMap) -> Response {
    match headers.get(ACCEPT) {
        Some(accept) if accept == "text/event-stream" => events(&session),
        _ => pages::live(&user).into_response(),
    }
}

fn events(session: &Session) -> Response {
    let seconds = IntervalStream::new(tokio::time::interval(Duration::from_secs(1)))
        .map(|_| Event::default().data(rfc3339(SystemClock.now())))
        .take_until(session.ended());
    let farewell = stream::once(async { Event::default().event("signed-out").data("signed out") });
    let events = Sse::new(seconds.chain(farewell).map(Ok::<_, Infallible>));
    // nginx would gather events until it has a few kilobytes of them.
    ([("x-accel-buffering", "no")], events.keep_alive(KeepAlive::default())).into_response()
}
