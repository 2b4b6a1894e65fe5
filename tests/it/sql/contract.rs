//! The contract of stores.

use sqlx::{Executor as _, mysql::MySqlPoolOptions, postgres::PgPoolOptions};
use tower_wristband::{
    StoreErrorKind, UserId,
    testing::contract::{self, Damage},
};

use super::bed::{Bed, Known, Pool, now, user};
use crate::servers::server;

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
    let damage = async |key: tower_wristband::SessionKey, damage| {
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
        let keys: Vec<_> = listed.iter().map(tower_wristband::SessionSummary::key).collect();
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
    let listed: Vec<_> = page.iter().map(tower_wristband::SessionSummary::key).collect();
    assert_eq!(listed, [keys[0], keys[9], keys[10], keys[11], keys[12]]);
}

/// Statements of others are in the way there, and are sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract_at_every_level_of_isolation() {
    for level in ["repeatable read", "serializable"] {
        let set = format!("SET default_transaction_isolation = '{level}'");
        let pool = PgPoolOptions::new().after_connect(move |connection, _| {
            let set = sqlx::AssertSqlSafe(set.clone());
            Box::pin(async move { connection.execute(set).await.map(drop) })
        });
        let pool = pool.connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
        let bed = Bed::migrated(Pool::Postgres(pool), None).await;
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
                    let change = tower_wristband::store::Change::new(1).with_user(alice);
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
