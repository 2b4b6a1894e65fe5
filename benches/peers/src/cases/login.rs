//! Logins and logouts, each cleaned up by the other.

use std::hint::black_box;

use tower_wristband::testing::cookie_from;

use super::Series;
use crate::{
    executor::Executor,
    fixture::Fixture,
    handlers::{self, request, set_cookie, user},
    harness::{BATCH, Meter},
    peers::Peer,
};

pub(super) fn login<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let mut log_in = fixture.peer.mount(handlers::log_in::<P>());
    let mut log_out = fixture.peer.mount(handlers::log_out::<P>());

    if P::KEEPS_SESSIONS {
        let response = executor.call(&mut log_in, request(None));
        let cookie = cookie_from(&response).expect("a login sets a cookie");
        let expected = Some(user(handlers::next_number() - 1));
        assert_eq!(fixture.look(Some(&cookie), executor).user, expected, "{}", P::NAME);
        executor.call(&mut log_out, request(Some(cookie)));
    }

    let mut cookies = Vec::with_capacity(BATCH);
    let batch = move |executor: &Executor, meter: &mut Meter| {
        meter.measure(BATCH, || {
            for _ in 0..BATCH {
                cookies.extend(set_cookie(executor.call(&mut log_in, request(None))));
            }
        });
        for cookie in cookies.drain(..).map(|line| handlers::cookie(&line)) {
            executor.call(&mut log_out, request(Some(cookie)));
        }
    };
    Series::new(batch, executor)
}

pub(super) fn logout<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let mut log_in = fixture.peer.mount(handlers::log_in::<P>());
    let mut log_out = fixture.peer.mount(handlers::log_out::<P>());
    let mut headers = fixture.cookies.headers();

    if P::KEEPS_SESSIONS {
        fixture.expect_user(0, &headers[0], executor);
        let response = executor.call(&mut log_out, request(Some(headers[0].clone())));
        assert!(cookie_from(&response).is_none(), "{}: a logout sets no cookie", P::NAME);
        fixture.expect_nobody(Some(&headers[0]), executor);
    }

    let batch = move |executor: &Executor, meter: &mut Meter| {
        for header in &mut headers {
            if let Some(new) = cookie_from(&executor.call(&mut log_in, request(None))) {
                *header = new;
            }
        }
        meter.measure(BATCH, || {
            for header in &headers {
                black_box(executor.call(&mut log_out, request(Some(header.clone()))));
            }
        });
    };
    Series::new(batch, executor)
}
