//! What goes wrong with servers: nothing that was acknowledged is lost, an outage is told as one,
//! and the store recovers by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use sqlx::{
    AssertSqlSafe, MySqlPool, PgPool, mysql::MySqlPoolOptions, postgres::PgPoolOptions,
    sqlite::SqlitePoolOptions,
};
use tokio::task::JoinHandle;
use tower_wristband::{
    SessionLayer, StoreErrorKind,
    store::{Change, SessionStore, Updated},
    testing,
};

use super::bed::{Bed, Known, Pool, Store, now, unique, user};
use crate::{
    servers::{Server, server, until},
    support::{visit, who},
};

/// Writers that count up one session each, whatever happens.
struct Load {
    store: Store,
    writers: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counter>>,
    ends: Arc<AtomicBool>,
}

struct Counter {
    known: Known,
    /// The last count that was sent, and the last that was acknowledged.
    sent: AtomicUsize,
    stored: AtomicUsize,
    outages: AtomicUsize,
}

impl Load {
    async fn on(store: Store) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (mut writers, mut counters) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let counter = Arc::new(Counter {
                known: Known::created(&store, Some(&user()), now()).await,
                sent: 0.into(),
                stored: 0.into(),
                outages: 0.into(),
            });
            counters.push(Arc::clone(&counter));
            writers.push(tokio::spawn(count_up(store.clone(), counter, Arc::clone(&ends))));
        }
        Self { store, writers, counters, ends }
    }

    /// Each has written since.
    async fn goes_on(&self) {
        let before: Vec<_> = self.counters.iter().map(|counter| counter.stored()).collect();
        until("every writer writes again", async || {
            self.counters.iter().zip(&before).all(|(counter, before)| counter.stored() > *before)
        })
        .await;
    }

    fn outages(&self) -> usize {
        self.counters.iter().map(|counter| counter.outages.load(Ordering::SeqCst)).sum()
    }

    /// What the store keeps is what was acknowledged last, or what came after that.
    async fn ends(self) {
        self.ends.store(true, Ordering::SeqCst);
        for writer in self.writers {
            writer.await.unwrap();
        }
        for counter in self.counters {
            let Known { key, record } = &counter.known;
            let found = self.store.load(*key, record.proof(), now()).await.unwrap();
            let kept: usize = found.unwrap().field("count").unwrap().parse().unwrap();
            let (stored, sent) = (counter.stored(), counter.sent.load(Ordering::SeqCst));
            assert!((stored..=sent).contains(&kept), "{kept} of {stored} to {sent}");
        }
    }
}

impl Counter {
    fn stored(&self) -> usize {
        self.stored.load(Ordering::SeqCst)
    }
}

async fn count_up(store: Store, counter: Arc<Counter>, ends: Arc<AtomicBool>) {
    while !ends.load(Ordering::SeqCst) {
        let count = counter.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let change = Change::new(count as u64).with_field("count", &count).unwrap();
        match store.update(counter.known.key, change, 1, None, now()).await {
            Ok(Updated::Stored) => {
                counter.stored.store(count, Ordering::SeqCst);
            }
            Ok(other) => panic!("a living session answered {other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                counter.outages.fetch_add(1, Ordering::SeqCst);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Pools as most programs have them.
async fn postgres_pool(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    pool.connect(url).await.unwrap()
}

async fn mysql_pool(url: &str) -> MySqlPool {
    let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    pool.connect(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_and_restarted_under_load() {
    let mut server = Server::postgres(&[]).await;
    let pool = postgres_pool(&server.url()).await;
    let bed = Bed::migrated(Pool::Postgres(pool), None).await;
    is_killed_and_restarted(&bed, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_is_killed_and_restarted_under_load() {
    let mut server = Server::mariadb(&[]).await;
    let pool = mysql_pool(&server.url()).await;
    let bed = Bed::migrated(Pool::MySql(pool), None).await;
    is_killed_and_restarted(&bed, &mut server).await;
}

async fn is_killed_and_restarted(bed: &Bed, server: &mut Server) {
    let layer = SessionLayer::new(bed.store());
    let cookie = testing::issue(&layer, "alice").await;
    let ended = testing::issue(&layer, "bob").await;
    layer.sessions().revoke_user(&"bob".try_into().unwrap()).await.unwrap();
    let load = Load::on(bed.store()).await;
    for _ in 0..2 {
        load.goes_on().await;
        let outages = load.outages();
        server.kill();
        // An outage is neither a logout nor a pass. Processes that the server has left behind may
        // answer for a moment, and answer what is true.
        for (cookie, before) in [(&cookie, StatusCode::OK), (&ended, StatusCode::UNAUTHORIZED)] {
            until("it is an outage", async || {
                let response = visit(&who(&layer), cookie).await;
                if response.status() == before {
                    return false;
                }
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert!(!response.headers().contains_key("set-cookie"));
                true
            })
            .await;
        }
        until("the writers are told", async || load.outages() > outages).await;
        server.start().await;
        load.goes_on().await;
        until("the session is there again", async || {
            visit(&who(&layer), &cookie).await.status() == StatusCode::OK
        })
        .await;
        until("the ended one is not", async || {
            let status = visit(&who(&layer), &ended).await.status();
            assert_ne!(status, StatusCode::OK);
            status == StatusCode::UNAUTHORIZED
        })
        .await;
    }
    load.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_are_terminated_under_load() {
    let name = unique();
    let administrator = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    let options = administrator.connect_options().as_ref().clone().application_name(&name);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let bed = Bed::migrated(Pool::Postgres(pool), None).await;
    let load = Load::on(bed.store()).await;
    for _ in 0..5 {
        load.goes_on().await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = $1";
        let ended: i64 =
            sqlx::query_scalar(sql).bind(&name).fetch_one(&administrator).await.unwrap();
        assert!(ended > 0);
    }
    load.goes_on().await;
    load.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_connections_are_killed_under_load() {
    let bed = Bed::mysql().await;
    let Pool::MySql(administrator) = &bed.pool else { unreachable!() };
    let other = bed.other_pool(5).await;
    let load = Load::on(bed.store_on(&other)).await;
    for _ in 0..5 {
        load.goes_on().await;
        // Whoever is at work on this table.
        let sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE ? \
                   AND ID <> CONNECTION_ID()";
        let mut killed = 0;
        until("a connection at work is killed", async || {
            let ids: Vec<i64> = sqlx::query_scalar(sql)
                .bind(format!("UPDATE%{}%", bed.table))
                .fetch_all(administrator)
                .await
                .unwrap();
            for id in ids {
                let kill = AssertSqlSafe(format!("KILL {id}"));
                killed += usize::from(sqlx::raw_sql(kill).execute(administrator).await.is_ok());
            }
            killed > 0
        })
        .await;
    }
    load.goes_on().await;
    load.ends().await;
}

on_each_database!(an_exhausted_pool_is_an_outage);

async fn an_exhausted_pool_is_an_outage(bed: Bed) {
    let known = Known::created(&bed.store(), None, now()).await;
    let patience = Duration::from_millis(50);
    macro_rules! exhausted {
        ($options:ty, $pool:expr, $variant:ident) => {{
            let options = <$options>::new().max_connections(1).acquire_timeout(patience);
            let small = options.connect_with($pool.connect_options().as_ref().clone());
            let small = small.await.unwrap();
            let store = bed.store_on(&Pool::$variant(small.clone()));
            let taken = small.acquire().await.unwrap();
            is_unavailable(&store, &known).await;
            drop(taken);
            assert!(store.touch(known.key, 0, now()).await.unwrap());
        }};
    }
    match &bed.pool {
        Pool::Sqlite(pool) => exhausted!(SqlitePoolOptions, pool, Sqlite),
        Pool::Postgres(pool) => exhausted!(PgPoolOptions, pool, Postgres),
        Pool::MySql(pool) => exhausted!(MySqlPoolOptions, pool, MySql),
    }
}

async fn is_unavailable(store: &Store, known: &Known) {
    let (key, proof) = (known.key, known.record.proof());
    let kinds = [
        store.load(key, proof, now()).await.unwrap_err().kind(),
        store.touch(key, 0, now()).await.unwrap_err().kind(),
        store.update(key, Change::new(1), 0, None, now()).await.unwrap_err().kind(),
        store.destroy(key, None, now()).await.unwrap_err().kind(),
        store.sweep(10, now()).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [StoreErrorKind::Unavailable; 5]);
}

/// Another transaction locks one of two sessions, then the other, which the store has locked. The
/// store's statement is the one that the server ends to resolve it, and is sent again.
///
/// The store begins with the newest.
macro_rules! deadlock {
    ($bed:ident, $other:ident) => {{
        let (store, alice) = ($bed.node().await, user());
        let later = now() + Duration::from_secs(1);
        let older = Known::created(&store, Some(&alice), now()).await;
        let newer = Known::created(&store, Some(&alice), later).await;
        let lock = |known: &Known| {
            let (table, key) = (&$bed.table, $bed.bytes(known.key.as_bytes()));
            let sql = format!("UPDATE {table} SET version = 1 WHERE session_key = {key}");
            sqlx::raw_sql(AssertSqlSafe(sql))
        };
        let deadlocks = $bed.number(DEADLOCKS).await;
        lock(&older).execute(&mut *$other).await.unwrap();
        let destroyed =
            tokio::spawn(async move { store.destroy_user(alice, None, 0, later).await.unwrap() });
        until("the store waits for the lock", async || $bed.number(WAITING).await > 0).await;
        // Were it this one that is ended, this would be the error.
        lock(&newer).execute(&mut *$other).await.unwrap();
        $other.commit().await.unwrap();
        assert_eq!(destroyed.await.unwrap(), 2);
        until("there was one", async || $bed.number(DEADLOCKS).await > deadlocks).await;
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_on_postgres_is_tried_again() {
    const DEADLOCKS: &str =
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    const WAITING: &str = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
        WHERE NOT granted AND query LIKE '%DELETE FROM \"{table}\"%'";
    let pool = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    // Who has waited so long looks for deadlocks, once: the store does, and finds one.
    let options = pool.connect_options().as_ref().clone().options([("deadlock_timeout", "3s")]);
    let pool = PgPool::connect_with(options).await.unwrap();
    let bed = Bed::migrated(Pool::Postgres(pool.clone()), None).await;
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL deadlock_timeout = '1h'").execute(&mut *other).await.unwrap();
    deadlock!(bed, other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_on_mysql_is_tried_again() {
    const DEADLOCKS: &str = "SELECT CAST(VARIABLE_VALUE AS SIGNED) \
        FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Innodb_deadlocks'";
    // What it shows is renewed when nobody has looked for a tenth of a second.
    const WAITING: &str = "SELECT COUNT(*) + SLEEP(0.2) FROM information_schema.INNODB_TRX \
        WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE 'DELETE `{table}`%'";
    let bed = Bed::mysql().await;
    let Pool::MySql(pool) = &bed.pool else { unreachable!() };
    let mut other = pool.begin().await.unwrap();
    // Who has changed less is ended: the store.
    for _ in 0..20 {
        let key = bed.bytes(Known::created(&bed.store(), None, now()).await.key.as_bytes());
        let weigh = format!("UPDATE {} SET version = 2 WHERE session_key = {key}", bed.table);
        sqlx::raw_sql(AssertSqlSafe(weigh)).execute(&mut *other).await.unwrap();
    }
    deadlock!(bed, other);
}
