//! What a site may see: mostly reads, some writes, few logins and logouts.

use std::iter::repeat_n;

use super::Series;
use crate::{
    executor::Executor,
    fixture::Fixture,
    handlers::{self, request, set_cookie},
    harness::{BATCH, Meter},
    peers::Peer,
};

#[derive(Clone, Copy)]
enum Step {
    Read,
    Write,
    LogIn,
    LogOut,
}

pub(super) fn mixed<P: Peer>(fixture: &Fixture<P>, executor: &Executor) -> Series {
    let mut read = fixture.peer.mount_for_members(handlers::read::<P>());
    let mut write = fixture.peer.mount_for_members(handlers::write::<P>());
    let mut log_in = fixture.peer.mount(handlers::log_in::<P>());
    let mut log_out = fixture.peer.mount(handlers::log_out::<P>());

    let percent = |share, step| repeat_n(step, BATCH * share / 100);
    let mut steps: Vec<Step> = percent(90, Step::Read)
        .chain(percent(8, Step::Write))
        .chain(percent(1, Step::LogIn))
        .chain(percent(1, Step::LogOut))
        .collect();
    fastrand::shuffle(&mut steps);

    let mut headers = fixture.cookies.headers();
    fixture.expect_user(0, &headers[0], executor);
    // Those who are logged out have logged in a batch before.
    let new_visitors = BATCH / 100;
    let mut leaving = headers.split_off(headers.len() - new_visitors);
    let mut logins = Vec::with_capacity(new_visitors);

    let batch = move |executor: &Executor, meter: &mut Meter| {
        let mut left = leaving.iter();
        meter.measure(BATCH, || {
            for (step, header) in steps.iter().zip(headers.iter().cycle()) {
                let response = match step {
                    Step::Read => executor.call(&mut read, request(Some(header.clone()))),
                    Step::Write => executor.call(&mut write, request(Some(header.clone()))),
                    Step::LogIn => executor.call(&mut log_in, request(None)),
                    Step::LogOut => executor.call(&mut log_out, request(left.next().cloned())),
                };
                if let Step::LogIn = step {
                    logins.push(set_cookie(response));
                }
            }
        });
        for (header, new) in leaving.iter_mut().zip(logins.drain(..)) {
            if let Some(new) = new {
                *header = handlers::cookie(&new);
            }
        }
    };
    Series::new(batch, executor)
}
