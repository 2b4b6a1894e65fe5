//! Clean-up by many nodes.

use std::time::Duration;

use http::StatusCode;
use sqlx::AssertSqlSafe;
use tokio::time::timeout;
use tower_wristband::{
    Clock as _, SessionLayer, Sweeper, Timestamp,
    store::{Change, SessionStore, Updated},
    testing::{self, ManualClock},
};

use super::bed::{Bed, Known, LIFETIME, Pool, now, user};
use crate::support::{visit, who};

on_each_database!(
    nodes_that_sweep_at_once_remove_each_session_once,
    a_session_that_was_just_extended_is_safe,
    a_sweeper_cleans_up,
    what_has_expired_is_swept_within_minutes,
    what_is_alive_for_a_slower_node_is_not_swept,
);

/// What has expired is swept so much later at most, on time for all.
const MINUTES: Duration = Duration::from_secs(323);

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
    // What has expired is swept some minutes later.
    let late = expired + MINUTES;
    for round in 0..60 {
        let known = Known::created(&one, None, start).await;
        let key = known.key;
        let sweep = tokio::spawn({
            let one = one.clone();
            async move { one.sweep(10, late).await.unwrap() }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        if other.touch(key, 0, just_before).await.unwrap() {
            sweep.await.unwrap();
            let found = one.load(key, known.record.proof(), late).await.unwrap();
            assert!(found.is_some(), "round {round}: it was swept after it was extended");
        } else {
            assert!(sweep.await.unwrap() > 0, "round {round}: it was neither swept nor extended");
        }
        // Nothing of it is left for the next round.
        one.destroy(key, None, late).await.unwrap();
    }
    // Without a race: it is extended first, or swept first.
    let known = Known::created(&one, None, start).await;
    assert!(other.touch(known.key, 0, just_before).await.unwrap());
    assert_eq!(one.sweep(10, late).await.unwrap(), 0);
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

async fn what_has_expired_is_swept_within_minutes(bed: Bed) {
    let (store, start) = (bed.store(), now());
    let known = Known::created(&store, None, start).await;
    store.touch(known.key, 0, start + Duration::from_secs(100)).await.unwrap();
    let expired = start + Duration::from_secs(100) + LIFETIME.idle();
    let just_before = Timestamp::from_unix_millis(expired.as_unix_millis() - 1);
    assert_eq!(store.sweep(10, just_before).await.unwrap(), 0);
    assert_eq!(store.sweep(10, expired + MINUTES).await.unwrap(), 1);
}

/// One node's clock is ahead of the server's by what `check` allows, and the other's behind.
async fn what_is_alive_for_a_slower_node_is_not_swept(bed: Bed) {
    // Its end is the last moment of those that are swept together.
    let last = now().as_unix_millis() | ((1 << 18) - 1);
    let end = Timestamp::from_unix_millis(last);
    let start = Timestamp::from_unix_millis(last - LIFETIME.idle().as_millis() as u64);
    let (ahead, behind) = (ManualClock::new(), ManualClock::new());
    behind.set(start);
    let layer = SessionLayer::builder(bed.store()).clock(behind.clone()).lifetime(LIFETIME);
    let layer = layer.build().unwrap();
    let cookie = testing::issue(&layer, "alice").await;

    behind.set(Timestamp::from_unix_millis(last - 1));
    ahead.set(behind.now() + Duration::from_secs(2));
    let node = bed.node().await;
    assert_eq!(node.sweep(10, ahead.now()).await.unwrap(), 0);
    assert_eq!(visit(&who(&layer), &cookie).await.status(), StatusCode::OK);
    // That was a sign of life: it ends later.
    assert_eq!(node.sweep(10, end + MINUTES).await.unwrap(), 0);
    assert_eq!(node.sweep(10, end + LIFETIME.idle() + MINUTES).await.unwrap(), 1);
}

/// A write that leaves all indexes as they are is the cheapest that there is.
#[tokio::test]
async fn most_writes_change_no_index_of_postgres() {
    let bed = Bed::postgres().await;
    let bed = bed.with_pool(bed.other_pool(1).await);
    let (store, start) = (bed.store(), now());
    let known = Known::created(&store, Some(&user()), start).await;
    for second in 0..200 {
        let now = start + Duration::from_secs(second);
        let change = Change::new(second).with_field("first", &second).unwrap();
        let updated = store.update(known.key, change, 1, None, now).await.unwrap();
        assert!(matches!(updated, Updated::Stored));
    }
    bed.sql("SELECT pg_stat_force_next_flush()").await.unwrap();
    let others = "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables \
                  WHERE relname = '{table}'";
    // One in each four minutes, and one where a page is full: of dozens, while others hold snapshots.
    let others = bed.number(others).await;
    assert!(others <= 20, "{others} of 200");
}
