//! Masters that step down, die or fall silent, and slots that move, while sessions are written to.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::time::timeout;
use tower_wristband::store::SessionStore;

use super::{
    Known, connect,
    load::{Load, is_soon},
    now, on_cluster, on_sentinels,
};
use crate::{
    proxy::{Fault, Proxy, cluster_behind_proxies},
    servers::{Cluster, Sentinels, Server, until},
};

pub(super) fn store_on(cluster: &Cluster) -> tower_wristband::RedisStore {
    let addresses: Vec<_> = cluster.nodes.iter().map(Server::address).collect();
    on_cluster(addresses.iter().map(String::as_str))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_fails_over_in_order_loses_nothing() {
    let cluster = Cluster::start().await;
    let load = Load::start(&store_on(&cluster));
    load.progress(300).await;
    for node in [3, 4, 0] {
        take_over(&cluster.nodes[node]).await;
        load.progress(300).await;
    }
    load.finish().await;
}

/// Makes a replica the master. The others vote for one of the same shard only every four seconds.
pub async fn take_over(replica: &Server) {
    let attempt = Duration::from_secs(6);
    let mut asked = None::<Instant>;
    until("the replica is the master", async || {
        if asked.is_none_or(|asked| asked.elapsed() > attempt) {
            replica.ask("CLUSTER FAILOVER");
            asked = Some(Instant::now());
        }
        replica.ask("INFO replication").contains("role:master")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_is_killed_is_replaced() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&store_on(&cluster));
    load.progress(300).await;
    load.fails_over(&cluster.nodes[0], &cluster.nodes[3]).await;
    cluster.nodes[0].kill();
    cluster.nodes[3].until_answer("INFO replication", "role:master").await;
    load.progress(1000).await;
    cluster.nodes[0].start().await;
    cluster.nodes[0].until_answer("INFO replication", "role:slave").await;
    load.has_failed_over();
    load.progress(300).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_falls_silent_is_replaced() {
    let cluster = Cluster::start().await;
    let load = Load::start(&store_on(&cluster));
    load.progress(300).await;
    load.fails_over(&cluster.nodes[1], &cluster.nodes[4]).await;
    cluster.nodes[1].suspend();
    cluster.nodes[4].until_answer("INFO replication", "role:master").await;
    load.progress(1000).await;
    cluster.nodes[1].resume();
    cluster.nodes[1].until_answer("INFO replication", "role:slave").await;
    load.has_failed_over();
    load.progress(300).await;
    load.finish().await;
}

#[tokio::test]
async fn a_slow_node_of_a_cluster_is_waited_for_longer_than_the_client_would() {
    let (cluster, proxies) = cluster_behind_proxies().await;
    let store = store_on(&cluster);
    let known = Known::in_slots(&(5461..10923));
    known.create(&store).await;
    // The client's own limit is half a second.
    let pause = Duration::from_millis(1200);
    proxies[1].set(Fault::Slow(pause)).await;
    let start = Instant::now();
    let asked = timeout(Duration::from_secs(20), known.load(&store));
    assert!(asked.await.expect("it answers").is_some());
    assert!(start.elapsed() >= pause);
}

#[tokio::test]
async fn a_silent_node_of_a_cluster_keeps_nobody_from_asking_the_others() {
    let (cluster, proxies) = cluster_behind_proxies().await;
    // Whoever connects anew begins here.
    let entrance = Proxy::to(&cluster.nodes[0].address()).await;
    let store = on_cluster([&*entrance.address()]);
    let [first, second] = [0..5461, 5461..10923].map(|slots| Known::in_slots(&slots));
    for known in [&first, &second] {
        known.create(&store).await;
    }

    proxies[1].set(Fault::BlackHole).await;
    entrance.set(Fault::BlackHole).await;
    for _ in 0..3 {
        let asked = store.load(second.key, second.record.proof(), now());
        assert!(timeout(Duration::from_millis(400), asked).await.is_err());
        let asked = first.load(&store);
        let found =
            timeout(Duration::from_secs(20), asked).await.expect("it has not fallen silent");
        assert!(found.is_some());
    }
    proxies[1].set(Fault::None).await;
    entrance.set(Fault::None).await;
    assert!(second.load(&store).await.is_some());
}

/// The slots that move, from the first master to the second.
pub(super) const MOVING: std::ops::Range<u16> = 0..400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_written_to_while_their_slots_move() {
    let cluster = Cluster::start().await;
    let load = Load::with_sessions(&store_on(&cluster), || Known::in_slots(&MOVING));
    load.progress(500).await;
    let moved = move_slots(&cluster, 0, 1).await;
    assert!(moved > 100, "{moved} keys");
    load.progress(500).await;
    load.finish().await;
}

/// Moves them from one master to another, and answers how many keys that were.
pub(super) async fn move_slots(cluster: &Cluster, source: usize, target: usize) -> usize {
    let mut from = connect(&cluster.nodes[source]).await;
    let mut to = connect(&cluster.nodes[target]).await;
    let mut third = connect(&cluster.nodes[2]).await;
    let id = |node: usize| format!("{:040x}", node + 1);
    let mut moved = 0;
    for slot in MOVING {
        let slot = slot.to_string();
        set_slot(&mut to, &[&slot, "IMPORTING", &id(source)]).await;
        set_slot(&mut from, &[&slot, "MIGRATING", &id(target)]).await;
        loop {
            let mut keys = redis::cmd("CLUSTER");
            keys.arg(&["GETKEYSINSLOT", &slot, "10"]);
            let keys: Vec<Vec<u8>> = keys.query_async(&mut from).await.unwrap();
            if keys.is_empty() {
                break;
            }
            moved += keys.len();
            let mut migrate = redis::cmd("MIGRATE");
            migrate
                .arg("127.0.0.1")
                .arg(cluster.nodes[target].port())
                .arg(&["", "0", "5000", "KEYS"]);
            let () = migrate.arg(keys).query_async(&mut from).await.unwrap();
        }
        for node in [&mut to, &mut from, &mut third] {
            set_slot(node, &[&slot, "NODE", &id(target)]).await;
        }
    }
    moved
}

async fn set_slot(node: &mut MultiplexedConnection, arguments: &[&str]) {
    let mut command = redis::cmd("CLUSTER");
    let () = command.arg("SETSLOT").arg(arguments).query_async(node).await.unwrap();
}

/// CRC-16 of a key without braces.
pub fn slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16384
}

pub(super) fn store_behind(sentinels: &Sentinels) -> tower_wristband::RedisStore {
    let addresses: Vec<_> = sentinels.sentinels.iter().map(Server::address).collect();
    on_sentinels(addresses.iter().map(String::as_str))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinel_that_is_killed_is_replaced() {
    let mut sentinels = Sentinels::start().await;
    let load = Load::start(&store_behind(&sentinels));
    load.progress(300).await;
    load.fails_over(&sentinels.master, &sentinels.replica).await;
    sentinels.master.kill();
    load.has_failed_over();
    sentinels.replica.until_answer("INFO replication", "role:master").await;
    load.progress(300).await;
    // The old one comes back, and is told that it is a replica now.
    sentinels.master.start().await;
    sentinels.master.until_answer("INFO replication", "role:slave").await;
    load.progress(300).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinel_that_falls_silent_is_replaced() {
    let sentinels = Sentinels::start().await;
    let store = store_behind(&sentinels);
    let load = Load::start(&store);
    load.progress(300).await;
    // Its connections stay open, and no reply ever comes.
    load.fails_over(&sentinels.master, &sentinels.replica).await;
    sentinels.master.suspend();
    sentinels.replica.until_answer("INFO replication", "role:master").await;
    load.has_failed_over();
    let start = Instant::now();
    load.progress(300).await;
    is_soon(start);
    load.finish().await;
    store.check(now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_sentinel_is_told_to_make_is_followed() {
    let sentinels = Sentinels::start().await;
    let load = Load::start(&store_behind(&sentinels));
    load.progress(300).await;
    load.fails_over(&sentinels.master, &sentinels.replica).await;
    assert_eq!(sentinels.sentinels[0].ask("SENTINEL FAILOVER sessions"), "+OK\r\n");
    sentinels.replica.until_answer("INFO replication", "role:master").await;
    sentinels.master.until_answer("INFO replication", "role:slave").await;
    load.has_failed_over();
    load.progress(300).await;
    load.finish().await;
}
