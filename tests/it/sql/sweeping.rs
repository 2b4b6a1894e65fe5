//! Clean-up by many nodes.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::timeout;
use tower_wristband::{Sweeper, Timestamp, store::SessionStore, testing::ManualClock};

use super::bed::{Bed, Known, LIFETIME, Pool, now, user};

on_each_database!(
    nodes_that_sweep_at_once_remove_each_session_once,
    a_session_that_was_just_extended_is_safe,
    a_sweeper_cleans_up,
);

fn long_ago() -> Timestamp {
    Timestamp::from_unix_millis(1_600_000_000_000)
}

async fn nodes_that_sweep_at_once_remove_each_session_once(bed: Bed) {
    let store = bed.store();
    let mut alive = Vec::new();
    for _ in 0..20 {
        alive.push(Known::created(&store, Some(&user()), now()).await);
    }
    for _ in 0..300 {
        Known::created(&store, None, long_ago()).await;
    }
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let node = bed.node().await;
        nodes.push(tokio::spawn(async move {
            let mut swept = 0;
            // Another may have taken all that is left: it takes more than one that finds nothing.
            for _ in 0..100 {
                let batch = node.sweep(7, now()).await.unwrap();
                assert!(batch <= 7);
                swept += batch;
            }
            swept
        }));
    }
    let mut swept = 0;
    for node in nodes {
        swept += node.await.unwrap();
    }
    assert_eq!(swept, 300);
    assert_eq!(bed.number("SELECT COUNT(*) FROM {table}").await, 20);
    for known in alive {
        assert!(store.load(known.key, known.record.proof(), now()).await.unwrap().is_some());
    }
}

/// A node whose clock is behind extends it, while another takes it for expired.
async fn a_session_that_was_just_extended_is_safe(bed: Bed) {
    let (one, other) = (bed.node().await, bed.node().await);
    let start = now();
    let expired = start + LIFETIME.idle();
    let just_before = Timestamp::from_unix_millis(expired.as_unix_millis() - 1);
    for round in 0..60 {
        let known = Known::created(&one, None, start).await;
        let key = known.key;
        let sweep = tokio::spawn({
            let one = one.clone();
            async move { one.sweep(10, expired).await.unwrap() }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        if other.touch(key, 0, just_before).await.unwrap() {
            sweep.await.unwrap();
            let found = one.load(key, known.record.proof(), expired).await.unwrap();
            assert!(found.is_some(), "round {round}: it was swept after it was extended");
        } else {
            assert!(sweep.await.unwrap() > 0, "round {round}: it was neither swept nor extended");
        }
        // Nothing of it is left for the next round.
        one.destroy(key, None, expired).await.unwrap();
    }
    // Without a race: it is extended first, or swept first.
    let known = Known::created(&one, None, start).await;
    assert!(other.touch(known.key, 0, just_before).await.unwrap());
    assert_eq!(one.sweep(10, expired).await.unwrap(), 0);
}

async fn a_sweeper_cleans_up(bed: Bed) {
    let store = bed.store();
    for _ in 0..25 {
        Known::created(&store, Some(&user()), long_ago()).await;
    }
    let alive = Known::created(&store, None, now()).await;
    let clock = ManualClock::new();
    clock.set(now());
    let interval = Duration::from_secs(3600);
    let _sweeper = Sweeper::builder(bed.store(), interval).clock(clock).batch(10).spawn();
    crate::servers::until("the expired are swept", async || {
        bed.number("SELECT COUNT(*) FROM {table}").await == 1
    })
    .await;
    assert!(store.load(alive.key, alive.record.proof(), now()).await.unwrap().is_some());
}

mod locked {
    use super::Bed;

    on_each_server!(a_sweep_waits_for_nobody);

    async fn a_sweep_waits_for_nobody(bed: Bed) {
        super::a_sweep_waits_for_nobody(bed).await;
    }
}

/// A row that another transaction has locked is left for the next time.
async fn a_sweep_waits_for_nobody(bed: Bed) {
    let store = bed.node().await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(Known::created(&store, None, long_ago()).await.key);
    }
    let key = bed.bytes(keys[1].as_bytes());
    let lock = format!("SELECT 1 FROM {} WHERE session_key = {key} FOR UPDATE", bed.table);
    macro_rules! sweep_while_locked {
        ($pool:expr) => {{
            let mut transaction = $pool.begin().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await.unwrap();
            // Far less than a lock is waited for.
            let swept = timeout(Duration::from_secs(20), store.sweep(10, now())).await;
            assert_eq!(swept.expect("it waits for nobody").unwrap(), 2);
            transaction.rollback().await.unwrap();
        }};
    }
    match &bed.pool {
        Pool::Sqlite(_) => unreachable!("it locks no rows"),
        Pool::Postgres(pool) => sweep_while_locked!(pool),
        Pool::MySql(pool) => sweep_while_locked!(pool),
    }
    assert_eq!(store.sweep(10, now()).await.unwrap(), 1);
}
