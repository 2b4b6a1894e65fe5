//! Changes of a session that there is.

use std::hint::black_box;

use tower_wristband::testing::cookie_from;

use super::Series;
use crate::{
    executor::Executor,
    fixture::Fixture,
    handlers::{self, request, set_cookie},
    harness::{BATCH, Meter},
    peers::Peer,
};

pub(super) fn write_one_key<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let headers = fixture.cookies.headers();
    let mut write = fixture.peer.mount_for_members(handlers::write::<P>());

    if P::KEEPS_SESSIONS {
        let mut written = || {
            executor.call(&mut write, request(Some(headers[0].clone())));
            fixture.look(Some(&headers[0]), executor).written.expect("a value has been written")
        };
        let first = written();
        assert!(written() > first, "{}: another value each time", P::NAME);
        fixture.expect_user(0, &headers[0], executor);
    }

    let batch = move |executor: &Executor, meter: &mut Meter| {
        meter.measure(BATCH, || {
            for header in &headers {
                black_box(executor.call(&mut write, request(Some(header.clone()))));
            }
        });
    };
    Series::new(batch, executor)
}

pub(super) fn rotate<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let mut headers = fixture.cookies.headers();
    let mut rotate = fixture.peer.mount_for_members(handlers::rotate::<P>());

    if P::KEEPS_SESSIONS {
        let response = executor.call(&mut rotate, request(Some(headers[0].clone())));
        let new = cookie_from(&response).expect("a rotation sets a cookie");
        fixture.expect_user(0, &new, executor);
        let old = std::mem::replace(&mut headers[0], new);
        fixture.expect_nobody(Some(&old), executor);
    }

    let mut cookies = Vec::with_capacity(BATCH);
    let batch = move |executor: &Executor, meter: &mut Meter| {
        meter.measure(BATCH, || {
            for header in &headers {
                cookies.push(set_cookie(executor.call(&mut rotate, request(Some(header.clone())))));
            }
        });
        for (header, new) in headers.iter_mut().zip(cookies.drain(..)) {
            if let Some(new) = new {
                *header = handlers::cookie(&new);
            }
        }
    };
    Series::new(batch, executor)
}
