//! Whole requests: one `Service::call` with 1,000 sessions in memory.
#![allow(missing_docs, reason = "criterion's macros make a public function without any")]

mod now;
mod site;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tower_wristband::{MemoryStore, SessionLayer};

use crate::site::{Case, open};

const CASES: [(&str, Case); 6] = [
    ("read", Case::Read),
    ("no_cookie", Case::NoCookie),
    ("unknown_token", Case::UnknownToken),
    ("write_one_key", Case::WriteOneKey),
    ("login", Case::Login),
    ("logout", Case::Logout),
];

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for (name, case) in CASES {
        let (mut site, mut callers) = open(SessionLayer::new(MemoryStore::new()), case);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || callers.request(),
                |request| site.call(request),
                // Nobody logs in or out twice in a batch.
                BatchSize::NumIterations(100),
            );
        });
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
