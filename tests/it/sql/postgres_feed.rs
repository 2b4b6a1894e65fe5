//! PostgreSQL tells what changes in a table, whoever changes it.

mod cached;
mod interruptions;
mod order;

use std::{collections::HashSet, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::time::timeout;
use tower_wristband::{
    PostgresStore, StoreErrorKind,
    store::{Change, Feed, FeedEvent, Heartbeat, SessionStore},
    testing::contract,
};

use super::bed::{Bed, Known, Pool, now, reason, unique, user};
use crate::servers::until;

const BEAT: Duration = Duration::from_millis(20);

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn pool(bed: &Bed) -> &PgPool {
    let Pool::Postgres(pool) = &bed.pool else { panic!("it is PostgreSQL") };
    pool
}

/// The options of a connection that listens, and can be told from others by the table's name.
fn listener(bed: &Bed) -> PgConnectOptions {
    pool(bed).connect_options().as_ref().clone().application_name(&bed.table)
}

fn with_feed(bed: &Bed, listener: PgConnectOptions) -> PostgresStore {
    let store = PostgresStore::new(pool(bed).clone()).with_table(&bed.table).unwrap();
    store.with_feed(listener)
}

fn open(store: &impl SessionStore) -> Feed {
    store.feed(Heartbeat::new(BEAT)).expect("it has a feed")
}

/// A table that was there before, and announces its changes now.
async fn announcing() -> (Bed, PostgresStore) {
    let bed = Bed::postgres().await;
    let store = with_feed(&bed, listener(&bed));
    store.migrate().await.unwrap();
    (bed, store)
}

async fn next(feed: &mut Feed) -> FeedEvent {
    timeout(PATIENCE, feed.next()).await.expect("the feed goes on")
}

/// What is told of all that was written before this call.
async fn told(feed: &mut Feed) -> Vec<FeedEvent> {
    let (mut events, mut stamps) = (Vec::new(), 0);
    // The first stamp may have been taken before.
    while stamps < 2 {
        match next(feed).await {
            FeedEvent::Fresh(_) => stamps += 1,
            event => events.push(event),
        }
    }
    events
}

/// Nothing is told any more, but what was under way.
async fn is_silent(feed: &mut Feed) {
    let mut events = Vec::new();
    while let Ok(event) = timeout(30 * BEAT, feed.next()).await {
        events.push(event);
        assert!(matches!(events[..], [FeedEvent::Fresh(_)]), "{events:?}");
    }
}

/// How many connections listen.
async fn listeners(bed: &Bed) -> i64 {
    bed.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{table}'").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_and_each_end_is_announced() {
    let (bed, store) = announcing().await;
    // Whoever writes: the feed is another's.
    let (writer, alice, now) = (bed.node().await, user(), now());
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    let known = Known::created(&writer, None, now).await;
    let (key, from) = (known.key, known.record.proof());
    assert_eq!(told(&mut feed).await, []);
    writer.update(key, Change::new(2), 0, None, now).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Changed(key)]);
    let (to, login) = (Known::new(&Change::new(3), now).record.proof(), Change::new(3));
    let login = login.with_user(alice.clone());
    writer.rotate(key, from, to, login.clone(), None, now).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Changed(key)]);
    assert!(writer.touch(key, 1, now + Duration::from_secs(9)).await.unwrap());
    assert_eq!(told(&mut feed).await, []);
    assert!(writer.destroy(key, None, now).await.unwrap());
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(key)]);

    // By a cap, of which there may be several.
    let mut ended = HashSet::new();
    for _ in 0..3 {
        ended.insert(Key::of(Known::created(&writer, Some(&alice), now).await));
    }
    let newest = Known::new(&login, now + Duration::from_secs(1));
    writer.create(newest.key, newest.record, Some(1), now).await.unwrap();
    assert_eq!(Key::all(&told(&mut feed).await), ended);
    // And all of a user.
    assert_eq!(writer.destroy_user(alice, None, 0, now).await.unwrap(), 1);
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(newest.key)]);
}

/// An end, in any order.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key([u8; 16]);

impl Key {
    fn of(known: Known) -> Self {
        Self(*known.key.as_bytes())
    }

    fn all(events: &[FeedEvent]) -> HashSet<Self> {
        let keys = events.iter().map(|event| match event {
            FeedEvent::Ended(key) => Self(*key.as_bytes()),
            other => panic!("no end: {other:?}"),
        });
        keys.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_is_not_announced() {
    let (bed, store) = announcing().await;
    let other = Bed::postgres().await;
    let elsewhere = with_feed(&other, listener(&other));
    elsewhere.migrate().await.unwrap();
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    let (writer, now) = (bed.store(), now());
    let known = Known::created(&writer, Some(&user()), now).await;
    let (key, proof) = (known.key, known.record.proof());
    writer.update(key, Change::new(2), 7, None, now).await.unwrap();
    let nobody = Known::new(&Change::new(1), now);
    writer.update(nobody.key, Change::new(2), 0, None, now).await.unwrap();
    writer.rotate(key, nobody.record.proof(), proof, Change::new(2), None, now).await.unwrap();
    assert!(!writer.destroy(key, Some(user()), now).await.unwrap());
    assert!(!writer.destroy(nobody.key, None, now).await.unwrap());
    writer.check(now).await.unwrap();

    // What has expired is swept, and what follows on the same connection is announced again.
    let later = now + Duration::from_secs(9 * 3600);
    let alive = Known::created(&writer, None, later).await;
    assert_eq!(writer.sweep(9, later).await.unwrap(), 1);
    // Another table is another's business.
    let far = Known::created(&other.store(), None, now).await;
    assert!(other.store().destroy(far.key, None, now).await.unwrap());
    assert_eq!(told(&mut feed).await, []);
    assert!(writer.destroy(alive.key, None, later).await.unwrap());
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(alive.key)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_by_hand_announces_it() {
    let (bed, store) = announcing().await;
    let (writer, alice) = (bed.store(), user());
    let first = Known::created(&writer, Some(&alice), now()).await.key;
    let keys = [first, Known::created(&writer, Some(&alice), now()).await.key];
    Known::created(&writer, None, now()).await;
    let bytes = keys.map(|key| bed.bytes(key.as_bytes()));
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    for change in ["expires_at = 1", "version = version", "logins = 9", "user_id = 'bob'"] {
        let sql = format!("UPDATE {{table}} SET {change} WHERE session_key = {}", bytes[0]);
        bed.sql(&sql).await.unwrap();
        assert_eq!(told(&mut feed).await, [FeedEvent::Changed(keys[0])], "{change}");
    }
    let delete = format!("DELETE FROM {{table}} WHERE session_key = {}", bytes[0]);
    bed.sql(&delete).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(keys[0])]);
    // What is no key of a session is no end of one, and hinders nobody.
    let later = "UPDATE {table} SET expires_at = expires_at + 1, last_seen_at = last_seen_at + 1";
    bed.sql(later).await.unwrap();
    let odd = format!("UPDATE {{table}} SET session_key = '' WHERE session_key = {}", bytes[1]);
    bed.sql(&odd).await.unwrap();
    bed.sql("DELETE FROM {table} WHERE session_key = ''").await.unwrap();
    assert_eq!(told(&mut feed).await, []);

    // What is taken back has not happened.
    let mut transaction = pool(&bed).begin().await.unwrap();
    let delete = format!("DELETE FROM {}", bed.table);
    sqlx::raw_sql(sqlx::AssertSqlSafe(delete)).execute(&mut *transaction).await.unwrap();
    assert_eq!(told(&mut feed).await, []);
    transaction.rollback().await.unwrap();
    assert_eq!(told(&mut feed).await, []);

    bed.sql("TRUNCATE {table}").await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    let notify = "SELECT pg_notify('wristband_' || '{table}'::regclass::oid, 'who knows what')";
    bed.sql(notify).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_of_a_user_end_in_few_messages() {
    let (bed, store) = announcing().await;
    let (writer, alice) = (bed.store(), user());
    let mut keys = HashSet::new();
    keys.insert(Key::of(Known::created(&writer, Some(&alice), now()).await));
    bed.multiply(&alice, 9_999).await;
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    let mut messages = PgListener::connect_with(pool(&bed)).await.unwrap();
    let number = bed.number("SELECT '{table}'::regclass::oid::bigint").await;
    messages.listen(&format!("wristband_{number}")).await.unwrap();

    let ended = tokio::spawn({
        let alice = alice.clone();
        async move { writer.destroy_user(alice, None, 0, now()).await.unwrap() }
    });
    let mut ends = Vec::new();
    while ends.len() < 10_000 {
        match next(&mut feed).await {
            FeedEvent::Fresh(_) => {}
            event => ends.push(event),
        }
    }
    assert_eq!(ended.await.unwrap(), 10_000);
    ends.extend(told(&mut feed).await);
    let told = Key::all(&ends);
    assert_eq!((ends.len(), told.len()), (10_000, 10_000));
    assert!(keys.is_subset(&told));
    // The store ends a thousand with a statement, and a message has room for 240.
    let mut count = 0;
    while let Some(message) = messages.next_buffered() {
        assert!(message.payload().len() < 8000);
        count += 1;
    }
    let mut waiting = async || timeout(Duration::from_secs(1), messages.recv()).await.is_ok();
    while count < 50 && waiting().await {
        count += 1;
    }
    assert_eq!(count, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_dropped_has_closed_its_connection() {
    let (bed, store) = announcing().await;
    assert!(bed.store().feed(Heartbeat::new(BEAT)).is_none());
    let (mut one, mut other) = (open(&store), open(&store));
    assert_eq!(listeners(&bed).await, 0);
    assert_eq!(told(&mut one).await, [FeedEvent::Gap]);
    assert_eq!(told(&mut other).await, [FeedEvent::Gap]);
    assert_eq!(listeners(&bed).await, 2);
    drop(one);
    until("it has left", async || listeners(&bed).await == 1).await;
    // Also where there is no runtime.
    std::thread::spawn(move || drop(other)).join().unwrap();
    until("both have left", async || listeners(&bed).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_of_the_schema_and_the_table() {
    let bed = Bed::postgres().await;
    let (schema, options) = (unique(), listener(&bed));
    bed.sql(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let store = PostgresStore::new(pool(&bed).clone()).with_schema(&schema).unwrap();
    // In any order; the names are as long as they can be.
    let name = "X".repeat(48);
    let store = store.with_feed(options).with_table(&name).unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.check(now()).await.unwrap();
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    let known = Known::new(&Change::new(1), now());
    store.create(known.key, known.record, None, now()).await.unwrap();
    store.destroy(known.key, None, now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Ended(known.key)]);
    bed.sql(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
}

/// It fails, and says what to do.
async fn fails(store: &PostgresStore, kind: StoreErrorKind, hint: &str) {
    let error = store.check(now()).await.expect_err("it can't be used");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(reason(&error).contains(hint), "{hint}: {}", reason(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_would_not_tell_all_is_not_fresh() {
    let bed = Bed::postgres().await;
    let store = with_feed(&bed, listener(&bed));
    // The table announces nothing.
    fails(&store, StoreErrorKind::Unavailable, "migrate").await;
    let mut feed = open(&store);
    is_silent(&mut feed).await;
    store.migrate().await.unwrap();
    store.check(now()).await.unwrap();
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);

    // Or ceases to.
    for change in [
        "DROP TRIGGER wristband_ended ON {table}",
        "ALTER TABLE {table} DISABLE TRIGGER wristband_changed",
        "DROP TABLE {table}",
    ] {
        bed.sql(change).await.unwrap();
        is_silent(&mut feed).await;
        assert!(store.check(now()).await.is_err());
        store.migrate().await.unwrap();
        assert_eq!(told(&mut feed).await, [FeedEvent::Gap], "{change}");
        let known = Known::created(&bed.store(), None, now()).await;
        bed.store().destroy(known.key, None, now()).await.unwrap();
        assert_eq!(told(&mut feed).await, [FeedEvent::Ended(known.key)], "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_from_another_database_is_refused() {
    let (bed, _) = announcing().await;
    let database = unique();
    bed.sql(&format!("CREATE DATABASE {database}")).await.unwrap();
    let store = with_feed(&bed, listener(&bed).database(&database));
    fails(&store, StoreErrorKind::Timeout, "the same database as the pool").await;
    is_silent(&mut open(&store)).await;
    let nowhere = listener(&bed).port(crate::servers::free_port());
    let store = with_feed(&bed, nowhere);
    let error = store.check(now()).await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Timeout | StoreErrorKind::Unavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_a_table_that_announces() {
    let (bed, store) = announcing().await;
    contract::check_all(store.clone()).await.unwrap();
    contract::check_feed(store, bed.node().await).await.unwrap();
}
