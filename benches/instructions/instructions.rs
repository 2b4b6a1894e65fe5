//! Whole requests, counted in instructions by callgrind. `../instructions.sh` compares the counts.
#![allow(missing_docs, reason = "gungraun's macros make public items without any")]

#[path = "../now/mod.rs"]
mod now;
#[path = "../site/mod.rs"]
mod site;

use std::sync::Mutex;

use gungraun::prelude::*;
use http::Request;
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use tower_wristband::{MemoryStore, SessionLayer, testing::ManualClock};

use crate::site::{Callers, Case, Site, open};

/// So many that what is in some calls only, such as a longer probe in the map, evens out.
/// `instructions.sh` divides by it.
const CALLS: usize = 1_000;

/// A layer whose tokens and times are the same in every run.
fn layer() -> SessionLayer {
    let random = Mutex::new(Xoshiro256PlusPlus::seed_from_u64(0));
    SessionLayer::builder(MemoryStore::new())
        .random_source(move |bytes| {
            random.lock().expect("to fill bytes does not panic").fill_bytes(bytes);
            Ok(())
        })
        .clock(ManualClock::new())
        .build()
        .expect("the defaults go together")
}

type Prepared = (Site, Callers, Vec<Request<u64>>);

fn prepare(case: Case) -> Prepared {
    let (mut site, mut callers) = open(layer(), case);
    // The first call also finds out what the processor can do.
    site.call(callers.request());
    let requests = (0..CALLS).map(|_| callers.request()).collect();
    (site, callers, requests)
}

// What is returned is dropped outside of the measurement: all the sessions.
#[library_benchmark(setup = prepare)]
#[bench::read(Case::Read)]
#[bench::no_cookie(Case::NoCookie)]
#[bench::unknown_token(Case::UnknownToken)]
#[bench::write_one_key(Case::WriteOneKey)]
#[bench::login(Case::Login)]
#[bench::logout(Case::Logout)]
fn calls((mut site, callers, requests): Prepared) -> (Site, Callers) {
    for request in requests {
        drop(site.call(request));
    }
    (site, callers)
}

library_benchmark_group!(name = requests, benchmarks = calls);
main!(library_benchmark_groups = requests);
