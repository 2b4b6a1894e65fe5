//! Reads by those who have no session.

use http::HeaderValue;

use super::Series;
use crate::{
    executor::Executor,
    fixture::Fixture,
    handlers::{self, App, request, set_cookie},
    harness::{BATCH, Meter},
    peers::{InMemory, Peer},
};

pub(super) fn no_cookie<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    visit(fixture, handlers::read::<P>(), vec![None; BATCH], executor)
}

/// The handler does not ask for the session.
pub(super) fn no_cookie_untouched<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    visit(fixture, handlers::greet(), vec![None; BATCH], executor)
}

/// The tokens of another store.
pub(super) fn unknown_token<P: InMemory>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let elsewhere = Fixture::<P>::new(BATCH, executor);
    visit(
        fixture,
        handlers::read::<P>(),
        elsewhere.cookies.headers().into_iter().map(Some).collect(),
        executor,
    )
}

pub(super) fn malformed<P: InMemory>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let first_half = |header: HeaderValue| {
        let text = header.to_str().expect("it is ASCII");
        let value = text.find('=').expect("it is a cookie") + 1;
        let half = value + (text.len() - value) / 2;
        Some(HeaderValue::from_str(&text[..half]).expect("it is ASCII"))
    };
    let elsewhere = Fixture::<P>::new(BATCH, executor);
    visit(
        fixture,
        handlers::read::<P>(),
        elsewhere.cookies.headers().into_iter().map(first_half).collect(),
        executor,
    )
}

fn visit<P: Peer>(
    fixture: &Fixture<P>,
    handler: impl App,
    headers: Vec<Option<HeaderValue>>,
    executor: &Executor,
) -> Series {
    fixture.expect_nobody(headers[0].as_ref(), executor);
    let mut service = fixture.peer.mount(handler);
    let mut log_out = fixture.peer.mount(handlers::log_out::<P>());
    let mut cookies = Vec::with_capacity(BATCH);
    let batch = move |executor: &Executor, meter: &mut Meter| {
        meter.measure(BATCH, || {
            for header in &headers {
                cookies.extend(set_cookie(executor.call(&mut service, request(header.clone()))));
            }
        });
        // axum_session gives every visitor a session.
        for cookie in cookies.drain(..).map(|line| handlers::cookie(&line)) {
            executor.call(&mut log_out, request(Some(cookie)));
        }
    };
    Series::new(batch, executor)
}
