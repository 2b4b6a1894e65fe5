//! Sessions in Redis: a single server, a Cluster, and servers behind Sentinel.

mod big_user;
mod cached;
mod cap;
mod checks;
mod contract;
mod failover;
mod faults;
mod feed;
mod index;
mod load;
mod silence;
mod stored;
mod takeover;
mod trips;
mod twice;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{
    AsyncConnectionConfig, Client,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelServerType},
};
use tower_wristband::{
    Lifetime, RedisStore, SessionKey, SessionToken, UserId,
    store::{Change, Proof, Record, SessionStore},
};

pub use self::{
    cached::freezing_feeds,
    failover::{slot, take_over},
};
use crate::{
    servers::{Server, server},
    support::{now, user},
};

/// A store on the single server that all tests share.
pub fn single() -> RedisStore {
    RedisStore::new(Client::open(server("WRISTBAND_REDIS")).unwrap())
}

/// A store on the Cluster that all tests share.
pub fn cluster() -> RedisStore {
    on_cluster(server("WRISTBAND_REDIS_CLUSTER").split(','))
}

/// A store on the servers behind Sentinel that all tests share.
pub fn sentinel() -> RedisStore {
    on_sentinels(server("WRISTBAND_REDIS_SENTINEL").split(','))
}

/// A store on a private server.
fn on(server: &Server) -> RedisStore {
    at(&server.address())
}

/// A store on the server at an address.
pub fn at(address: &str) -> RedisStore {
    RedisStore::new(Client::open(format!("redis://{address}")).unwrap())
}

pub fn on_cluster<'a>(addresses: impl IntoIterator<Item = &'a str>) -> RedisStore {
    RedisStore::cluster(ClusterClient::new(urls(addresses)).unwrap())
}

pub fn on_sentinels<'a>(addresses: impl IntoIterator<Item = &'a str>) -> RedisStore {
    let (urls, kind) = (urls(addresses), SentinelServerType::Master);
    let client = SentinelClient::build(urls, "sessions".into(), None, kind);
    RedisStore::sentinel(client.unwrap())
}

fn urls<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    addresses.into_iter().map(|address| format!("redis://{address}")).collect()
}

/// A version that no other record of this process has.
fn version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn change() -> Change {
    Change::new(version())
}

/// The proof of a new token.
fn proof() -> Proof {
    SessionToken::generate().unwrap().proof()
}

/// A session that is not stored yet.
#[derive(Clone)]
struct Known {
    key: SessionKey,
    record: Record,
}

impl Known {
    fn new(change: &Change) -> Self {
        Self::with_token(&SessionToken::generate().unwrap(), change)
    }

    /// One whose record is in one of these slots of a Cluster.
    fn in_slots(slots: &Range<u16>) -> Self {
        let mut tokens = std::iter::repeat_with(|| SessionToken::generate().unwrap());
        let is_there = |token: &SessionToken| {
            slots.contains(&slot(format!("wristband:s:{}", token.key()).as_bytes()))
        };
        let token = tokens.find(is_there).expect("endless");
        Self::with_token(&token, &change())
    }

    fn with_token(token: &SessionToken, change: &Change) -> Self {
        let mut record = Record::new(token.proof(), Lifetime::AAL2, now());
        record.apply(change, now());
        Self { key: token.key(), record }
    }

    fn of(user: &UserId) -> Self {
        Self::new(&change().with_user(user.clone()))
    }

    /// What the store has of it.
    async fn load(&self, store: &RedisStore) -> Option<Record> {
        store.load(self.key, self.record.proof(), now()).await.unwrap()
    }

    async fn create(&self, store: &RedisStore) {
        store.create(self.key, self.record.clone(), None, now()).await.unwrap();
    }
}

/// The keys of a user's sessions.
async fn keys_of(store: &RedisStore, user: &UserId) -> Vec<SessionKey> {
    let listed = store.list(user.clone(), None, 1000, now()).await.unwrap();
    listed.iter().map(tower_wristband::SessionSummary::key).collect()
}

/// A connection to ask a server behind the store's back, however long it takes.
async fn connect(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = Client::open(server.url()).unwrap();
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// A store behind a pointer, as the layer holds it.
fn shared(store: RedisStore) -> Arc<dyn SessionStore> {
    Arc::new(store)
}
