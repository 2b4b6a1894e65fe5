//! The contract, on each topology.

use redis::AsyncCommands;
use tower_wristband::{
    RedisStore, SessionKey, StoreErrorKind,
    store::SessionStore,
    testing::contract::{self, Damage},
};

use super::{Known, change, cluster, now, on_cluster, sentinel, shared, single};
use crate::{
    proxy::{Fault, Proxy, cluster_behind_proxies},
    servers::{Server, server},
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
    let (_cluster, proxies) = cluster_behind_proxies().await;
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

/// Damages the bytes of a record behind the store's back; `None` as what becomes of them is a key of another
/// type.
async fn damaged(damage: impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
    let client = redis::Client::open(server("WRISTBAND_REDIS")).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    contract::damaged_records_are_refused(shared(single()), async |key: SessionKey, kind| {
        let (name, mut connection) = (format!("wristband:s:{key}"), connection.clone());
        let mut record: Vec<u8> = connection.get_del(&name).await.unwrap();
        let damaged = match kind {
            Damage::NewerFormat => {
                // The user, and one call.
                let head = 8 + usize::from(record[7]) + 2 + 12;
                record.splice(head.., *b"all new");
                record[0] = 2;
                Some(record)
            }
            Damage::Undecodable => damage(record),
        };
        let () = match damaged {
            Some(record) => connection.set(&name, record).await.unwrap(),
            None => connection.hset(&name, "a", "b").await.unwrap(),
        };
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn damaged_records_are_refused() {
    damaged(|_| None).await;
    damaged(|_| Some(Vec::new())).await;
    // The number of the format.
    damaged(|record| Some([&[0], &record[1..]].concat())).await;
    // Nobody has been authenticated.
    damaged(|record| Some([&record[..1], &[0xff; 6], &record[7..]].concat())).await;
    // Cut off: in front of the user, in it, in the calls, and anywhere before the data.
    for end in [1, 6, 7, 8, 20, 39, 40, 41, 42, 50, 54, 60, 100, 128, 129] {
        damaged(|record| Some(record[..end].to_vec())).await;
    }
}

#[tokio::test]
async fn a_record_that_is_cut_off_in_its_data_is_not_written_to() {
    let (store, server) = (single(), server("WRISTBAND_REDIS"));
    let mut connection =
        redis::Client::open(server).unwrap().get_multiplexed_async_connection().await.unwrap();
    let delta = change().with_field("a", "1234").unwrap().with_field("b", &true).unwrap();
    let known = Known::new(&delta);
    known.create(&store).await;
    let name = format!("wristband:s:{}", known.key);
    let whole: Vec<u8> = connection.get(&name).await.unwrap();
    let data = whole.len() - (1 + 1 + 4 + 6) - (1 + 1 + 4 + 4);
    for end in (data + 1..whole.len()).filter(|end| *end != data + 12) {
        let cut = &whole[..end];
        let () = connection.set(&name, cut).await.unwrap();
        let delta = change().with_field("b", &1).unwrap();
        let updated = store.update(known.key, delta, 0, None, now()).await;
        let loaded = store.load(known.key, known.record.proof(), now()).await;
        for error in [updated.unwrap_err(), loaded.unwrap_err()] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{end}");
        }
        let stored: Vec<u8> = connection.get(&name).await.unwrap();
        assert_eq!(stored, cut);
    }
}
