//! Stores in Redis, each on one connection, near caches in front of them, and one bare command.

use anyhow::Result;
use redis::{AsyncCommands as _, Client, aio::MultiplexedConnection};
use tower::{Layer as _, service_fn};
use tower_sessions_0_14::{CachingSessionStore, SessionManagerLayer};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::{
    RedisStore,
    fred::{clients, prelude::*, types::config::Config},
};
use tower_wristband::{CachedStore, SessionLayer};

use super::{
    InDatabase, Peer, bare::use_of_no_session, tower_sessions::use_of_session, versions,
    wristband::use_of_wristband,
};
use crate::{
    databases::Address,
    handlers::{App, next_number},
};

/// What this crate's keys begin with.
const PREFIX: &str = "wristband-peers:";

pub(crate) struct Wristband {
    layer: SessionLayer,
}

impl Peer for Wristband {
    const NAME: &'static str = "tower-wristband/redis";

    fn version() -> String {
        format!("{} with redis {}", versions::of("tower-wristband"), versions::of("redis"))
    }

    use_of_wristband!();
}

impl InDatabase for Wristband {
    async fn connect(address: &Address) -> Result<Self> {
        Ok(Self { layer: SessionLayer::new(store(address)?) })
    }
}

fn store(address: &Address) -> Result<tower_wristband::RedisStore> {
    let client = Client::open(address.url.as_str())?;
    Ok(tower_wristband::RedisStore::new(client).with_prefix(PREFIX)?)
}

/// The same behind a near cache, with a connection of its own for the feed.
pub(crate) struct Cached {
    layer: SessionLayer,
}

impl Peer for Cached {
    const NAME: &'static str = "tower-wristband/redis+cache";

    fn version() -> String {
        Wristband::version()
    }

    use_of_wristband!();
}

impl InDatabase for Cached {
    async fn connect(address: &Address) -> Result<Self> {
        let layer = SessionLayer::new(CachedStore::new(store(address)?)?);
        // From now on, the feed is fresh.
        layer.sessions().check().await?;
        Ok(Self { layer })
    }
}

pub(crate) struct TowerSessions {
    layer: SessionManagerLayer<RedisStore<clients::Client>>,
}

impl Peer for TowerSessions {
    const NAME: &'static str = "tower-sessions/redis";

    fn version() -> String {
        let store = "tower-sessions-redis-store";
        let both = versions::of_both(store, "tower-sessions", "tower-sessions-core");
        format!("{both}, fred {}", versions::needed_by(store, "fred"))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    use_of_session!(tower_sessions_0_14::Session);
}

impl InDatabase for TowerSessions {
    async fn connect(address: &Address) -> Result<Self> {
        Ok(Self { layer: SessionManagerLayer::new(store_of_tower_sessions(address).await?) })
    }
}

async fn store_of_tower_sessions(address: &Address) -> Result<RedisStore<clients::Client>> {
    let client = Builder::from_config(Config::from_url(address.url.as_str())?).build()?;
    client.init().await?;
    Ok(RedisStore::new(client))
}

/// The same behind its own cache, which no other process can tell that a session has ended.
pub(crate) struct CachedTowerSessions {
    layer: SessionManagerLayer<CachingSessionStore<MokaStore, RedisStore<clients::Client>>>,
}

impl Peer for CachedTowerSessions {
    const NAME: &'static str = "tower-sessions/redis+cache";

    fn version() -> String {
        let cache = "tower-sessions-moka-store";
        format!("{}, {cache} {}", TowerSessions::version(), versions::of(cache))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    use_of_session!(tower_sessions_0_14::Session);
}

impl InDatabase for CachedTowerSessions {
    async fn connect(address: &Address) -> Result<Self> {
        let store = store_of_tower_sessions(address).await?;
        let cached = CachingSessionStore::new(MokaStore::new(None), store);
        Ok(Self { layer: SessionManagerLayer::new(cached) })
    }
}

/// What a handler does that asks the client library itself: one `GET`, of as many bytes as a
/// session has.
pub(crate) struct BareCommand {
    connection: MultiplexedConnection,
}

/// How many values there are.
const VALUES: u64 = 1000;

fn key(number: u64) -> String {
    format!("{PREFIX}bare:{:032x}", number % VALUES)
}

impl Peer for BareCommand {
    const NAME: &'static str = "redis/bare command";

    fn version() -> String {
        format!("redis {}", versions::of("redis"))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        let connection = self.connection.clone();
        service_fn(move |request| {
            let (mut connection, mut inner) = (connection.clone(), inner.clone());
            async move {
                let value: Option<Vec<u8>> =
                    connection.get(key(next_number())).await.expect("the server answers");
                assert!(value.is_some(), "there is a value");
                inner.call(request).await
            }
        })
    }

    use_of_no_session!();
}

impl InDatabase for BareCommand {
    async fn connect(address: &Address) -> Result<Self> {
        let client = Client::open(address.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let value = [b'x'; 150];
        for number in 0..VALUES {
            let an_hour = 3600;
            let () = connection.set_ex(key(number), &value, an_hour).await?;
        }
        Ok(Self { connection })
    }
}
