//! What is wrong with a server, or with its address, is said when a program starts; and no secret is.

use std::{error::Error, sync::mpsc, thread, time::Duration};

use futures_util::FutureExt;
use redis::{
    Client,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_read_routing::RandomReplicaStrategy,
};
use tokio::runtime;
use tower_wristband::{
    CachedStore, RedisStore, StoreError, StoreErrorKind,
    store::{FeedEvent, Heartbeat, SessionStore},
};

use super::{
    Known, at, change, cluster, now, on, on_cluster, on_sentinels, sentinel, single, user,
};
use crate::{
    proxy::{Fault, Proxy},
    servers::{Server, free_port, server},
};

/// What an error says, with all its sources.
fn text(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error} {error:?}");
        source = error.source();
    }
    text
}

/// What `check` says is wrong.
async fn refused(store: &RedisStore) -> (StoreErrorKind, String) {
    let error = store.check(now()).await.unwrap_err();
    (error.kind(), text(&error))
}

#[tokio::test]
async fn servers_that_can_be_used_pass() {
    for store in [single(), cluster(), sentinel()] {
        store.check(now()).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable() {
    let address = format!("127.0.0.1:{}", free_port());
    let cluster = ClusterClient::new([format!("redis://{address}")]).unwrap();
    for store in [at(&address), RedisStore::cluster(cluster), on_sentinels([&*address])] {
        let (kind, said) = refused(&store).await;
        assert_eq!(kind, StoreErrorKind::Unavailable);
        assert!(said.contains("refused"), "{said}");
    }
}

#[test]
fn a_client_that_panics_while_it_connects_is_told() {
    // Without this runtime's part for sockets, whoever opens one panics.
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let address = "127.0.0.1:1";
    // That of a Cluster connects in a task of its own.
    for (store, expected, words) in [
        (at(address), StoreErrorKind::Other, "panicked"),
        (on_sentinels([address]), StoreErrorKind::Other, "panicked"),
        (on_cluster([address]), StoreErrorKind::Unavailable, "dropped"),
    ] {
        let (kind, said) = runtime.block_on(refused(&store));
        assert_eq!(kind, expected);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn who_asks_in_a_runtime_that_has_ended_is_told() {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_timeout(Duration::from_secs(60));
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let known = Known::new(&change());
        let store = at("127.0.0.1:1");
        let answer = handle.block_on(store.load(known.key, known.record.proof(), now()));
        sender.send(answer.unwrap_err().kind()).unwrap();
    });
    let kind = answer.recv_timeout(Duration::from_secs(60)).expect("it answers");
    assert_eq!(kind, StoreErrorKind::Other);
}

#[tokio::test]
async fn a_replica_is_not_read_from() {
    let master = Server::redis(&[]).await;
    let port = master.port().to_string();
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]).await;
    replica.until_answer("INFO replication", "master_link_status:up").await;
    let store = on(&replica);
    let (kind, said) = refused(&store).await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
    assert!(said.contains("no master"), "{said}");
    let known = Known::new(&change());
    let read = store.load(known.key, known.record.proof(), now()).await.unwrap_err();
    assert_eq!(read.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_master_that_is_made_a_replica_is_left_once_it_refuses_a_write_or_closes_its_connections()
{
    for closes in [false, true] {
        let server = Server::redis(&[]).await;
        let (store, known) = (on(&server), Known::new(&change()));
        known.create(&store).await;
        // It keeps what it has: there is nobody to replicate.
        let demoted = server.ask(&format!("REPLICAOF 127.0.0.1 {}", free_port()));
        assert_eq!(demoted, "+OK\r\n");
        if closes {
            server.ask("CLIENT KILL TYPE normal");
        } else {
            let refused = store.touch(known.key, 0, now()).await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
        }
        let read = store.load(known.key, known.record.proof(), now()).await.unwrap_err();
        assert_eq!(read.kind(), StoreErrorKind::Unavailable);
        assert!(text(&read).contains("no master"), "{}", text(&read));
    }
}

#[tokio::test]
async fn a_cluster_client_that_reads_from_replicas_is_refused() {
    let nodes = server("WRISTBAND_REDIS_CLUSTER");
    let nodes = nodes.split(',').map(|node| format!("redis://{node}"));
    let client = ClusterClientBuilder::new(nodes)
        .read_routing_strategy(RandomReplicaStrategy)
        .build()
        .unwrap();
    let store = RedisStore::cluster(client);
    assert!(refused(&store).await.1.contains("replicas"));
    let known = Known::new(&change());
    assert!(store.load(known.key, known.record.proof(), now()).await.is_err());
}

#[tokio::test]
async fn a_server_of_another_kind_than_the_client_is_refused() {
    let nodes = server("WRISTBAND_REDIS_CLUSTER");
    let (_, said) = refused(&at(nodes.split(',').next().unwrap())).await;
    assert!(said.contains("RedisStore::cluster"), "{said}");

    let single = server("WRISTBAND_REDIS");
    let store = RedisStore::cluster(ClusterClient::new([single.clone()]).unwrap());
    let (_, said) = refused(&store).await;
    assert!(said.contains("cluster"), "{said}");
    let (_, said) = refused(&on_sentinels([single.strip_prefix("redis://").unwrap()])).await;
    assert!(said.contains("sentinel"), "{said}");
}

#[tokio::test]
async fn a_server_that_evicts_sessions_is_refused() {
    for policy in ["allkeys-lru", "volatile-ttl", "volatile-lru"] {
        let server = Server::redis(&["--maxmemory", "100mb", "--maxmemory-policy", policy]).await;
        let (_, said) = refused(&on(&server)).await;
        assert!(said.contains("noeviction") && said.contains(policy), "{said}");
    }
    for options in [&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"][..], &[]] {
        on(&Server::redis(options).await).check(now()).await.unwrap();
    }
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    for store in [single(), cluster()] {
        let later = store.check(now() + Duration::from_secs(5)).await.unwrap_err();
        assert!(text(&later).contains("behind this node's"), "{}", text(&later));
        let millis = now().as_unix_millis() - 5000;
        let earlier = tower_wristband::Timestamp::from_unix_millis(millis);
        let earlier = store.check(earlier).await.unwrap_err();
        assert!(text(&earlier).contains("ahead of this node's"), "{}", text(&earlier));
    }
}

#[tokio::test]
async fn a_server_that_takes_long_to_connect_to_has_no_wrong_clock() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    // It is asked twice before its clock is.
    proxy.set_for(b"HELLO", Fault::Slow(Duration::from_millis(700))).await;
    at(&proxy.address()).check(now()).await.unwrap();
}

#[tokio::test]
async fn a_feed_that_takes_long_to_come_up_is_no_wrong_clock() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    proxy.set_for(b"TRACKING", Fault::Slow(Duration::from_millis(1500))).await;
    CachedStore::new(at(&proxy.address())).unwrap().check(now()).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_misses_slots_is_refused() {
    let cluster = crate::servers::Cluster::start().await;
    let addresses: Vec<_> = cluster.nodes.iter().map(Server::address).collect();
    let store = on_cluster(addresses.iter().map(String::as_str));
    store.check(now()).await.unwrap();
    assert_eq!(cluster.nodes[0].ask("CLUSTER DELSLOTS 1"), "+OK\r\n");
    for node in &cluster.nodes[1..3] {
        node.ask("CLUSTER DELSLOTS 1");
    }
    cluster.nodes[0].until_answer("CLUSTER INFO", "cluster_slots_ok:16383").await;
    let (kind, said) = refused(&store).await;
    assert_eq!(kind, StoreErrorKind::Unavailable, "{said}");
}

const RULES: &str = "+get +set +@sortedset +@scripting +del +pexpire +pttl +time +info";

/// A store under a user of the access list.
async fn restricted(server: &Server, keys: &str, rules: &str) -> RedisStore {
    let set = format!("ACL SETUSER app on >opensesame {keys} resetchannels {rules}");
    assert_eq!(server.ask(&set), "+OK\r\n");
    let client = Client::open(format!("redis://app:opensesame@{}", server.address())).unwrap();
    RedisStore::new(client)
}

#[tokio::test]
async fn the_rights_that_are_documented_suffice() {
    let server = Server::redis(&[]).await;
    let single = restricted(&server, "~wristband:*", RULES).await;

    let nodes = crate::servers::Cluster::start().await.nodes;
    let rules = format!("{RULES} +@connection +cluster");
    for node in &nodes {
        restricted(node, "~wristband:*", &rules).await;
    }
    let urls = nodes.iter().map(|node| format!("redis://app:opensesame@{}", node.address()));
    let cluster = RedisStore::cluster(ClusterClient::new(urls).unwrap());

    for store in [single, cluster] {
        store.check(now()).await.unwrap();
        let user = user();
        for _ in 0..3 {
            let known = Known::of(&user);
            store.create(known.key, known.record.clone(), Some(1), now()).await.unwrap();
            assert_eq!(super::keys_of(&store, &user).await, [known.key]);
        }
        assert_eq!(store.destroy_user(user, None, 0, now()).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_feed_needs_one_right_more_and_says_so() {
    let server = Server::redis(&[]).await;
    let store = restricted(&server, "~wristband:*", RULES).await;
    store.check(now()).await.unwrap();
    let mut feed = store.feed(Heartbeat::new(Duration::from_millis(20))).unwrap();
    store.check(now()).await.expect("nobody listens yet");
    assert!(feed.next().now_or_never().is_none());
    let (_, said) = refused(&store).await;
    assert!(said.contains("client|tracking"), "{said}");
    server.ask("ACL SETUSER app +client|tracking");
    store.check(now()).await.unwrap();
    while !matches!(feed.next().await, FeedEvent::Fresh(_)) {}

    let nodes = crate::servers::Cluster::start().await.nodes;
    for node in &nodes {
        restricted(node, "~wristband:*", &format!("{RULES} +@connection +cluster")).await;
    }
    let urls = nodes.iter().map(|node| format!("redis://app:opensesame@{}", node.address()));
    let store = RedisStore::cluster(ClusterClient::new(urls).unwrap());
    let mut feed = store.feed(Heartbeat::new(Duration::from_millis(20))).unwrap();
    assert!(feed.next().now_or_never().is_none());
    store.check(now()).await.unwrap();
    while !matches!(feed.next().await, FeedEvent::Fresh(_)) {}
}

#[tokio::test]
async fn a_user_who_may_not_is_told_what() {
    let server = Server::redis(&[]).await;
    for rule in RULES.split(' ') {
        let rules = format!("{RULES} -{}", &rule[1..]);
        server.ask("ACL DELUSER app");
        let store = restricted(&server, "~wristband:*", &rules).await;
        let (_, said) = refused(&store).await;
        assert!(said.contains("permission") || said.contains("can't run"), "{rule}: {said}");
        assert!(!said.contains("opensesame"), "{said}");
    }
    server.ask("ACL DELUSER app");
    let store = restricted(&server, "~shop:*", RULES).await;
    assert!(
        refused(&store).await.1.contains("NOPERM") || refused(&store).await.1.contains("NoPerm")
    );
    store.with_prefix("shop:").unwrap().check(now()).await.unwrap();
}

#[tokio::test]
async fn passwords_are_in_no_error_and_not_printed() {
    let server = Server::redis(&[]).await;
    assert_eq!(server.ask("CONFIG SET requirepass opensesame"), "+OK\r\n");
    let address = server.address();
    let store = |password: &str| {
        RedisStore::new(Client::open(format!("redis://:{password}@{address}")).unwrap())
    };
    store("opensesame").check(now()).await.unwrap();
    let wrong = store("swordfish");
    let (_, said) = refused(&wrong).await;
    assert!(said.to_lowercase().contains("password"), "{said}");
    assert!(!said.contains("swordfish"), "{said}");
    let without = at(&address);
    assert!(refused(&without).await.1.contains("NOAUTH"));

    let nodes = ["redis://:swordfish@127.0.0.1:1"];
    let cluster = RedisStore::cluster(ClusterClient::new(nodes).unwrap());
    let sentinel = redis::sentinel::SentinelClient::build(
        nodes.to_vec(),
        "sessions".into(),
        None,
        redis::sentinel::SentinelServerType::Master,
    );
    for store in [wrong, cluster, RedisStore::sentinel(sentinel.unwrap())] {
        assert!(!format!("{store:?}").contains("swordfish"));
        let (_, said) = refused(&store).await;
        assert!(!said.contains("swordfish"), "{said}");
    }
}

#[test]
fn prefixes_are_checked() {
    for prefix in ["{a}", "a b", "\u{e9}", "\n", &"x".repeat(65)] {
        let store = RedisStore::new(Client::open("redis://127.0.0.1").unwrap());
        assert!(store.with_prefix(prefix).is_err(), "{prefix}");
    }
    let store = RedisStore::new(Client::open("redis://127.0.0.1").unwrap());
    let store = store.with_prefix("shop:").unwrap();
    assert_eq!(format!("{store:?}"), "RedisStore { server: single, prefix: \"shop:\" }");
}
