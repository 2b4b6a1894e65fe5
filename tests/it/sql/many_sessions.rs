//! A user with very many sessions: what it takes is bounded.

use std::time::{Duration, Instant};

use tower_wristband::{
    SessionKey, SessionLayer, UserId,
    store::{Change, SessionStore, Updated},
};

use super::bed::{Bed, Known, Pool, Store, now, user};

on_each_database!(a_hundred_thousand_sessions_of_a_user_are_bounded);

mod counted {
    use super::Bed;

    on_each_server!(what_is_read_for_a_page_is_bounded);

    async fn what_is_read_for_a_page_is_bounded(bed: Bed) {
        super::what_is_read_for_a_page_is_bounded(bed).await;
    }
}

const MANY: usize = 100_000;

/// An outer limit: it takes some seconds, and minutes if the work grows with the square.
const LONGEST: Duration = Duration::from_secs(60);

/// So many sessions of the user.
async fn many(bed: &Bed, user: &UserId) -> Known {
    let known = Known::created(&bed.store(), Some(user), now()).await;
    bed.multiply(user, MANY - 1).await;
    known
}

async fn a_hundred_thousand_sessions_of_a_user_are_bounded(bed: Bed) {
    let (alice, bob) = (user(), user());
    let newest = many(&bed, &alice).await;
    let store = bed.store();
    let start = Instant::now();

    // Each page has the time that the layer gives a call.
    let sessions = SessionLayer::new(bed.store()).sessions();
    let count = within("count", sessions.count(&alice)).await.unwrap();
    assert_eq!(count, MANY);
    let page = within("list", store.list(alice.clone(), None, 50, now())).await.unwrap();
    assert_eq!(page.len(), 50);

    // One of them is as quick to change as any other.
    let change = Change::new(7).with_field("n", &7).unwrap();
    let updated = within("update", store.update(newest.key, change, 1, None, now())).await.unwrap();
    assert!(matches!(updated, Updated::Stored));

    // A cap that is new ends all but the newest, and the newcomer.
    let newcomer = log_in(&store, &alice, 3).await;
    let left = store.list(alice.clone(), None, 10, now()).await.unwrap();
    let keys: Vec<_> = left.iter().map(tower_wristband::SessionSummary::key).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&newcomer.key) && keys.contains(&newest.key));

    bed.sql("DELETE FROM {table}").await.unwrap();
    let newest = many(&bed, &alice).await;
    let his = Known::created(&store, Some(&bob), now()).await;
    let others = store.destroy_user(alice.clone(), Some(newest.key), 0, now());
    assert_eq!(within("revoke the others", others).await.unwrap(), MANY - 1);
    let left = store.list(alice, None, 10, now()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key(), newest.key);
    assert!(store.load(his.key, his.record.proof(), now()).await.unwrap().is_some());
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = future.await;
    println!("{what}: {:?}", start.elapsed());
    result
}

async fn log_in(store: &Store, user: &UserId, cap: usize) -> Known {
    let known = Known::new(&Change::new(1).with_user(user.clone()), now());
    let created = store.create(known.key, known.record.clone(), Some(cap), now());
    within("login with a cap", created).await.unwrap();
    known
}

/// How many rows and entries of indexes a connection has read, by the server's own count.
async fn read(bed: &Bed) -> i64 {
    match &bed.pool {
        Pool::Sqlite(_) => unreachable!("it doesn't count them"),
        Pool::Postgres(_) => {
            bed.sql("SELECT pg_stat_force_next_flush()").await.unwrap();
            bed.number(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables \
                 WHERE relname = '{table}'",
            )
            .await
        }
        Pool::MySql(_) => {
            bed.number(
                "SELECT CAST(SUM(VARIABLE_VALUE) AS SIGNED) FROM information_schema.SESSION_STATUS \
                 WHERE VARIABLE_NAME LIKE 'Handler\\_read\\_%' \
                 OR VARIABLE_NAME = 'Handler_icp_attempts'",
            )
            .await
        }
    }
}

/// Half of the table is another user's, so that no way is short but the one by user and key.
async fn what_is_read_for_a_page_is_bounded(bed: Bed) {
    let (alice, bob) = (user(), user());
    many(&bed, &alice).await;
    many(&bed, &bob).await;
    let bed = bed.with_pool(bed.other_pool(1).await);
    let store = bed.store();
    for known_statistics in [false, true] {
        if known_statistics {
            match &bed.pool {
                Pool::MySql(_) => bed.sql("ANALYZE TABLE {table}").await.unwrap(),
                _ => bed.sql("ANALYZE {table}").await.unwrap(),
            }
        }
        // A plan for all parameters is made after some that were for those of a call.
        for first_byte in (0..=255).step_by(15) {
            let after = SessionKey::from_bytes([first_byte; 16]);
            let before = read(&bed).await;
            let page = store.list(alice.clone(), Some(after), 1000, now()).await.unwrap();
            let read = read(&bed).await - before;
            assert!(page.len() <= 1000);
            // Some of it is the work of asking.
            assert!(read < 4000, "{read} are read behind {first_byte} ({known_statistics})");
        }
    }
}
