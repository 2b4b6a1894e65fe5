//! Sessions in Redis: a single server, a Cluster, and servers behind Sentinel.

mod contract;

use redis::{
    Client,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelServerType},
};
use tower_wristband::RedisStore;

use crate::servers::server;

/// A store on the single server that all tests share.
fn single() -> RedisStore {
    RedisStore::new(Client::open(server("WRISTBAND_REDIS")).unwrap())
}

/// A store on the Cluster that all tests share.
fn cluster() -> RedisStore {
    RedisStore::cluster(ClusterClient::new(urls(&server("WRISTBAND_REDIS_CLUSTER"))).unwrap())
}

/// A store on the servers behind Sentinel that all tests share.
fn sentinel() -> RedisStore {
    RedisStore::sentinel(sentinel_client(&server("WRISTBAND_REDIS_SENTINEL")))
}

fn sentinel_client(addresses: &str) -> SentinelClient {
    let kind = SentinelServerType::Master;
    SentinelClient::build(urls(addresses), "sessions".into(), None, kind).unwrap()
}

/// The URLs of addresses with commas.
fn urls(addresses: &str) -> Vec<String> {
    addresses.split(',').map(|address| format!("redis://{address}")).collect()
}
