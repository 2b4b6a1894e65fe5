//! A server that falls silent: its connections are closed, and others take their place.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::watch, time::timeout};
use tower_wristband::{
    MySqlStore, PostgresStore, StoreErrorKind,
    store::{Change, SessionStore as _},
};

use super::bed::{Bed, Known, Pool, Store, now, user};
use crate::{
    proxy::{Fault, Proxy},
    servers::{server, until},
};

/// A table, a proxy in front of its server, and a pool whose connections go through that.
async fn behind_proxy(pool: PgPoolOptions) -> (Bed, Proxy, PgPool) {
    let bed = Bed::postgres().await;
    let proxy = bed.proxy().await;
    let options: PgConnectOptions = server("WRISTBAND_POSTGRES").parse().unwrap();
    let pool = pool.connect_lazy_with(options.port(proxy.port()));
    (bed, proxy, pool)
}

/// As the layer does, which waits for longer.
async fn is_given_up(call: impl Future) {
    assert!(timeout(Duration::from_millis(100), call).await.is_err());
}

async fn makes_room(pool: &PgPool) {
    until("the pool has room for others", async || pool.size() == 0).await;
}

async fn recovers(proxy: &Proxy, store: &Store) {
    proxy.set(Fault::None).await;
    Known::created(store, None, now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_statement_is_given_up_makes_room_for_another() {
    for tests in [false, true] {
        let (bed, proxy, pool) =
            behind_proxy(PgPoolOptions::new().max_connections(2).test_before_acquire(tests)).await;
        let store = bed.store_on(&Pool::Postgres(pool.clone()));
        let known = Known::new(&Change::new(1), now());
        let load = || store.load(known.key, known.record.proof(), now());
        assert!(futures_util::future::join(load(), load()).await.0.unwrap().is_none());
        until("the pool has both again", async || pool.num_idle() == 2).await;

        proxy.set(Fault::BlackHole).await;
        is_given_up(futures_util::future::join(load(), load())).await;
        makes_room(&pool).await;
        recovers(&proxy, &store).await;
    }
}

/// The statement is done; what the pool asks before it takes the connection back is not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_cant_be_returned_makes_room_for_another() {
    let (gate, opened) = watch::channel(false);
    let pool = PgPoolOptions::new().after_release(move |_, _| {
        let mut opened = opened.clone();
        Box::pin(async move { Ok(opened.wait_for(|opened| *opened).await.is_ok()) })
    });
    let (bed, proxy, pool) = behind_proxy(pool).await;
    let store = bed.store_on(&Pool::Postgres(pool.clone()));
    Known::created(&store, None, now()).await;

    proxy.set(Fault::BlackHole).await;
    gate.send_replace(true);
    makes_room(&pool).await;
    recovers(&proxy, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_given_up_makes_room_for_another() {
    let (bed, proxy, pool) =
        behind_proxy(PgPoolOptions::new().max_connections(1).test_before_acquire(false)).await;
    let postgres = PostgresStore::new(pool.clone()).with_table(&bed.table).unwrap();
    let store = bed.store_on(&Pool::Postgres(pool.clone()));
    for migrates in [false, true] {
        store.check(now()).await.unwrap();
        until("the pool has it again", async || pool.num_idle() == 1).await;
        proxy.set(Fault::BlackHole).await;
        if migrates {
            is_given_up(postgres.migrate()).await;
        } else {
            is_given_up(store.check(now())).await;
        }
        makes_room(&pool).await;
        recovers(&proxy, &store).await;
    }
}

/// It ends in the middle of a connection's beginning.
#[tokio::test]
async fn a_server_that_says_nothing_to_a_client_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // PostgreSQL's clients speak first, in eight bytes; MySQL's don't.
            let _ = timeout(Duration::from_millis(100), client.read_exact(&mut [0; 8])).await;
        }
    });
    let postgres = PgPool::connect_lazy(&format!("postgres://nobody@{address}/nothing")).unwrap();
    let mysql = sqlx::MySqlPool::connect_lazy(&format!("mysql://nobody@{address}/nothing"));
    for error in [
        PostgresStore::new(postgres).destroy_user(user(), None, 0, now()).await.unwrap_err(),
        MySqlStore::new(mysql.unwrap()).destroy_user(user(), None, 0, now()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
}
