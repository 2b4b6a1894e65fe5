//! Servers that fall silent under a site that waits for them for a tenth of a second.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::FutureExt;
use http::{HeaderValue, Response, StatusCode};
use redis::aio::MultiplexedConnection;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tower_wristband::{
    RedisStore, SessionKey, SessionLayer, internals, store::SessionStore, testing,
};

use super::{
    Known, at, change, connect,
    failover::{slot, store_behind, store_on},
    load::is_soon,
    now, on, on_sentinels,
};
use crate::{
    proxy::{Fault, Proxy},
    servers::{Cluster, Sentinels, Server, server, until},
    support::{App, body, cookies_set, visit, who},
};

/// Shorter than the store itself gives a server that may have fallen silent.
const LIMIT: Duration = Duration::from_millis(100);

/// A visitor of a site on a store.
struct Visitor {
    read: App,
    cookie: HeaderValue,
}

impl Visitor {
    async fn of(store: &RedisStore) -> Self {
        let cookie = testing::issue(&SessionLayer::new(store.clone()), "alice").await;
        let layer = SessionLayer::builder(store.clone()).store_timeout(LIMIT).build().unwrap();
        Self { read: who(&layer), cookie }
    }

    fn key(&self) -> SessionKey {
        let (_, token) = self.cookie.to_str().unwrap().split_once('=').unwrap();
        internals::parse_token(token.as_bytes()).unwrap().key()
    }

    /// An answer, which comes soon and is no refusal.
    async fn visit(&self) -> Response<Body> {
        let start = Instant::now();
        let response = visit(&self.read, &self.cookie).await;
        is_soon(start);
        let status = response.status();
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
        assert_eq!(cookies_set(&response), 0);
        response
    }

    /// The limit is waited for, and then it is an outage.
    async fn waits_in_vain(&self) {
        let start = Instant::now();
        assert_eq!(self.visit().await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(start.elapsed() >= LIMIT, "{:?}", start.elapsed());
    }

    async fn is_let_in_again(&self) {
        until("the visitor is let in", async || {
            let response = self.visit().await;
            response.status() == StatusCode::OK && body(response).await == "alice"
        })
        .await;
    }
}

/// An address that leads to a server. What is open, or opened, while the line is cut stays open and
/// silent for good, as if a machine had gone without a word.
struct Line {
    address: String,
    /// How often it has been cut or mended.
    changes: watch::Sender<usize>,
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, changes) = watch::channel(0_usize);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(lead(client, server.clone(), changes.clone()));
            }
        });
        Self { address, changes: sender }
    }

    fn change(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

async fn lead(mut client: TcpStream, server: String, mut changes: watch::Receiver<usize>) {
    let at_first = *changes.borrow_and_update();
    if at_first.is_multiple_of(2) {
        let mut server = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = changes.changed() => {}
        }
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_single_server_that_is_gone_without_a_word_is_connected_to_anew() {
    let server = Server::redis(&[]).await;
    let line = Line::to(server.address()).await;
    let visitor = Visitor::of(&at(&line.address)).await;
    visitor.is_let_in_again().await;
    for _ in 0..2 {
        line.change();
        // So long that what was open is not asked any more.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            visitor.waits_in_vain().await;
        }
        line.change();
        visitor.is_let_in_again().await;
    }
}

#[tokio::test]
async fn a_master_of_a_cluster_that_falls_silent_is_an_outage_until_it_is_replaced() {
    let cluster = Cluster::start().await;
    let visitor = Visitor::of(&store_on(&cluster)).await;
    visitor.is_let_in_again().await;
    let slot = slot(format!("wristband:s:{}", visitor.key()).as_bytes());
    let master = usize::from(slot > 5460) + usize::from(slot > 10922);
    let replica = &cluster.nodes[master + 3];
    replica.until_answer(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), ":1").await;
    cluster.nodes[master].suspend();
    visitor.waits_in_vain().await;
    visitor.is_let_in_again().await;
    assert!(replica.ask("INFO replication").contains("role:master"));
}

#[tokio::test]
async fn a_master_behind_sentinel_that_falls_silent_is_an_outage_until_it_is_replaced() {
    let sentinels = Sentinels::start().await;
    let visitor = Visitor::of(&store_behind(&sentinels)).await;
    visitor.is_let_in_again().await;
    // The session, and its place in the index.
    sentinels.replica.until_answer("DBSIZE", ":2").await;
    sentinels.master.suspend();
    visitor.waits_in_vain().await;
    visitor.is_let_in_again().await;
    assert!(sentinels.replica.ask("INFO replication").contains("role:master"));
}

#[tokio::test]
async fn a_sentinel_that_takes_longer_than_half_a_second_can_not_be_asked() {
    let sentinels = server("WRISTBAND_REDIS_SENTINEL");
    let proxy = Proxy::to(sentinels.split(',').next().unwrap()).await;
    let (store, known) = (on_sentinels([&*proxy.address()]), Known::new(&change()));
    proxy.set(Fault::Slow(Duration::from_millis(700))).await;
    let creating = store.create(known.key, known.record.clone(), None, now());
    assert!(timeout(Duration::from_secs(5), creating).await.is_err());
    proxy.set(Fault::None).await;
    known.create(&store).await;
}

async fn connections_made(connection: &mut MultiplexedConnection) -> usize {
    let stats: String = redis::cmd("INFO").arg("stats").query_async(connection).await.unwrap();
    let made = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    made.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn clients_that_hang_up_are_no_reason_to_connect_anew() {
    let server = Server::redis(&[]).await;
    let (store, known) = (on(&server), Known::new(&change()));
    known.create(&store).await;
    let mut connection = connect(&server).await;
    let before = connections_made(&mut connection).await;
    for _ in 0..50 {
        assert!(known.load(&store).now_or_never().is_none());
        // Long enough for the server to answer what nobody waits for.
        sleep(Duration::from_millis(20)).await;
    }
    assert!(store.touch(known.key, 0, now()).await.unwrap());
    // A machine under load may keep the server from answering for a while, but not each time.
    let made = connections_made(&mut connection).await - before;
    assert!(made < 5, "{made} connections");
}
