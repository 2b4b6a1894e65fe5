//! Reads of a signed-in user.

use std::hint::black_box;

use http::HeaderValue;

use super::Series;
use crate::{
    executor::Executor,
    fixture::{Cookies, Fixture},
    handlers::{self, request},
    harness::Batch,
    peers::Peer,
};

/// So many headers have been checked, as by a server, before the services get them. They are few
/// enough to be in the processor's cache still, however many sessions the store has to search.
const RECEIVED: usize = 100;

pub(super) fn authenticated_read<P: Peer>(
    fixture: &Fixture<P>,
    executor: &Executor,
) -> Vec<Series> {
    for index in [0, fixture.cookies.len() / 2, fixture.cookies.len() - 1] {
        fixture.expect_user(index, &fixture.cookies.header(index), executor);
    }
    // Each thread has a copy of its own: references to it are counted.
    let readers = |threads| {
        let one = |_| reader(fixture, fixture.cookies.shuffled());
        Series::in_parallel((0..threads).map(one).collect(), executor)
    };
    let one_thread = Series { bytes_per_session: fixture.bytes_per_session, ..readers(1) };
    vec![one_thread, readers(2)]
}

pub(super) fn long_cookie_header<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let cookies: Cookies = fixture.cookies.headers().iter().map(among_others).collect();
    fixture.expect_user(0, &cookies.header(0), executor);
    Series::new(reader(fixture, cookies), executor)
}

/// Between twice 1.5 KiB of other cookies.
fn among_others(cookie: &HeaderValue) -> HeaderValue {
    let others = |first| {
        let pair = |number| format!("preference_{number}={}", "x".repeat(80));
        (first..first + 16).map(pair).collect::<Vec<_>>().join("; ")
    };
    let ours = cookie.to_str().expect("it is ASCII");
    let header = format!("{}; {ours}; {}", others(10), others(30));
    HeaderValue::try_from(header).expect("it is ASCII")
}

fn reader<P: Peer>(fixture: &Fixture<P>, cookies: Cookies) -> impl Batch + Send + use<P> {
    let mut read = fixture.peer.mount_for_members(handlers::read::<P>());
    let mut received = Vec::with_capacity(RECEIVED);
    let mut next = 0;
    move |executor, meter| {
        received.extend((next..next + RECEIVED).map(|index| cookies.header(index)));
        meter.measure(RECEIVED, || {
            for header in received.drain(..) {
                black_box(executor.call(&mut read, request(Some(header))));
            }
        });
        next = (next + RECEIVED) % cookies.len();
    }
}
