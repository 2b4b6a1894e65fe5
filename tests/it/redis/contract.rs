//! The contract, on each topology.

use tower_wristband::{
    RedisStore, SessionKey,
    testing::contract::{self, Damage},
};

use super::{cluster, on_cluster, sentinel, shared, single};
use crate::{
    proxy::{Fault, Proxy},
    servers::{Cluster, Server, free_ports, server},
};

async fn keeps_the_contract(store: RedisStore) {
    contract::check_all(store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_server_keeps_the_contract() {
    keeps_the_contract(single()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract() {
    keeps_the_contract(cluster()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinel_keeps_the_contract() {
    keeps_the_contract(sentinel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_if_every_request_is_delivered_twice() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    proxy.set(Fault::Repeat).await;
    keeps_the_contract(super::at(&proxy.address())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract_if_every_request_is_delivered_twice() {
    let (announced, own) = (free_ports(), free_ports());
    let mut proxies = Vec::new();
    for (port, own) in announced.into_iter().zip(own) {
        proxies.push(Proxy::at(port, &format!("127.0.0.1:{own}")).await);
    }
    let _cluster = Cluster::behind(announced, own).await;
    for proxy in &proxies {
        // Replication goes by way of the proxies as well: it sends no scripts.
        proxy.set_for(b"EVALSHA", Fault::Repeat).await;
    }
    let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
    keeps_the_contract(on_cluster(addresses.iter().map(String::as_str))).await;
}

#[tokio::test]
async fn the_contract_is_kept_with_a_prefix_of_ones_own() {
    keeps_the_contract(single().with_prefix("").unwrap()).await;
    keeps_the_contract(cluster().with_prefix("shop:$~").unwrap()).await;
}

/// Damages a record behind the store's back, in one of several ways.
async fn damaged(way: &[&str]) {
    let client = redis::Client::open(server("WRISTBAND_REDIS")).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    contract::damaged_records_are_refused(shared(single()), async |key: SessionKey, damage| {
        let hash = format!("wristband:s:{key}");
        let mut pipe = redis::pipe();
        match damage {
            Damage::NewerFormat => pipe.cmd("HSET").arg(&[&hash, "x", "2 all new"]),
            Damage::Undecodable => match way {
                ["SET", value] => pipe.cmd("SET").arg(&[&hash, *value]),
                [command, rest @ ..] => pipe.cmd(command).arg(&hash).arg(rest),
                [] => unreachable!(),
            },
        };
        pipe.exec_async(&mut connection.clone()).await.unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn damaged_records_are_refused() {
    for way in [
        &["HSET", "x", "{"][..],
        &["HSET", "x", ""],
        &["HSET", "x", "0 0 1 1 0 0"],
        &["HSET", "x", "1 0 3600 86400 180"],
        &["HSET", "x", "1 1 3600 86400 180 2"],
        &["HDEL", "x"],
        &["HSET", "t", "1 2 x"],
        &["HDEL", "t"],
        &["HSET", "p", "short"],
        &["HDEL", "p"],
    ] {
        damaged(way).await;
    }
}
