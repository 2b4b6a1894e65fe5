//! After every interruption there is a gap, and no proof of freshness before it.

use std::{fs, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use tower_wristband::{
    PostgresStore,
    store::{Change, Feed, FeedEvent, SessionStore},
};
use tracing::Level;

use super::{announcing, is_silent, listener, listeners, next, open, pool, told, with_feed};
use crate::{
    captured::Capture,
    proxy::{Fault, Proxy},
    servers::{Server, until},
    sql::bed::{Bed, Known, Pool, now},
};

/// Until it is whole again: there was a gap before anything else.
async fn gap(feed: &mut Feed) {
    let mut proofs = 0;
    loop {
        match next(feed).await {
            FeedEvent::Gap => return,
            // An echo may have been under way.
            FeedEvent::Fresh(_) if proofs == 0 => proofs += 1,
            other => panic!("{other:?} before a gap"),
        }
    }
}

/// It tells what is written from now on.
async fn tells(feed: &mut Feed, store: &impl SessionStore) {
    let known = Known::new(&Change::new(1), now());
    store.create(known.key, known.record, None, now()).await.unwrap();
    store.update(known.key, Change::new(2), 0, None, now()).await.unwrap();
    store.destroy(known.key, None, now()).await.unwrap();
    let events = [FeedEvent::Changed(known.key), FeedEvent::Ended(known.key)];
    assert_eq!(told(feed).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_terminated_is_a_gap() {
    let (bed, store) = announcing().await;
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    for _ in 0..3 {
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE application_name = '{table}'";
        assert_eq!(bed.number(terminate).await, 1);
        until("it has left", async || listeners(&bed).await == 0).await;
        let known = Known::created(&bed.store(), None, now()).await;
        bed.store().destroy(known.key, None, now()).await.unwrap();
        gap(&mut feed).await;
        tells(&mut feed, &store).await;
        assert_eq!(listeners(&bed).await, 1);
    }
}

#[tokio::test]
async fn a_feed_that_does_not_come_up_is_told_to_tracing() {
    let capture = Capture::start();
    let nowhere = PgConnectOptions::new().socket("/nowhere");
    let store = PostgresStore::new(PgPoolOptions::new().connect_lazy_with(nowhere.clone()));
    let mut feed = open(&store.with_feed(nowhere));
    let mut events = Vec::new();
    until("something is told", async || {
        let silence = timeout(Duration::from_millis(1), feed.next()).await;
        assert!(silence.is_err());
        events.extend(capture.take());
        !events.is_empty()
    })
    .await;
    assert_eq!(
        (events[0].level, &*events[0].message),
        (Level::WARN, "feed of the session store lost")
    );
    assert!(events[0].field("error").is_some_and(|error| error.contains("Unavailable")));
}

async fn private(server: &Server) -> (Bed, PostgresStore) {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    let pool: PgPool = pool.connect(&server.url()).await.unwrap();
    let bed = Bed::empty(Pool::Postgres(pool), None);
    let store = with_feed(&bed, listener(&bed));
    store.migrate().await.unwrap();
    (bed, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_restarted_is_a_gap() {
    let mut server = Server::postgres(&[]).await;
    let (_bed, store) = private(&server).await;
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    for _ in 0..2 {
        server.kill();
        is_silent(&mut feed).await;
        server.start().await;
        gap(&mut feed).await;
        tells(&mut feed, &store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_proves_nothing() {
    let mut server = Server::postgres(&[]).await;
    let (bed, store) = private(&server).await;
    let mut feed = open(&store);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    server.shut_down().await;
    fs::write(server.directory().join("data/standby.signal"), "").unwrap();
    server.start().await;
    until("it answers", async || sqlx::query("SELECT 1").execute(pool(&bed)).await.is_ok()).await;
    assert_eq!(bed.number("SELECT pg_is_in_recovery()::int::bigint").await, 1);
    is_silent(&mut feed).await;
    bed.sql("SELECT pg_promote()").await.unwrap();
    gap(&mut feed).await;
    tells(&mut feed, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_silence_and_then_a_gap() {
    let (bed, store) = announcing().await;
    let options = listener(&bed);
    let proxy = Proxy::to(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let behind = with_feed(&bed, options.clone().host("127.0.0.1").port(proxy.port()));
    let mut feed = open(&behind);
    assert_eq!(told(&mut feed).await, [FeedEvent::Gap]);
    tells(&mut feed, &store).await;

    proxy.set(Fault::BlackHole).await;
    let known = Known::created(&bed.store(), None, now()).await;
    bed.store().destroy(known.key, None, now()).await.unwrap();
    is_silent(&mut feed).await;
    // The connection is given up for another, which is in the hole as well.
    let connections = proxy.connections();
    until("it tries again", async || {
        let _ = timeout(super::BEAT, feed.next()).await;
        proxy.connections() > connections
    })
    .await;
    proxy.set(Fault::None).await;
    gap(&mut feed).await;
    tells(&mut feed, &store).await;

    for fault in [Fault::Refuse, Fault::CutReply] {
        proxy.set(fault).await;
        // Only what asks for a connection sends requests by this way.
        proxy.reset().await;
        is_silent(&mut feed).await;
        proxy.set(Fault::None).await;
        gap(&mut feed).await;
        tells(&mut feed, &store).await;
    }
    proxy.reset().await;
    gap(&mut feed).await;
    tells(&mut feed, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_up_only_while_the_pool_reaches_the_same_server() {
    let (bed, _) = announcing().await;
    let options = listener(&bed);
    let proxy = Proxy::to(&format!("{}:{}", options.get_host(), options.get_port())).await;
    proxy.set(Fault::BlackHole).await;
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    let pool = pool.connect_lazy_with(options.clone().host("127.0.0.1").port(proxy.port()));
    let store = with_feed(&bed.with_pool(Pool::Postgres(pool)), options);
    let mut feed = open(&store);
    is_silent(&mut feed).await;
    proxy.set(Fault::None).await;
    gap(&mut feed).await;
    tells(&mut feed, &store).await;

    // The connection that listens is well, but says nothing of where the pool writes to.
    proxy.set(Fault::BlackHole).await;
    is_silent(&mut feed).await;
    proxy.set(Fault::None).await;
    told(&mut feed).await;
    tells(&mut feed, &store).await;
}
