//! What is particular to a file.

use std::{path::Path, pin::pin, process::Command, sync::Arc, time::Duration};

use futures_util::poll;
use sqlx::{
    Connection as _, Executor as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{runtime::Builder, sync::Barrier, time::timeout};
use tower_wristband::{
    SessionLayer, SqliteStore, StoreError, StoreErrorKind,
    store::{Change, SessionStore as _, Updated},
    testing,
};

use super::bed::{Bed, Known, Pool, Store, now, user};
use crate::support::{visit, who};

#[tokio::test]
async fn sessions_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let layer = SessionLayer::new(SqliteStore::open(&path).await.unwrap());
    let cookie = testing::issue(&layer, "alice").await;
    drop(layer);
    let layer = SessionLayer::new(SqliteStore::open(&path).await.unwrap());
    assert_eq!(visit(&who(&layer), &cookie).await.status(), 200);
}

#[tokio::test]
async fn a_new_file_is_set_up_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let store = SqliteStore::open(&path).await.unwrap();
    store.check(now()).await.unwrap();
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "wal");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
    assert_eq!(tables, ["wristband_sessions"]);
}

/// The switch to the log takes the file for itself alone, and no busy timeout waits for that.
#[tokio::test]
async fn a_new_file_that_another_writes_to_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut opened = pin!(SqliteStore::open(&path));
    assert!(timeout(Duration::from_millis(300), &mut opened).await.is_err());
    other.execute("COMMIT").await.unwrap();
    opened.await.unwrap().check(now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_open_one_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = dir.path().join(format!("{round}.sqlite"));
        let start = Arc::new(Barrier::new(8));
        let opened = (0..8).map(|_| {
            let (path, start) = (path.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let store = SqliteStore::open(path).await?;
                store.check(now()).await?;
                Ok::<Store, StoreError>(Arc::new(store))
            })
        });
        let mut stores = Vec::new();
        for opened in opened.collect::<Vec<_>>() {
            stores.push(opened.await.unwrap().unwrap());
        }
        let known = Known::created(&stores[0], None, now()).await;
        for store in stores {
            let found = store.load(known.key, known.record.proof(), now()).await.unwrap();
            assert!(found.is_some());
        }
    }
}

/// Where another process finds the file.
const FILE: &str = "WRISTBAND_TEST_SQLITE_FILE";
const PROCESSES: u32 = 3;
const ROUNDS: u32 = 100;

/// This test is started again by itself, as each of the processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_share_a_file() {
    if let Ok(path) = std::env::var(FILE) {
        return count_in_another_process(Path::new(&path)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let store: Store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let known = Known::new(&Change::new(0).with_field("count", &0).unwrap(), now());
    store.create(known.key, known.record.clone(), None, now()).await.unwrap();
    let key = known.key.to_string();
    std::fs::write(path.with_extension("key"), &key).unwrap();

    let this = std::env::current_exe().unwrap();
    let name = "sql::sqlite_file::several_processes_share_a_file";
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| Command::new(&this).args([name, "--exact"]).env(FILE, &path).spawn().unwrap())
        .collect();
    for mut process in processes {
        let status = tokio::task::spawn_blocking(move || process.wait()).await.unwrap();
        assert!(status.unwrap().success());
    }
    let found = store.load(known.key, known.record.proof(), now()).await.unwrap().unwrap();
    assert_eq!(found.field("count"), Some((PROCESSES * ROUNDS).to_string().as_str()));
}

/// Counts up a session, with the version that it has read.
async fn count_in_another_process(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let key = std::fs::read_to_string(path.with_extension("key")).unwrap().parse().unwrap();
    let any = tower_wristband::SessionToken::generate().unwrap().proof();
    let mut stored = 0;
    while stored < ROUNDS {
        let found = store.load(key, any, now()).await.unwrap().unwrap();
        let count: u32 = found.field("count").unwrap().parse().unwrap();
        let version = u64::from_le_bytes(
            *tower_wristband::SessionToken::generate()
                .unwrap()
                .key()
                .as_bytes()
                .first_chunk()
                .unwrap(),
        );
        let change = Change::new(version).with_field("count", &(count + 1)).unwrap();
        match store.update(key, change, 0, Some(found.version()), now()).await.unwrap() {
            Updated::Stored => stored += 1,
            Updated::Conflict(_) => {}
            Updated::Gone => panic!("a living session is gone"),
        }
    }
}

#[test]
fn what_is_dropped_outside_of_a_runtime_gives_its_connection_back() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let known = Known::new(&Change::new(0), now());
    let (store, writing, other) = runtime.block_on(async {
        SqliteStore::open(&path).await.unwrap();
        let options = SqliteConnectOptions::new().filename(&path);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        // The pool's own way of keeping one connection open needs a runtime.
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1);
        let pool = pool.test_before_acquire(false).connect_with(options).await.unwrap();
        while pool.num_idle() == 0 {
            tokio::task::yield_now().await;
        }
        let store = SqliteStore::new(pool.clone());
        let mut writing = store.create(known.key, known.record.clone(), None, now());
        assert!(poll!(&mut writing).is_pending());
        assert_eq!(pool.num_idle(), 0);
        (store, writing, other)
    });
    drop(writing);
    runtime.block_on(async {
        other.close().await.unwrap();
        let found = store.load(known.key, known.record.proof(), now()).await;
        assert!(found.is_ok());
    });
}

#[tokio::test]
async fn a_full_disk_is_an_outage() {
    let bed = Bed::sqlite().await;
    let Pool::Sqlite(pool) = &bed.pool else { unreachable!() };
    let alice = user();
    let known = Known::created(&bed.store(), Some(&alice), now()).await;
    // As many pages as there are.
    let pages = bed.number("PRAGMA page_count").await;
    let options = SqliteConnectOptions::clone(&pool.connect_options());
    let options = options.pragma("max_page_count", pages.to_string());
    let full = SqlitePool::connect_with(options).await.unwrap();
    let store = bed.store_on(&Pool::Sqlite(full));

    let mut stored = Vec::new();
    let error = loop {
        let change = Change::new(1).with_field("long", &"x".repeat(1000)).unwrap();
        let known = Known::new(&change, now());
        match store.create(known.key, known.record.clone(), None, now()).await {
            Ok(()) => stored.push(known),
            Err(error) => break error,
        }
        assert!(stored.len() < 10_000, "it is never full");
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let (key, proof) = (known.key, known.record.proof());
    let change = Change::new(2).with_field("long", &"x".repeat(20_000)).unwrap();
    let error = store.update(key, change.clone(), 1, None, now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);

    // What was acknowledged is there, and can be ended; then there is room.
    for known in &stored {
        assert!(store.load(known.key, known.record.proof(), now()).await.unwrap().is_some());
        assert!(store.destroy(known.key, None, now()).await.unwrap());
    }
    let found = store.load(key, proof, now()).await.unwrap().unwrap();
    assert_eq!(found.parts(), known.record.parts());
    assert_eq!(store.destroy_user(alice, None, 0, now()).await.unwrap(), 1);
    // On a larger disk all goes on.
    let known = Known::created(&bed.store(), None, now()).await;
    assert!(matches!(
        bed.store().update(known.key, change, 0, None, now()).await,
        Ok(Updated::Stored)
    ));
}

/// Another process that writes for too long.
#[tokio::test]
async fn a_file_that_stays_locked_is_an_outage() {
    let bed = Bed::sqlite().await;
    let Pool::Sqlite(pool) = &bed.pool else { unreachable!() };
    let known = Known::created(&bed.store(), None, now()).await;
    let options = SqliteConnectOptions::clone(&pool.connect_options());
    let impatient = options.busy_timeout(Duration::from_millis(1));
    let impatient = SqlitePoolOptions::new().connect_with(impatient).await.unwrap();
    let store = bed.store_on(&Pool::Sqlite(impatient));

    let writing = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.touch(known.key, 0, now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    // Readers wait for nobody.
    assert!(store.load(known.key, known.record.proof(), now()).await.unwrap().is_some());
    writing.rollback().await.unwrap();
    assert!(store.touch(known.key, 0, now()).await.unwrap());
}
