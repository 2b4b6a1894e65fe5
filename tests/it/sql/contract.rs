//! The contract of stores.

use std::time::Duration;

use sqlx::{Executor as _, mysql::MySqlPoolOptions, postgres::PgPoolOptions};
use tower_wristband::{
    SessionKey, SessionSummary, StoreErrorKind, UserId,
    store::{Change, Updated},
    testing::contract::{self, Damage},
};
use tracing::Level;

use super::bed::{Bed, Known, Pool, now, user};
use crate::{
    captured::Capture,
    servers::{server, until},
};

on_each_database!(
    the_contract_is_kept,
    damaged_records_are_refused,
    broken_columns_are_refused,
    what_is_no_object_never_gets_into_the_data,
);

async fn the_contract_is_kept(bed: Bed) {
    contract::check_all(bed.store()).await.unwrap();
}

async fn damaged_records_are_refused(bed: Bed) {
    let damage = async |key: SessionKey, damage| {
        let format = match damage {
            Damage::Undecodable => 0,
            Damage::NewerFormat => 2,
        };
        let key = bed.bytes(key.as_bytes());
        let sql = format!("UPDATE {{table}} SET format = {format} WHERE session_key = {key}");
        bed.sql(&sql).await.unwrap();
    };
    contract::damaged_records_are_refused(bed.store(), damage).await.unwrap();
}

async fn broken_columns_are_refused(bed: Bed) {
    let (store, alice, now) = (bed.store(), user(), now());
    let intact = Known::created(&store, Some(&alice), now).await;
    let other = bed.bytes(b"\xff\xfe");
    let empty = bed.bytes(b"");
    let broken = [
        format!("user_id = {other}"),
        format!("user_id = {empty}"),
        format!("label = {other}"),
        "user_id = NULL".to_owned(),
        "authenticated_at = NULL".to_owned(),
        "authenticated_at = -1".to_owned(),
        "created_at = -1".to_owned(),
        "last_seen_at = -1".to_owned(),
        "rotated_at = -1".to_owned(),
        "logins = -1".to_owned(),
        "logins = 4294967296".to_owned(),
        "idle_seconds = 0".to_owned(),
        "idle_seconds = absolute_seconds + 1".to_owned(),
        "absolute_seconds = -1".to_owned(),
        "touch_seconds = idle_seconds".to_owned(),
        "format = -1".to_owned(),
    ];
    // Lists don't read the data.
    let broken_data = [
        r#"data = '{"first": "no JSON"}'"#,
        r#"data = '{"first": ""}'"#,
        r#"data = '{"first": 1}'"#,
        r#"data = '{"first": null}'"#,
        r#"data = '{"": "1"}'"#,
    ];
    let broken_data = broken_data.map(|set| (set.to_owned(), true));
    for (set, is_listed) in broken.map(|set| (set, false)).into_iter().chain(broken_data) {
        let known = Known::created(&store, Some(&alice), now).await;
        let key = bed.bytes(known.key.as_bytes());
        bed.sql(&format!("UPDATE {{table}} SET {set} WHERE session_key = {key}")).await.unwrap();

        let error = store.load(known.key, known.record.proof(), now).await.expect_err(&set);
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{set}: {error:?}");
        let listed = store.list(alice.clone(), None, 10, now).await.unwrap();
        let keys: Vec<_> = listed.iter().map(SessionSummary::key).collect();
        assert!(keys.contains(&intact.key), "{set}");
        assert_eq!(keys.contains(&known.key), is_listed, "{set}");

        store.destroy(known.key, None, now).await.unwrap();
        assert!(store.load(known.key, known.record.proof(), now).await.unwrap().is_none(), "{set}");
    }
}

async fn what_is_no_object_never_gets_into_the_data(bed: Bed) {
    let (store, now) = (bed.store(), now());
    let known = Known::created(&store, None, now).await;
    for data in ["[]", "1", "\"text\"", "null", "", "no JSON", "{"] {
        let refused = bed.sql(&format!("UPDATE {{table}} SET data = '{data}'")).await;
        assert!(refused.is_err(), "{data}");
    }
    let found = store.load(known.key, known.record.proof(), now).await.unwrap().unwrap();
    assert_eq!(found.parts(), known.record.parts());
}

/// A page of a list that skips records is filled up: a short one would look like the last.
#[tokio::test]
async fn a_list_that_skips_records_goes_on() {
    let bed = Bed::sqlite().await;
    let (store, alice, now) = (bed.store(), user(), now());
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(Known::created(&store, Some(&alice), now).await.key);
    }
    keys.sort();
    for key in &keys[1..9] {
        let key = bed.bytes(key.as_bytes());
        bed.sql(&format!("UPDATE {{table}} SET format = 2 WHERE session_key = {key}"))
            .await
            .unwrap();
    }
    let page = store.list(alice, None, 5, now).await.unwrap();
    let listed: Vec<_> = page.iter().map(SessionSummary::key).collect();
    assert_eq!(listed, [keys[0], keys[9], keys[10], keys[11], keys[12]]);
}

/// MySQL's column has 16 bytes whatever is put there. A key that is none may be the last of a page.
async fn skips_keys_that_are_none_and_reports_them(bed: Bed) {
    let (store, alice, now) = (bed.store(), user(), now());
    let intact = Known::created(&store, Some(&alice), now).await;
    let wrong: [&[u8]; 3] = [b"\0", &[0; 17], &[0xff; 15]];
    for wrong in wrong {
        let known = Known::created(&store, Some(&alice), now).await;
        let (wrong, key) = (bed.bytes(wrong), bed.bytes(known.key.as_bytes()));
        let set = format!("UPDATE {{table}} SET session_key = {wrong} WHERE session_key = {key}");
        bed.sql(&set).await.unwrap();
    }
    for limit in [1, 2, 10] {
        let capture = Capture::start();
        let listed = store.list(alice.clone(), None, limit, now).await.unwrap();
        let keys: Vec<_> = listed.iter().map(SessionSummary::key).collect();
        assert_eq!(keys, [intact.key]);
        let reports = capture.take().into_iter().filter(|event| event.level == Level::ERROR);
        assert!(reports.count() >= 2);
    }
    assert_eq!(store.destroy_user(alice.clone(), None, 0, now).await.unwrap(), 4);
    assert!(store.list(alice, None, 10, now).await.unwrap().is_empty());
    assert_eq!(bed.number("SELECT count(*) FROM {table}").await, 0);
}

#[tokio::test]
async fn a_list_in_sqlite_skips_keys_that_are_none_and_reports_them() {
    skips_keys_that_are_none_and_reports_them(Bed::sqlite().await).await;
}

#[tokio::test]
async fn a_list_in_postgresql_skips_keys_that_are_none_and_reports_them() {
    skips_keys_that_are_none_and_reports_them(Bed::postgres().await).await;
}

async fn postgres_at(level: &str) -> Bed {
    let set = format!("SET default_transaction_isolation = '{level}'");
    let pool = PgPoolOptions::new().after_connect(move |connection, _| {
        let set = sqlx::AssertSqlSafe(set.clone());
        Box::pin(async move { connection.execute(set).await.map(drop) })
    });
    let pool = pool.connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    Bed::migrated(Pool::Postgres(pool), None).await
}

/// Statements of others are in the way there, and are sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract_at_every_level_of_isolation() {
    for level in ["repeatable read", "serializable"] {
        let bed = postgres_at(level).await;
        contract::check_all(bed.store()).await.unwrap_or_else(|error| panic!("{level}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_contract_at_every_level_of_isolation() {
    for level in ["READ COMMITTED", "SERIALIZABLE"] {
        let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
        let pool = MySqlPoolOptions::new().after_connect(move |connection, _| {
            let set = sqlx::AssertSqlSafe(set.clone());
            Box::pin(async move { connection.execute(set).await.map(drop) })
        });
        let pool = pool.connect(&server("WRISTBAND_MYSQL")).await.unwrap();
        let bed = Bed::migrated(Pool::MySql(pool), None).await;
        contract::check_all(bed.store()).await.unwrap_or_else(|error| panic!("{level}: {error}"));
    }
}

/// The snapshot of who waits for a lock is older than what its holder commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serialization_failure_on_postgres_is_tried_again() {
    for level in ["repeatable read", "serializable"] {
        let (bed, now) = (postgres_at(level).await, now());
        let (store, known) = (bed.store(), Known::created(&bed.store(), None, now).await);
        let Pool::Postgres(pool) = &bed.pool else { unreachable!() };
        let key = bed.bytes(known.key.as_bytes());
        let plain = format!("UPDATE {} SET version = 2 WHERE session_key = {key}", bed.table);
        let plain = || sqlx::raw_sql(sqlx::AssertSqlSafe(plain.clone()));
        let mut holder = pool.begin().await.unwrap();
        plain().execute(&mut *holder).await.unwrap();

        let (plain, other) = (plain(), pool.clone());
        let plain = tokio::spawn(async move { plain.execute(&other).await.unwrap_err() });
        let change = Change::new(3).with_field("n", &1).unwrap();
        let updated =
            tokio::spawn(
                async move { store.update(known.key, change, 0, None, now).await.unwrap() },
            );
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND query LIKE '%{table}%'";
        until("both wait", async || bed.number(sql).await == 2).await;
        holder.commit().await.unwrap();
        // It befalls every statement that waits, and the store sends its own again.
        let error = plain.await.unwrap();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("40001"), "{level}");
        assert!(matches!(updated.await.unwrap(), Updated::Stored), "{level}");
    }
}

/// Two logins at the same time never end each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_logins_at_once_one_stays_with_a_cap_of_one() {
    for bed in [Bed::sqlite().await, Bed::postgres().await, Bed::mysql().await] {
        let now = now();
        for _ in 0..50 {
            let alice = user();
            let logins = (0..4).map(|_| {
                let (store, alice) = (bed.store(), alice.clone());
                tokio::spawn(async move {
                    let change = Change::new(1).with_user(alice);
                    let known = Known::new(&change, now);
                    store.create(known.key, known.record, Some(1), now).await.unwrap();
                })
            });
            for login in logins.collect::<Vec<_>>() {
                login.await.unwrap();
            }
            assert_eq!(bed.store().list(alice, None, 10, now).await.unwrap().len(), 1);
        }
    }
}

/// Two logins that both want to end each other, and a session that another transaction holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_wait_for_each_other_before_they_end_sessions() {
    let bed = Bed::postgres().await;
    let (alice, now) = (user(), now());
    let login = || Change::new(1).with_user(alice.clone());
    let mut known = Vec::new();
    // The first is the oldest, has the lowest key, and is the first on the disk: whichever way the
    // sessions are gone through, it comes first or last.
    for (seconds, byte) in [(0, 1), (1, 2), (2, 3)] {
        let mut session = Known::new(&login(), now + Duration::from_secs(seconds));
        session.key = SessionKey::from_bytes([byte; 16]);
        bed.store().create(session.key, session.record.clone(), None, now).await.unwrap();
        known.push(session);
    }
    let Pool::Postgres(pool) = &bed.pool else { unreachable!() };
    let mut other = pool.begin().await.unwrap();
    let key = bed.bytes(known[0].key.as_bytes());
    let lock = format!("SELECT 1 FROM {} WHERE session_key = {key} FOR UPDATE", bed.table);
    other.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();

    let mut logins = Vec::new();
    for (waiting, session) in [(1, &known[1]), (2, &known[2])] {
        let (store, key, from) = (bed.node().await, session.key, session.record.proof());
        let (to, login) = (Known::new(&login(), now).record.proof(), login());
        let later = now + Duration::from_secs(10 + waiting as u64);
        logins.push(tokio::spawn(async move {
            store.rotate(key, from, to, login, Some(1), later).await.unwrap()
        }));
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND query LIKE '%{table}%'";
        until("it waits", async || bed.number(sql).await == waiting).await;
    }
    other.rollback().await.unwrap();
    for login in logins {
        login.await.unwrap();
    }
    assert_eq!(bed.store().list(alice, None, 10, now).await.unwrap().len(), 1);
}

/// A user id that is a number looks like one, and is text all the same.
#[tokio::test]
async fn users_are_bytes_for_every_database() {
    for bed in [Bed::sqlite().await, Bed::postgres().await, Bed::mysql().await] {
        let (store, now) = (bed.store(), now());
        let number = UserId::from(42_u64);
        let known = Known::created(&store, Some(&number), now).await;
        for other in ["042", "42.0", "42 ", "4\u{ff12}"] {
            let other = UserId::new(other).unwrap();
            assert!(!store.destroy(known.key, Some(other), now).await.unwrap());
        }
        assert!(store.destroy(known.key, Some(number), now).await.unwrap());
    }
}
