use std::{sync::Barrier, thread, time::Duration};

use super::*;
use crate::{
    error::{StoreError, StoreErrorKind},
    lifetime::Lifetime,
};

const HOUR: Duration = Duration::from_secs(3600);
const LIFETIME: Lifetime = Lifetime::new(HOUR, Duration::from_secs(24 * 3600));

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000)
}

fn key(number: u64) -> SessionKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SessionKey::from_bytes(bytes)
}

fn proof(number: u8) -> Proof {
    Proof::from_bytes([number; 32])
}

fn login(user: u32) -> Change {
    Change::new(u64::from(user)).with_user(UserId::from(user))
}

fn anonymous(at: Timestamp) -> Record {
    Record::new(proof(0), LIFETIME, at)
}

fn bound(user: u32, at: Timestamp) -> Record {
    let mut record = anonymous(at);
    record.apply(&login(user), at);
    record
}

fn answer<T>(future: StoreFuture<T>) -> Result<T, StoreError> {
    future.into_ready().expect("a store in memory answers at once")
}

fn ok<T>(future: StoreFuture<T>) -> T {
    answer(future).expect("a store in memory doesn't fail")
}

fn is_alive(store: &MemoryStore, number: u64) -> bool {
    ok(store.load(key(number), proof(0), now())).is_some()
}

fn listed(store: &MemoryStore, user: u32) -> Vec<SessionKey> {
    let summaries = ok(store.list(user.into(), None, usize::MAX, now()));
    summaries.iter().map(SessionSummary::key).collect()
}

/// Small numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The index holds a session exactly if its record is stored and bound, under its user.
fn assert_index_agrees(store: &MemoryStore) {
    let mut bound = store.0.bound_keys();
    let mut indexed = store.0.indexed_keys();
    bound.sort_unstable();
    indexed.sort_unstable();
    assert_eq!(bound, indexed);
}

#[test]
fn no_session_of_a_thief_who_keeps_rotating_outlives_destroy_user() {
    for round in 0..300 {
        let store = MemoryStore::new();
        ok(store.create(key(1), bound(7, now()), None, now()));
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                let mut from: u8 = 0;
                loop {
                    // Now and then as a login, which also changes the index.
                    let change = if from.is_multiple_of(3) { login(7) } else { Change::new(1) };
                    let to = from.wrapping_add(1);
                    match ok(store.rotate(key(1), proof(from), proof(to), change, None, now())) {
                        Rotated::Stored => from = to,
                        Rotated::Gone => break,
                    }
                }
            });
            start.wait();
            if round % 2 == 0 {
                thread::yield_now();
            }
            assert_eq!(ok(store.destroy_user(7.into(), None, 0, now())), 1);
            assert!(!is_alive(&store, 1));
        });
        assert!(store.is_empty());
        assert_index_agrees(&store);
    }
}

#[test]
fn nothing_brings_a_destroyed_session_back() {
    for _ in 0..300 {
        let store = MemoryStore::new();
        ok(store.create(key(1), anonymous(now()), None, now()));
        let start = Barrier::new(4);
        let run = |operation: &(dyn Fn(u8) + Sync)| {
            start.wait();
            (0..50).for_each(operation);
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                run(&|_| drop(ok(store.update(key(1), Change::new(1), 0, None, now()))));
            });
            scope.spawn(|| {
                run(&|n| {
                    let now = now() + Duration::from_secs(n.into());
                    _ = ok(store.touch(key(1), 0, now));
                });
            });
            scope.spawn(|| {
                run(&|n| {
                    let change = if n < 25 { Change::new(1) } else { login(1) };
                    _ = ok(store.rotate(key(1), proof(n), proof(n + 1), change, None, now()));
                });
            });
            start.wait();
            assert!(ok(store.destroy(key(1), None, now())));
            assert!(!is_alive(&store, 1));
        });
        assert!(store.is_empty());
        assert_index_agrees(&store);
    }
}

#[test]
fn concurrent_logins_settle_at_the_cap() {
    const CAP: usize = 3;
    for _ in 0..100 {
        let store = MemoryStore::new();
        for number in 0..16 {
            ok(store.create(key(number), anonymous(now()), None, now()));
        }
        thread::scope(|scope| {
            for part in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for number in (part * 4)..(part * 4 + 4) {
                        let (from, to) = (proof(0), proof(1));
                        let login = login(7);
                        _ = ok(store.rotate(key(number), from, to, login, Some(CAP), now()));
                        ok(store.create(key(number + 100), bound(7, now()), Some(CAP), now()));
                    }
                });
            }
        });
        assert_eq!(listed(&store, 7).len(), CAP);
        assert_eq!(store.len(), CAP);
        assert!(!store.is_empty());
        assert_index_agrees(&store);
    }
}

#[test]
fn the_index_agrees_with_the_records_after_any_mixture() {
    let store = MemoryStore::with_max_sessions(60);
    thread::scope(|scope| {
        for seed in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let mut numbers = Numbers(seed);
                for step in 0..5_000 {
                    let now = now() + Duration::from_secs(step);
                    let (key, user) = (key(numbers.below(100)), numbers.below(5) as u32);
                    let cap = Some(8);
                    match numbers.below(10) {
                        0 | 1 => drop(answer(store.create(key, anonymous(now), cap, now))),
                        2 | 3 => drop(answer(store.create(key, bound(user, now), cap, now))),
                        4 => _ = ok(store.rotate(key, proof(1), proof(0), login(user), cap, now)),
                        5 => _ = ok(store.rotate(key, proof(0), proof(1), login(user), cap, now)),
                        6 => drop(ok(store.update(key, Change::new(1), 1, None, now))),
                        7 => _ = ok(store.destroy(key, None, now)),
                        8 => _ = ok(store.destroy_user(user.into(), None, 4, now)),
                        _ => _ = ok(store.sweep(3, now)),
                    }
                }
            });
        }
    });
    assert!(store.len() <= 60);
    assert_index_agrees(&store);
    let later = now() + LIFETIME.absolute() + LIFETIME.absolute();
    while store.0.hints() > 0 {
        _ = ok(store.sweep(7, later));
    }
    assert!(store.is_empty(), "every session keeps a hint");
    assert_index_agrees(&store);
}

#[test]
fn a_bound_is_never_exceeded() {
    const MAX: usize = 50;
    for _ in 0..100 {
        let store = MemoryStore::with_max_sessions(MAX);
        let create = |number: u64| match number % 5 {
            0 => answer(store.create(key(number), bound(1, now()), None, now())),
            _ => answer(store.create(key(number), anonymous(now()), None, now())),
        };
        thread::scope(|scope| {
            for part in 0..4 {
                let (store, create) = (&store, &create);
                scope.spawn(move || {
                    for number in (part * 100)..(part * 100 + 100) {
                        _ = create(number);
                        if number % 7 == 0 {
                            _ = ok(store.destroy(key(number), None, now()));
                        }
                    }
                });
            }
        });
        assert!(store.len() <= MAX, "{}", store.len());
        // No place is lost either.
        let free = MAX - store.len();
        let created = (1_000..1_100).filter(|number| create(number * 5 + 1).is_ok()).count();
        assert_eq!(created, free);
        assert_eq!(store.len(), MAX);
    }
}

#[test]
fn a_full_store_lets_a_login_in_by_ending_the_oldest_anonymous_session() {
    let store = MemoryStore::with_max_sessions(3);
    let kind = |result: Result<(), StoreError>| result.expect_err("it is full").kind();
    for number in 0..3 {
        ok(store.create(key(number), anonymous(now()), None, now()));
    }
    let refused = answer(store.create(key(3), anonymous(now()), None, now()));
    assert_eq!(kind(refused), StoreErrorKind::Full);
    // The oldest logs in: it is not anonymous any more, and needs no room.
    let rotated = store.rotate(key(0), proof(0), proof(1), login(1), None, now());
    assert_eq!(ok(rotated), Rotated::Stored);
    for (number, ended) in [(4, 1), (5, 2)] {
        ok(store.create(key(number), bound(2, now()), None, now()));
        assert!(!is_alive(&store, ended));
    }
    let refused = answer(store.create(key(6), bound(2, now()), None, now()));
    assert_eq!(kind(refused), StoreErrorKind::Full);
    assert!(is_alive(&store, 0) && is_alive(&store, 4) && is_alive(&store, 5));

    // What has expired doesn't count.
    let later = now() + HOUR;
    ok(store.create(key(7), anonymous(later), None, later));
}

#[test]
fn repeated_sweeps_remove_all_that_has_expired_and_nothing_else() {
    let store = MemoryStore::new();
    for number in 0..1_000 {
        ok(store.create(key(number), anonymous(now()), None, now()));
    }
    for number in 0..500 {
        assert!(ok(store.touch(key(number), 0, now() + Duration::from_secs(number + 1))));
    }
    let mut removed = Vec::new();
    loop {
        match ok(store.sweep(64, now() + HOUR)) {
            0 => break,
            count => removed.push(count),
        }
    }
    assert_eq!(removed, [64, 64, 64, 64, 64, 64, 64, 52]);
    assert_eq!(store.len(), 500);
    assert_eq!(ok(store.sweep(usize::MAX, now() + HOUR + Duration::from_secs(100))), 100);
    assert_eq!(ok(store.sweep(usize::MAX, now() + HOUR + HOUR)), 400);
    assert!(store.is_empty());
}

/// Sessions that have all been seen since, so that their hints are stale when they are due.
fn seen(store: &MemoryStore, count: u64) {
    for number in 0..count {
        ok(store.create(key(number), anonymous(now()), None, now()));
        assert!(ok(store.touch(key(number), 0, now() + HOUR / 2)));
    }
}

#[test]
fn a_sweep_looks_at_few_sessions_however_many_live() {
    let store = MemoryStore::new();
    seen(&store, 10_000);
    let later = now() + HOUR;
    for limit in [0, 1, 100] {
        let due = store.0.due_hints(later);
        assert_eq!(ok(store.sweep(limit, later)), 0);
        let looks = due - store.0.due_hints(later);
        assert_eq!(looks, if limit == 0 { 0 } else { 4 * limit + 64 });
    }
    // What has expired behind them is found by the calls that follow.
    ok(store.create(key(10_000), anonymous(now()), None, now()));
    let removed: usize = (0..200).map(|_| ok(store.sweep(1, later))).sum();
    assert_eq!((removed, store.len(), store.0.due_hints(later)), (1, 10_000, 0));
}

#[test]
fn creating_in_a_full_store_looks_at_few_sessions_however_many_live() {
    let store = MemoryStore::with_max_sessions(10_000);
    seen(&store, 10_000);
    let later = now() + HOUR;
    let mut due = store.0.due_hints(later);
    for (record, is_stored) in [(anonymous(later), false), (bound(1, later), true)] {
        assert_eq!(answer(store.create(key(10_000), record, None, later)).is_ok(), is_stored);
        let looks = due - store.0.due_hints(later);
        assert!((1..=400).contains(&looks), "{looks}");
        due -= looks;
    }
}

#[test]
fn creating_alone_keeps_expired_sessions_from_piling_up() {
    let store = MemoryStore::new();
    for number in 0..20_000 {
        let now = now() + Duration::from_secs(number * 10);
        ok(store.create(key(number), anonymous(now), None, now));
    }
    // 360 are alive; each create looks at one of the 64 shards.
    assert!(store.len() < 600, "{}", store.len());
}

#[test]
fn hints_of_ended_sessions_do_not_pile_up() {
    let store = MemoryStore::with_max_sessions(100);
    for number in 0..100_000 {
        ok(store.create(key(number), anonymous(now()), None, now()));
        ok(store.destroy(key(number), None, now()));
    }
    assert!(store.is_empty());
    assert!(store.0.hints() < 10_000, "{}", store.0.hints());
}

#[test]
fn a_session_that_is_bound_while_it_is_ended_leaves_the_index_as_well() {
    let store = MemoryStore::new();
    ok(store.create(key(1), anonymous(now()), None, now()));
    let is_first = std::cell::Cell::new(true);
    let ended = store.0.end(key(1), |_| {
        if is_first.replace(false) {
            let rotated = store.rotate(key(1), proof(0), proof(1), login(7), None, now());
            assert_eq!(ok(rotated), Rotated::Stored);
        }
        true
    });
    assert_eq!(ended.expect("it was there").user(), Some(&UserId::from(7)));
    assert_index_agrees(&store);
}

#[test]
fn a_session_that_has_expired_takes_no_place_of_the_cap() {
    let store = MemoryStore::new();
    let mut lasting = Record::new(proof(0), Lifetime::AAL1, now());
    lasting.apply(&login(7), now());
    ok(store.create(key(1), lasting, Some(2), now()));
    let second = now() + Duration::from_secs(1);
    ok(store.create(key(2), bound(7, second), Some(2), second));
    let later = second + HOUR;
    ok(store.create(key(3), bound(7, later), Some(2), later));
    assert!(ok(store.load(key(1), proof(0), later)).is_some());
}

#[test]
fn a_session_that_has_changed_since_it_was_looked_at_is_not_ended() {
    let store = MemoryStore::new();
    for record in [anonymous(now()), bound(7, now())] {
        ok(store.create(key(1), record, None, now()));
        let is_first = std::cell::Cell::new(true);
        assert!(store.0.end(key(1), |_| is_first.replace(false)).is_none());
        assert!(is_alive(&store, 1));
        assert!(ok(store.destroy(key(1), None, now())));
    }
}

#[test]
fn keys_that_are_not_random_are_spread_as_well() {
    let store = MemoryStore::new();
    for number in 0..=u8::MAX {
        for bytes in
            [[number; 16], u128::from(number).to_le_bytes(), u128::from(number).to_be_bytes()]
        {
            _ = answer(store.create(SessionKey::from_bytes(bytes), anonymous(now()), None, now()));
        }
    }
    assert_eq!(store.len(), 3 * 256 - 2);
    assert_eq!(ok(store.sweep(usize::MAX, now() + HOUR)), 3 * 256 - 2);
}

#[test]
fn a_page_of_sessions_is_in_the_order_of_their_keys() {
    let store = MemoryStore::new();
    for number in (0..1_000).rev() {
        ok(store.create(key(number), bound((number % 2) as u32, now()), None, now()));
    }
    let keys: Vec<_> = (0..1_000).step_by(2).map(key).collect();
    assert_eq!(listed(&store, 0), keys);
    let page = ok(store.list(0.into(), Some(key(101)), 3, now()));
    let page: Vec<_> = page.iter().map(SessionSummary::key).collect();
    assert_eq!(page, [key(102), key(104), key(106)]);
}

#[test]
fn destroy_user_spares_the_newest_and_the_excepted() {
    let store = MemoryStore::new();
    for number in 0..300 {
        let at = now() + Duration::from_secs(number % 100);
        ok(store.create(key(number), bound(7, at), None, now()));
    }
    assert_eq!(ok(store.destroy_user(7.into(), Some(key(0)), 2, now())), 297);
    assert_eq!(listed(&store, 7), [key(0), key(199), key(299)]);
}

#[test]
fn a_record_is_bound_to_one_user_in_its_life() {
    let store = MemoryStore::new();
    ok(store.create(key(1), bound(1, now()), None, now()));
    let rotated = store.rotate(key(1), proof(0), proof(1), login(2), None, now());
    assert_eq!(ok(rotated), Rotated::Gone);
    assert_eq!(listed(&store, 1), [key(1)]);
    assert_eq!(listed(&store, 2), []);
}
