//! How long reads take while expired sessions are removed.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use http::HeaderValue;

use crate::{
    allocations,
    executor::Executor,
    handlers::{self, App, Seen, request},
    peers::{Backlog, CleanUp, InMemory, Peer},
};

/// How long reads are measured before.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// Latencies of single reads in nanoseconds.
pub(crate) struct Latencies {
    pub(crate) quiet: Histogram<u64>,
    pub(crate) sweep: Histogram<u64>,
}

/// Measures with so many expired sessions, or says why that is not possible.
pub(crate) type Measure = fn(usize, &Executor) -> Result<Latencies, &'static str>;

pub(crate) fn measure<P: InMemory>(
    expired: usize,
    executor: &Executor,
) -> Result<Latencies, &'static str> {
    let Backlog { peer, living, clean_up } = P::backlog(expired, executor)?;
    let service = peer.mount_for_members(handlers::read::<P>());
    let mut reader = Reader { service, cookies: living.shuffled().headers(), executor };

    // Warm, and every session's activity is noted.
    reader.read_while(until(Instant::now() + QUIET / 5));
    let quiet = reader.read_while(until(Instant::now() + QUIET));
    let sweep = match clean_up {
        CleanUp::Background(clean_up) => {
            let cleaner = thread::spawn(clean_up);
            let latencies = reader.read_while(|| !cleaner.is_finished());
            cleaner.join().expect("it has not panicked");
            latencies
        }
        CleanUp::InRequests { from, until: end } => {
            if Instant::now() > from {
                return Err("the machine was too slow: sessions expired too early");
            }
            reader.read_while(until(from));
            let mut latencies = None;
            let kept = allocations::bytes_kept(|| latencies = Some(reader.read_while(until(end))));
            if kept > -(expired as f64 * 100.0) {
                return Err("the sessions were not removed in the time that it should take");
            }
            latencies.expect("it was called")
        }
    };
    expect_users(&peer, &reader.cookies, executor);
    Ok(Latencies { quiet, sweep })
}

fn expect_users<P: Peer>(peer: &P, cookies: &[HeaderValue], executor: &Executor) {
    let mut look = peer.mount(handlers::look::<P>());
    for cookie in cookies {
        let response = executor.call(&mut look, request(Some(cookie.clone())));
        let seen: &Seen = response.extensions().get().expect("the handler was called");
        assert!(seen.user.is_some(), "{}: the session lives", P::NAME);
    }
}

fn until(end: Instant) -> impl Fn() -> bool {
    move || Instant::now() < end
}

struct Reader<'a, S> {
    service: S,
    cookies: Vec<HeaderValue>,
    executor: &'a Executor,
}

impl<S: App> Reader<'_, S> {
    fn read_while(&mut self, goes_on: impl Fn() -> bool) -> Histogram<u64> {
        let mut latencies = Histogram::new(3).expect("three digits are possible");
        while goes_on() {
            for cookie in &self.cookies {
                let request = request(Some(cookie.clone()));
                let start = Instant::now();
                let response = black_box(self.executor.call(&mut self.service, request));
                let elapsed = start.elapsed();
                assert!(response.status().is_success(), "the session lives");
                latencies.record(elapsed.as_nanos() as u64).expect("it grows");
            }
        }
        latencies
    }
}
