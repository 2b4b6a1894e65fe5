//! What each operation, and each request, asks of the server, by the server's own count.

use sqlx::{Connection as _, MySqlPool, PgConnection, PgPool, mysql::MySqlPoolOptions};
use tower_wristband::{
    PostgresStore, SessionLayer,
    store::Change,
    testing::{self, ManualClock},
};

use super::bed::{Bed, Known, Pool, now, unique, user};
use crate::{
    servers::server,
    support::{app, get, send, text, visit},
};

/// Counts the statements of one database or connection.
enum Counter {
    /// Of a database of its own.
    Postgres { observer: PgPool, database: String },
    /// Of the one connection of a pool.
    MySql { pool: MySqlPool, own: std::sync::atomic::AtomicI64 },
}

impl Counter {
    async fn count(&self) -> i64 {
        match self {
            Self::Postgres { observer, database } => sqlx::query_scalar(
                "SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements \
                 JOIN pg_database ON oid = dbid WHERE datname = $1",
            )
            .bind(database)
            .fetch_one(observer)
            .await
            .unwrap(),
            Self::MySql { pool, own } => {
                let (_, questions): (String, String) =
                    sqlx::query_as("SHOW SESSION STATUS LIKE 'Questions'")
                        .fetch_one(pool)
                        .await
                        .unwrap();
                // Asking counts as well.
                let own = 1 + own.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                questions.parse::<i64>().unwrap() - own
            }
        }
    }
}

async fn postgres() -> (Bed, Counter) {
    let observer = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    let mut connection = observer.acquire().await.unwrap();
    let database = unique();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
    sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql(create).execute(&mut *connection).await.unwrap();
    let options = observer.connect_options().as_ref().clone().database(&database);
    PgConnection::connect_with(&options).await.unwrap().close().await.unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).test_before_acquire(false);
    let pool = pool.connect_with(options).await.unwrap();
    let bed = Bed::migrated(Pool::Postgres(pool), None).await;
    (bed, Counter::Postgres { observer, database })
}

async fn mysql() -> (Bed, Counter) {
    let pool = MySqlPoolOptions::new().max_connections(1).test_before_acquire(false);
    let pool = pool.connect(&server("WRISTBAND_MYSQL")).await.unwrap();
    let bed = Bed::migrated(Pool::MySql(pool.clone()), None).await;
    (bed, Counter::MySql { pool, own: 0.into() })
}

#[tokio::test]
async fn each_operation_takes_one_statement_on_postgres() {
    let (bed, counter) = postgres().await;
    operations(&bed, &counter).await;
    requests(&bed, &counter).await;
}

#[tokio::test]
async fn a_table_that_announces_its_changes_takes_no_more() {
    let (bed, counter) = postgres().await;
    let Pool::Postgres(pool) = &bed.pool else { unreachable!() };
    let options = pool.connect_options().as_ref().clone();
    let store = PostgresStore::new(pool.clone()).with_table(&bed.table).unwrap();
    store.with_feed(options).migrate().await.unwrap();
    operations(&bed, &counter).await;
    requests(&bed, &counter).await;
}

#[tokio::test]
async fn each_operation_takes_one_statement_on_mysql() {
    let (bed, counter) = mysql().await;
    operations(&bed, &counter).await;
    requests(&bed, &counter).await;
}

/// Asserts how many statements the block takes.
macro_rules! takes {
    ($counter:expr, $expected:expr, $what:literal, $do:expr) => {{
        let before = $counter.count().await;
        let result = $do;
        let after = $counter.count().await;
        assert_eq!(after - before, $expected, $what);
        result
    }};
}

async fn operations(bed: &Bed, counter: &Counter) {
    let (store, alice, now) = (bed.store(), user(), now());
    let change = || Change::new(2).with_field("second", &2).unwrap();
    let known = Known::new(&Change::new(1), now);
    let (key, from) = (known.key, known.record.proof());
    let to = Known::new(&change(), now).record.proof();

    takes!(counter, 1, "create", store.create(key, known.record, None, now).await.unwrap());
    takes!(counter, 1, "load", store.load(key, from, now).await.unwrap().unwrap());
    takes!(counter, 1, "update", store.update(key, change(), 0, None, now).await.unwrap());
    takes!(
        counter,
        1,
        "with a version",
        store.update(key, change(), 0, Some(2), now).await.unwrap()
    );
    takes!(counter, 1, "touch", store.touch(key, 0, now).await.unwrap());
    takes!(counter, 1, "rotate", store.rotate(key, from, to, change(), None, now).await.unwrap());
    let login = change().with_user(alice.clone());
    takes!(counter, 2, "capped", store.rotate(key, to, from, login, Some(3), now).await.unwrap());
    takes!(counter, 1, "list", store.list(alice.clone(), None, 10, now).await.unwrap());
    takes!(counter, 1, "destroy", store.destroy(key, Some(alice.clone()), now).await.unwrap());
    // MySQL does not tell what it has deleted.
    let absent = if matches!(bed.pool, Pool::MySql(_)) { 3 } else { 1 };
    takes!(counter, absent, "destroy nothing", store.destroy(key, None, now).await.unwrap());
    takes!(counter, 2, "destroy_user", store.destroy_user(alice, None, 0, now).await.unwrap());
    takes!(counter, 1, "sweep", store.sweep(10, now).await.unwrap());
    // Who loses asks what there is.
    takes!(counter, 2, "gone", store.update(key, change(), 1, None, now).await.unwrap());
}

async fn requests(bed: &Bed, counter: &Counter) {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(bed.store()).clock(clock).build().unwrap();
    let optional = layer.optional();
    let read = app(&optional, |session| async move {
        text(session.get::<u32>("first").unwrap().unwrap_or(0).to_string())
    });
    let write = app(&optional, |session| async move {
        session.insert("first", &1).unwrap();
        text("")
    });
    let log_in = app(&optional, |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    let log_out = app(&optional, |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    let rotate = app(&optional, |session| async move {
        session.rotate().unwrap();
        text("")
    });

    takes!(counter, 0, "no cookie", send(&read, get("/")).await);
    let created = takes!(counter, 1, "anonymous", send(&write, get("/")).await);
    let visitor = testing::cookie_from(&created).unwrap();
    takes!(counter, 1, "read", visit(&read, &visitor).await);
    takes!(counter, 2, "read and write", visit(&write, &visitor).await);
    takes!(counter, 2, "read and rotate", visit(&rotate, &visitor).await);

    takes!(counter, 1, "login of a stranger", send(&log_in, get("/")).await);
    let created = send(&write, get("/")).await;
    let visitor = testing::cookie_from(&created).unwrap();
    let login = takes!(counter, 2, "read and login", visit(&log_in, &visitor).await);
    let alice = testing::cookie_from(&login).unwrap();
    takes!(counter, 2, "read and logout", visit(&log_out, &alice).await);

    let bob = testing::issue(&layer, "bob").await;
    takes!(counter, 3, "read, login, end of bob's session", visit(&log_in, &bob).await);
    let layer = SessionLayer::builder(bed.store()).sessions_per_user(1).build().unwrap();
    let log_in = app(&layer, |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    let bob = testing::issue(&layer, "bob").await;
    takes!(counter, 4, "the same, with a cap", visit(&log_in, &bob).await);
    let alice = "alice".parse().unwrap();
    assert_eq!(takes!(counter, 1, "count", layer.sessions().count(&alice).await.unwrap()), 1);
}
