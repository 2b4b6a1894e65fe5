//! tower-wristband beside its peers: what a session layer costs.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! Charts, and a server under the load of [wrk](https://github.com/wg/wrk), which has to be
//! installed:
//!
//! ```sh
//! alias peers='cargo run --release --manifest-path benches/peers/Cargo.toml --'
//! peers --json --end-to-end > measurements.jsonl
//! peers --from measurements.jsonl --plot charts
//! ```
//!
//! # Method
//!
//! A request is one [`call`](tower::Service::call) of a service, made and polled in place: no
//! server, no router, no task. All peers are around the same handler, which takes the session with
//! the crate's extractor, and they get the same request, with nothing in it but the cookie. The
//! peers are used as their documentation says, with its defaults, but for two things: a bound on
//! the number of sessions is lifted, and the body is empty.
//!
//! *Overhead* is the time above the same handler without a layer (`bare`), which is measured in
//! turn with the peers: one round after another, each peer for 50 ms, another one first each time.
//! So what else happens on the machine hits all alike. Each round's overhead is taken above that
//! round's bare service; the median of the rounds is told, and the least and the most. With two
//! threads, each has a runtime of its own and they share the store; `ns` is the time of a request
//! on one of them, the same as on a single thread if reads scale perfectly. The `yardstick` tells
//! how near to that a loop comes that touches no memory at all, a thousand steps a "request".
//!
//! *Allocations* are those above the bare service, counted apart from the times. *Bytes a session*
//! is what is still allocated once so many visitors have logged in, divided by their number; they
//! have nothing but a user id.
//!
//! Sessions are visited in random order; the headers themselves are in the caches, as what a server
//! has just received. Before a case is measured, it is checked that it does what it says: the user
//! is found, the cookie is set, a replaced or removed token is dead. What a case creates it removes
//! again, out of the measured time, so no store grows.
//!
//! # During a sweep
//!
//! Latencies of single reads, of a thousand living sessions beside those that have expired, before
//! and while these are removed, as each crate does it. In this crate a sweeper on another thread
//! does, and `sweep` is exactly the time it takes. Stores on moka remove as a part of whatever
//! requests come after the sessions have expired; when exactly can't be seen from outside, so
//! `sweep` is a time in which it happens for certain and which is longer than need be. That
//! dilutes what is seen, in their favour. It is checked that the memory is free afterwards.
//!
//! # Databases
//!
//! ```sh
//! peers --case databases --redis redis://127.0.0.1/ --postgres postgres://user:secret@127.0.0.1/db
//! ```
//!
//! Here a request asks a server, over the network, and waits. All clients live on one thread, and
//! make one request at a time or 64: each in Redis over one connection, in PostgreSQL over a pool
//! of ten, which is told not to ask before each statement whether the connection is still there.
//! The *bare command* is what a handler does that asks the client library of tower-wristband itself,
//! with no session layer: one `GET`, or one prepared `SELECT` by primary key, of 150 bytes. It stands
//! beside each case, as the price of a round trip, and *× bare command* is the median of the
//! rounds' quotients. Rounds are as above; logouts that make room for logins are not measured, nor
//! logins for logouts.
//!
//! *Round trips* and *bytes* are those of a whole request, one in flight, scripts loaded and statements
//! prepared. A request with a cookie begins with a load (but a logout of tower-sessions); in
//! parentheses are the round trips of the operation alone. Redis counts by itself (`INFO stats`: replies written, bytes of the network), for
//! PostgreSQL a proxy does. sqlx's pool sends a `Sync` after each use of a connection: these *pings*
//! are in the bytes, but not in the round trips, for the request doesn't wait for them.
//!
//! `--case cached` puts near caches in front of Redis: [`CachedStore`](tower_wristband::CachedStore)
//! before our store, `CachingSessionStore` with moka before that of tower-sessions. Every session is
//! read once before reads are measured; *overhead* is above the service without a layer. A write goes
//! to Redis and drops the copy, so the request after it loads the session again, as each one does
//! without a cache. What Redis tells the cache of a write is in the bytes, and in the time, but no
//! round trip. tower-sessions keeps what it writes in its cache, where a node doesn't learn what
//! others have written or ended.
//!
//! The servers should do nothing else meanwhile. In PostgreSQL everything is in the schema
//! `wristband_peers`, which is dropped before and after. In Redis all sessions are logged out at the
//! end, the other keys expire within an hour.
//!
//! # Limits
//!
//! - Times of two runs can't be compared, and those of two machines least of all. Compare rows of
//!   one run.
//! - A layer alone, in a tight loop, finds everything in its caches. What a user of a server sees
//!   is another measurement: `--end-to-end`.
//! - The peers do different things. tower-wristband hashes the token, keeps an index of users, and
//!   sends `Vary` and `Cache-Control`; axum_session creates a session for every visitor, takes over
//!   any token it is given, and sets its cookie in every response.
#![forbid(unsafe_code)]

mod allocations;
mod arguments;
mod cases;
mod databases;
mod end_to_end;
mod executor;
mod fixture;
mod handlers;
mod harness;
mod measurement;
mod peers;
mod plot;
mod rounds;
mod run;
mod table;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use serde::Deserialize;

use crate::{
    arguments::Arguments, cases::Case, executor::Executor, measurement::Measurement, rounds::Plan,
    run::Run,
};

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(layer) = arguments.serve {
        return end_to_end::serve(layer);
    }
    let (runs, measurements) = if arguments.from.is_empty() {
        let run = Run::current();
        (vec![run.clone()], measure(&arguments, &run)?)
    } else {
        saved(&arguments.from)?
    };
    match &arguments.plot {
        Some(directory) => plot::draw(directory, &measurements, &runs),
        None if arguments.from.is_empty() => Ok(()),
        None => print(&arguments, &measurements),
    }
}

fn measure(arguments: &Arguments, run: &Run) -> Result<Vec<Measurement>> {
    if arguments.json {
        println!("{}", serde_json::to_string(run)?);
    } else {
        println!("{run}\n{}\n", run.command);
    }
    let plan = Plan::new(arguments)?;
    let mut all = Vec::new();
    if arguments.end_to_end {
        all = end_to_end::run(arguments.end_to_end_rounds())?;
        print(arguments, &all)?;
    }
    let executor = Executor::new();
    let _entered = executor.enter();
    for &case in Case::value_variants().iter().filter(|&&case| arguments.has_case(case)) {
        let measurements = plan.measure(case, &executor)?;
        print(arguments, &measurements)?;
        all.extend(measurements);
    }
    Ok(all)
}

fn print(arguments: &Arguments, measurements: &[Measurement]) -> Result<()> {
    if arguments.json {
        for measurement in measurements {
            println!("{}", serde_json::to_string(measurement)?);
        }
    } else {
        println!("{}\n", table::of(measurements));
    }
    Ok(())
}

/// A line of JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Run(Run),
    Measurement(Box<Measurement>),
}

/// Earlier runs, and what they measured.
fn saved(files: &[PathBuf]) -> Result<(Vec<Run>, Vec<Measurement>)> {
    let (mut runs, mut measurements) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("can't read {name}"))?;
        for (line, number) in text.lines().zip(1..) {
            let place = || format!("{name}:{number}: no measurement");
            match serde_json::from_str(line).with_context(place)? {
                Line::Run(run) => runs.push(run),
                Line::Measurement(measurement) => measurements.push(*measurement),
            }
        }
    }
    Ok((runs, measurements))
}
