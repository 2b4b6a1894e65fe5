//! The parts of the crate that one tunes, each by itself.
#![allow(missing_docs, reason = "criterion's macros make a public function without any")]

mod now;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};
use tower_wristband::{
    Clock, Lifetime, MemoryStore, SessionKey, SystemClock, Timestamp, internals,
    store::{Change, Proof, Record, RecordParts, SessionStore},
};

use crate::now::now;

const NAME: &str = "__Host-session";

/// 48 bytes in base64url.
const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v";

fn find_tokens(criterion: &mut Criterion) {
    let ours = format!("{NAME}={TOKEN}");
    let others: Vec<_> =
        (0..32).map(|number| format!("other-{number:02}={}", "x".repeat(84))).collect();
    let around = [&others[..16], std::slice::from_ref(&ours), &others[16..]].concat();
    let cases =
        [("alone", ours), ("among_3_kib", around.join("; ")), ("absent", others.join("; "))];

    let mut group = criterion.benchmark_group("find_tokens");
    for (name, cookies) in cases {
        let cookies = HeaderValue::try_from(cookies).expect("cookies can be in a header");
        let mut headers = HeaderMap::from_iter([(COOKIE, cookies)]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| internals::find_tokens(black_box(&mut headers), NAME, true));
        });
    }
}

fn token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    group.bench_function("parse", |bencher| {
        bencher.iter(|| internals::parse_token(black_box(TOKEN.as_bytes())));
    });
    let token = internals::parse_token(TOKEN.as_bytes()).expect("a token");
    group.bench_function("prove", |bencher| bencher.iter(|| black_box(&token).proof()));
}

fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for (name, [is_live, login, write, touch]) in [
        ("nothing", [true, false, false, false]),
        ("touch", [true, false, false, true]),
        ("write", [true, false, true, true]),
        ("login", [false, true, true, false]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                internals::plan_commit(
                    black_box(is_live),
                    black_box(login),
                    black_box(write),
                    black_box(touch),
                )
            });
        });
    }
}

fn memory_store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory_store");
    for sessions in [1_000, 100_000, 1_000_000] {
        let at = SystemClock.now();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
        let store = MemoryStore::new();
        let mut keys: Vec<_> =
            (0..sessions).map(|user| create(&store, user, &mut random)).collect();
        // They are not asked for in the order in which they came.
        keys.shuffle(&mut random);
        let mut keys = keys.into_iter().cycle();
        let mut key = || keys.next().expect("there are sessions");

        group.bench_function(BenchmarkId::new("load", sessions), |bencher| {
            let proof = Proof::from_bytes([0; 32]);
            bencher.iter_batched(
                &mut key,
                |key| now(store.load(key, proof, at)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("update", sessions), |bencher| {
            let change = Change::new(1).with_field("cart", &7).expect("a number can be stored");
            bencher.iter_batched(
                || (key(), change.clone()),
                |(key, change)| now(store.update(key, change, 1, None, at)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("create_and_destroy", sessions), |bencher| {
            bencher.iter_batched(
                || (random_key(&mut random), record(sessions, at)),
                |(key, record)| {
                    now(store.create(key, record, None, at)).expect("there is room");
                    now(store.destroy(key, None, at))
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn create(store: &MemoryStore, user: u64, random: &mut impl Rng) -> SessionKey {
    let (key, at) = (random_key(random), SystemClock.now());
    now(store.create(key, record(user, at), None, at)).expect("there is room");
    key
}

fn random_key(random: &mut impl Rng) -> SessionKey {
    let mut key = [0; 16];
    random.fill_bytes(&mut key);
    SessionKey::from_bytes(key)
}

/// A session of this user, without data.
fn record(user: u64, at: Timestamp) -> Record {
    Record::from_parts(RecordParts {
        version: 0,
        proof: Proof::from_bytes([0; 32]),
        rotated_at: None,
        logins: 1,
        user: Some(&user.to_string()),
        label: None,
        created_at: at,
        authenticated_at: Some(at),
        last_seen_at: at,
        lifetime: Lifetime::default(),
        fields: Vec::new(),
    })
    .expect("a user and a login go together")
}

criterion_group!(benches, find_tokens, token, plan, memory_store);
criterion_main!(benches);
