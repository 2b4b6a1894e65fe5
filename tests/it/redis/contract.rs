//! The contract, on each topology.

use tower_wristband::{RedisStore, testing::contract};

use super::{cluster, sentinel, single};

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
