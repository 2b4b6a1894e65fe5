//! The memory store.

use std::time::Duration;

use shuttle::future::block_on;
use tower_wristband::{
    MemoryStore, StoreErrorKind, Timestamp,
    store::{Change, Rotated, SessionStore, Updated},
};

use crate::{
    schedules::explore,
    support::{KEY, NOW, field, join, join_all, key, login, proof, record, start, user, wait},
};

/// With one session, under [`KEY`].
fn store_with(change: &Change) -> MemoryStore {
    let store = MemoryStore::new();
    wait(store.create(KEY, record(change), None, NOW));
    store
}

#[test]
fn no_write_brings_back_a_session_that_was_destroyed() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        let writes = [
            start(&store, |store| drop(wait(store.update(KEY, field(2, "a", 1), 1, None, NOW)))),
            start(&store, |store| {
                let change = login(3, "alice");
                let _ = wait(store.rotate(KEY, proof(0), proof(1), change, None, NOW));
            }),
        ];
        assert!(wait(store.destroy(KEY, None, NOW)));
        assert!(wait(store.load(KEY, proof(0), NOW)).is_none());
        join_all(writes);
        assert!(wait(store.load(KEY, proof(0), NOW)).is_none());
        assert!(store.is_empty());
        assert!(wait(store.list(user("alice"), None, 9, NOW)).is_empty());
    });
}

#[test]
fn no_touch_brings_back_a_session_that_was_destroyed() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        let later = NOW + Duration::from_secs(30);
        let seen = start(&store, move |store| wait(store.touch(KEY, 1, later)));
        assert!(wait(store.destroy(KEY, None, NOW)));
        assert!(wait(store.load(KEY, proof(0), NOW)).is_none());
        join(seen);
        assert!(wait(store.load(KEY, proof(0), later)).is_none());
        assert!(store.is_empty());
    });
}

#[test]
fn no_handle_of_an_older_login_writes() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        let stale = start(&store, |store| {
            drop(wait(store.update(KEY, field(2, "a", 1), 1, None, NOW)));
        });
        // What was written before it is cleared.
        let change = login(3, "alice").with_cleared_fields();
        let rotated = wait(store.rotate(KEY, proof(0), proof(1), change, None, NOW));
        assert_eq!(rotated, Rotated::Stored);
        join(stale);
        let stored = wait(store.load(KEY, proof(1), NOW)).expect("it lives");
        assert_eq!(stored.field("a"), None);
    });
}

#[test]
fn no_handle_of_an_older_login_counts_as_activity() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        // Without the new login, the session has ended by then.
        let [soon, late] = [30, 70].map(|seconds| NOW + Duration::from_secs(seconds));
        let stale = start(&store, move |store| wait(store.touch(KEY, 1, late)));
        let change = login(2, "alice");
        let rotated = wait(store.rotate(KEY, proof(0), proof(1), change, None, soon));
        assert_eq!(rotated, Rotated::Stored);
        assert!(!join(stale));
        let stored = wait(store.load(KEY, proof(1), late)).expect("it lives");
        assert_eq!(stored.last_seen_at(), soon);
    });
}

#[test]
fn of_two_rotations_from_one_token_one_comes_about() {
    explore(|| {
        let store = store_with(&Change::new(1));
        let rotations = [1, 2].map(|number| {
            start(&store, move |store| {
                let change = field(number.into(), "by", number.into());
                wait(store.rotate(KEY, proof(0), proof(number), change, None, NOW))
            })
        });
        let [first, second] = join_all(rotations);
        let winner = match (first, second) {
            (Rotated::Stored, Rotated::Gone) => 1,
            (Rotated::Gone, Rotated::Stored) => 2,
            both => panic!("{both:?}"),
        };
        let stored = wait(store.load(KEY, proof(winner), NOW)).expect("it lives");
        assert_eq!(stored.proof(), proof(winner));
        assert_eq!(stored.field("by"), Some(&*winner.to_string()));
    });
}

#[test]
fn no_update_is_lost() {
    explore(|| {
        let store = store_with(&Change::new(1));
        let updates = [("a", 2), ("b", 3)].map(|(name, version)| {
            start(&store, move |store| {
                let updated = wait(store.update(KEY, field(version, name, 1), 0, None, NOW));
                assert!(matches!(updated, Updated::Stored));
            })
        });
        wait(store.rotate(KEY, proof(0), proof(1), field(4, "c", 1), None, NOW));
        join_all(updates);
        let stored = wait(store.load(KEY, proof(1), NOW)).expect("it lives");
        assert!(["a", "b", "c"].iter().all(|name| stored.field(name) == Some("1")));
        assert_eq!(stored.proof(), proof(1));
    });
}

#[test]
fn of_two_updates_of_one_version_one_is_stored() {
    explore(|| {
        let store = store_with(&Change::new(1));
        let updates = [2, 3].map(|version| {
            start(&store, move |store| {
                let change = field(version, "by", version as u32);
                wait(store.update(KEY, change, 0, Some(1), NOW))
            })
        });
        let answers = join_all(updates);
        let stored = answers.iter().filter(|answer| matches!(answer, Updated::Stored));
        assert_eq!(stored.count(), 1);
    });
}

#[test]
fn of_two_sessions_under_one_key_one_is_created() {
    explore(|| {
        let store = MemoryStore::new();
        let sessions = [1, 2].map(|number| {
            start(&store, move |store| {
                let created = store.create(KEY, record(&field(number, "by", 1)), None, NOW);
                match block_on(created) {
                    Ok(()) => Some(number),
                    Err(error) if error.kind() == StoreErrorKind::Collision => None,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let winner: Vec<_> = join_all(sessions).into_iter().flatten().collect();
        assert_eq!(winner.len(), 1);
        let stored = wait(store.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(stored.version(), winner[0]);
    });
}

#[test]
fn when_logins_race_the_cap_leaves_as_many_as_it_allows() {
    explore(|| {
        let store = store_with(&Change::new(1));
        let created = start(&store, |store| {
            wait(store.create(key(2), record(&login(2, "alice")), Some(1), NOW));
        });
        let rotated = wait(store.rotate(KEY, proof(0), proof(1), login(3, "alice"), Some(1), NOW));
        assert_eq!(rotated, Rotated::Stored);
        join(created);
        assert_eq!(wait(store.list(user("alice"), None, 9, NOW)).len(), 1);
        assert_eq!(store.len(), 1);
    });
}

#[test]
fn ending_a_users_sessions_ends_nobody_elses() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        let replaced = start(&store, |store| {
            wait(store.destroy(KEY, None, NOW));
            wait(store.create(KEY, record(&Change::new(2)), None, NOW));
        });
        wait(store.destroy_user(user("alice"), None, 0, NOW));
        join(replaced);
        assert!(wait(store.load(KEY, proof(0), NOW)).is_some());
    });
}

#[test]
fn who_ends_a_users_sessions_leaves_none_that_was_there() {
    explore(|| {
        let store = store_with(&login(1, "alice"));
        let writes = [
            start(&store, |store| drop(wait(store.update(KEY, field(2, "a", 1), 1, None, NOW)))),
            start(&store, |store| {
                let change = login(3, "alice");
                let _ = wait(store.rotate(KEY, proof(0), proof(1), change, None, NOW));
            }),
        ];
        wait(store.destroy_user(user("alice"), None, 0, NOW));
        assert!(wait(store.load(KEY, proof(0), NOW)).is_none());
        join_all(writes);
        assert!(store.is_empty());
    });
}

#[test]
fn a_store_has_no_more_places_than_it_may() {
    explore(|| {
        let store = MemoryStore::with_max_sessions(1);
        let visitors = [1, 2].map(|number| {
            start(&store, move |store| {
                let created = store.create(key(number), record(&Change::new(1)), None, NOW);
                block_on(created).is_ok()
            })
        });
        let created = join_all(visitors);
        assert_eq!(created.iter().filter(|created| **created).count(), 1);

        // Whoever ends it gives its place back once.
        let endings = [1, 2].map(|number| {
            start(&store, move |store| {
                wait(store.destroy(key(number), None, NOW));
                wait(store.destroy(key(3 - number), None, NOW));
            })
        });
        join_all(endings);
        let again = [4, 5].map(|number| {
            block_on(store.create(key(number), record(&Change::new(1)), None, NOW)).is_ok()
        });
        assert_eq!(again, [true, false]);
    });
}

#[test]
fn a_login_finds_room_in_a_store_full_of_visitors() {
    explore(|| {
        let store = MemoryStore::with_max_sessions(2);
        for number in [4, 5] {
            wait(store.create(key(number), record(&Change::new(1)), None, NOW));
        }
        let visitor = start(&store, |store| {
            drop(block_on(store.create(key(2), record(&Change::new(1)), None, NOW)));
        });
        wait(store.create(key(3), record(&login(2, "alice")), None, NOW));
        join(visitor);
        assert!(wait(store.load(key(3), proof(0), NOW)).is_some());
        assert!(store.len() <= 2);
    });
}

#[test]
fn no_sweep_removes_a_session_that_has_been_seen() {
    explore(|| {
        let store = store_with(&Change::new(1));
        let deadline = record(&Change::new(1)).expires_at();
        let just_before = Timestamp::from_unix_millis(deadline.as_unix_millis() - 1);
        let seen = start(&store, move |store| wait(store.touch(KEY, 0, just_before)));
        wait(store.sweep(9, deadline));
        let is_seen = join(seen);
        assert_eq!(wait(store.load(KEY, proof(0), deadline)).is_some(), is_seen);
        // Its next deadline is not forgotten.
        wait(store.sweep(9, deadline + Duration::from_secs(60)));
        assert!(store.is_empty());
    });
}
