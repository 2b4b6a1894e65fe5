//! Whatever happens to its server or its connection, a feed proves nothing while it is not whole,
//! and recovers by itself.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tower_wristband::{
    RedisStore,
    store::{FeedEvent, SessionStore, Stamp},
};

use super::{Listener, stamp, tracking};
use crate::{
    proxy::{Fault, Proxy},
    redis::{Known, at, change, connect, now, on},
    servers::{Server, until},
};

impl Listener {
    fn has_proved_nothing_since(&self, moment: Stamp) -> bool {
        !self.is_fresh_as_of(moment)
    }

    /// What is written now is told.
    async fn hears_a_write_to(&self, store: &RedisStore) {
        let (known, at) = (Known::new(&change()), self.position());
        known.create(store).await;
        self.fresh().await;
        assert!(self.heard()[at..].contains(&FeedEvent::Changed(known.key)));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_a_gap() {
    let mut server = Server::redis(&[]).await;
    let store = on(&server);
    let listener = Listener::to(&store).await;
    for _ in 0..2 {
        let position = listener.position();
        server.kill();
        let moment = stamp().await;
        server.start().await;
        listener.recovers(position, moment).await;
        listener.hears_a_write_to(&store).await;
    }
}

#[tokio::test]
async fn a_feed_begins_before_its_server() {
    let mut server = Server::redis(&[]).await;
    server.shut_down().await;
    let store = on(&server);
    let (listener, ()) = tokio::join!(Listener::to(&store), server.start());
    listener.hears_a_write_to(&store).await;
}

#[tokio::test]
async fn a_connection_that_is_killed_is_a_gap() {
    let server = Server::redis(&[]).await;
    let store = on(&server);
    let listener = Listener::to(&store).await;
    let position = listener.position();
    let [id] = tracking(&server)[..] else { panic!("one feed") };
    assert_eq!(server.ask(&format!("CLIENT KILL ID {id}")), ":1\r\n");
    listener.recovers(position, stamp().await).await;
    listener.hears_a_write_to(&store).await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_proves_nothing_and_is_replaced() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    let (store, direct) = (at(&proxy.address()), on(&server));
    let listener = Listener::to(&store).await;
    for _ in 0..2 {
        let (position, connections) = (listener.position(), proxy.connections());
        proxy.set(Fault::BlackHole).await;
        Known::new(&change()).create(&direct).await;
        let moment = stamp().await;
        until("it connects anew", async || proxy.connections() > connections).await;
        assert!(listener.has_proved_nothing_since(moment));
        proxy.set(Fault::None).await;
        listener.recovers(position, moment).await;
        listener.hears_a_write_to(&direct).await;
    }
}

#[tokio::test]
async fn what_is_delivered_late_is_told_before_the_proof() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    let (store, direct) = (at(&proxy.address()), on(&server));
    let listener = Listener::to(&store).await;
    for _ in 0..20 {
        let (known, position) = (Known::new(&change()), listener.position());
        proxy.set(Fault::BlackHole).await;
        known.create(&direct).await;
        let moment = stamp().await;
        assert!(listener.has_proved_nothing_since(moment));
        proxy.set(Fault::None).await;
        until("it is fresh", async || listener.is_fresh_as_of(moment)).await;
        let told = listener.told_since(position).await;
        assert!(
            told.contains(&FeedEvent::Changed(known.key)) || told.contains(&FeedEvent::Gap),
            "{told:?}"
        );
    }
}

/// Whether the last of it is the end of an answer to `INFO`.
fn ends_with_answer(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.rsplit_once("repl_backlog_histlen:").is_some_and(|(_, end)| end.ends_with("\r\n\r\n"))
}

/// An address that leads to the server, whose answers on the state of the server bring along all that
/// came before them.
async fn delivering_at_once(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let (mut buffer, mut is_up) = (Vec::with_capacity(1 << 16), false);
                while let Ok(1..) = from_server.read_buf(&mut buffer).await {
                    let has_answer = ends_with_answer(&buffer);
                    is_up |= has_answer;
                    if has_answer || !is_up {
                        to_client.write_all(&buffer).await.unwrap();
                        buffer.clear();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_comes_along_with_the_echo_is_told_before_the_proof() {
    let server = Server::redis(&[]).await;
    let store = at(&delivering_at_once(server.address()).await);
    let listener = Listener::to(&store).await;
    for _ in 0..20 {
        let position = listener.position();
        let key = Known::new(&change()).key;
        assert_eq!(server.ask(&format!("SET wristband:s:{key} 1")), "+OK\r\n");
        let moment = stamp().await;
        until("it is fresh", async || listener.is_fresh_as_of(moment)).await;
        let heard = listener.heard().split_off(position);
        let told = heard.iter().position(|event| *event == FeedEvent::Changed(key));
        let proof = heard.iter().position(
            |event| matches!(event, FeedEvent::Fresh(at) if super::is_later(*at, moment)),
        );
        assert!(told.is_some() && told < proof, "told at {told:?}, proved at {proof:?}");
    }
}

#[tokio::test]
async fn a_server_that_runs_a_script_for_too_long_proves_nothing() {
    let server = Server::redis(&["--busy-reply-threshold", "50"]).await;
    let proxy = Proxy::to(&server.address()).await;
    let store = at(&proxy.address());
    let listener = Listener::to(&store).await;
    let position = listener.position();
    assert_eq!(proxy.connections(), 2);
    let mut connection = connect(&server).await;
    let script = tokio::spawn(async move {
        let mut endless = redis::cmd("EVAL");
        endless.arg("while true do end").arg(0);
        endless.query_async::<()>(&mut connection).await
    });
    server.until_answer("PING", "BUSY").await;
    let moment = stamp().await;
    until("the feed is lost", async || proxy.connections() == 1).await;
    assert!(listener.has_proved_nothing_since(moment));
    assert_eq!(server.ask("SCRIPT KILL"), "+OK\r\n");
    script.await.unwrap().unwrap_err();
    listener.recovers(position, moment).await;
    listener.hears_a_write_to(&store).await;
}

#[tokio::test]
async fn a_master_that_has_become_a_replica_proves_nothing() {
    let (server, master) = (Server::redis(&[]).await, Server::redis(&[]).await);
    let store = on(&server);
    let listener = Listener::to(&store).await;
    let position = listener.position();
    assert_eq!(server.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port())), "+OK\r\n");
    let moment = stamp().await;
    server.until_answer("INFO replication", "master_link_status:up").await;
    until("nobody listens", async || tracking(&server).is_empty()).await;
    assert!(listener.has_proved_nothing_since(moment));
    assert_eq!(server.ask("REPLICAOF NO ONE"), "+OK\r\n");
    listener.recovers(position, moment).await;
    listener.hears_a_write_to(&store).await;
}

/// An address that leads to one server or another, and lets the connections that it has be.
async fn address_of(servers: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let server = servers.lock().unwrap().clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test]
async fn a_feed_listens_where_the_requests_go() {
    let (old, new) = (Server::redis(&[]).await, Server::redis(&[]).await);
    let leads_to = Arc::new(Mutex::new(old.address()));
    let store = at(&address_of(Arc::clone(&leads_to)).await);
    let listener = Listener::to(&store).await;
    store.check(now()).await.unwrap();
    let position = listener.position();
    // The old one is well, and a master. Only the connection for requests is lost.
    *leads_to.lock().unwrap() = new.address();
    let feed = tracking(&old);
    let clients = old.ask("CLIENT LIST");
    for line in clients.lines().filter(|line| line.contains("id=")) {
        let id: u64 = line.split("id=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        if !feed.contains(&id) {
            old.ask(&format!("CLIENT KILL ID {id}"));
        }
    }
    store.check(now()).await.unwrap();
    let moment = stamp().await;
    listener.recovers(position, moment).await;
    assert_eq!((tracking(&old).len(), tracking(&new).len()), (0, 1));
    listener.hears_a_write_to(&on(&new)).await;
}
