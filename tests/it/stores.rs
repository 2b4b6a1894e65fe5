//! The stores that the layer's tests run on: the one that `WRISTBAND_TEST_STORE` names.

mod store;

use std::{
    env, fmt, process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions};
use tempfile::TempDir;
use tower_wristband::{
    MemoryStore, MySqlStore, PostgresStore, RedisStore, SqliteStore, StoreError,
    store::{SessionStore, StoreFuture},
};

pub use self::store::TestStore;
use crate::{redis, servers::server};

/// A store of the crate, or a topology of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
    Postgres,
    MySql,
    Redis,
    RedisCluster,
    RedisSentinel,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Memory,
        Self::Sqlite,
        Self::Postgres,
        Self::MySql,
        Self::Redis,
        Self::RedisCluster,
        Self::RedisSentinel,
    ];

    /// The one that `WRISTBAND_TEST_STORE` names, or the memory store.
    ///
    /// # Panics
    ///
    /// If it names another.
    pub fn chosen() -> Self {
        let name = chosen_name();
        let plain = name.strip_prefix(CACHED).unwrap_or(&name);
        let named = Self::ALL.into_iter().find(|kind| kind.to_string() == plain);
        named.unwrap_or_else(|| panic!("WRISTBAND_TEST_STORE={name} is none of {:?}", Self::ALL))
    }
}

/// What stands in front of the name of a store that is to be behind a near cache.
const CACHED: &str = "cached-";

/// Whether the store that was chosen is behind a near cache.
pub fn is_cached() -> bool {
    chosen_name().starts_with(CACHED)
}

fn chosen_name() -> String {
    env::var("WRISTBAND_TEST_STORE").unwrap_or_else(|_| Kind::Memory.to_string())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Redis => "redis",
            Self::RedisCluster => "redis-cluster",
            Self::RedisSentinel => "redis-sentinel",
        })
    }
}

/// A table or a prefix of one test, in the database that all tests share. The database itself goes
/// with `tests/servers.sh`.
#[derive(Clone)]
pub struct Namespace {
    kind: Kind,
    name: String,
    memory: MemoryStore,
    directory: Option<Arc<TempDir>>,
}

impl Namespace {
    pub fn new(kind: Kind) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            kind,
            name: format!("t{}_{number}", process::id()),
            memory: MemoryStore::new(),
            directory: (kind == Kind::Sqlite)
                .then(|| Arc::new(TempDir::new().expect("a directory"))),
        }
    }

    /// A store with connections of its own, for one runtime: another one is another node.
    pub fn connect(&self) -> TestStore {
        let plain = self.connect_plain();
        if is_cached() { plain.cached() } else { plain }
    }

    fn connect_plain(&self) -> TestStore {
        let name = self.name.clone();
        match self.kind {
            Kind::Memory => TestStore::of(Arc::new(self.memory.clone())),
            Kind::Sqlite => {
                let directory = self.directory.clone().expect("made for it");
                TestStore::opened_by(move || {
                    let path = directory.path().join("sessions.sqlite");
                    StoreFuture::boxed(async { opened(SqliteStore::open(path).await?) })
                })
            }
            Kind::Postgres => TestStore::opened_by(move || {
                let url = server("WRISTBAND_POSTGRES");
                let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url);
                let store = PostgresStore::new(pool.expect("a URL")).with_table(&name);
                let mut store = store.expect("a table's name");
                if is_cached() {
                    store = store.with_feed(url.parse().expect("a URL"));
                }
                StoreFuture::boxed(async {
                    store.migrate().await?;
                    opened(store)
                })
            }),
            Kind::MySql => TestStore::opened_by(move || {
                let url = server("WRISTBAND_MYSQL");
                let pool = MySqlPoolOptions::new().max_connections(4).connect_lazy(&url);
                let store = MySqlStore::new(pool.expect("a URL")).with_table(&name);
                let store = store.expect("a table's name");
                StoreFuture::boxed(async {
                    store.migrate().await?;
                    opened(store)
                })
            }),
            Kind::Redis => self.prefixed(redis::single()),
            Kind::RedisCluster => self.prefixed(redis::cluster()),
            Kind::RedisSentinel => self.prefixed(redis::sentinel()),
        }
    }

    fn prefixed(&self, store: RedisStore) -> TestStore {
        TestStore::of(Arc::new(store.with_prefix(&format!("{}:", self.name)).expect("a prefix")))
    }
}

fn opened(store: impl SessionStore) -> Result<Arc<dyn SessionStore>, StoreError> {
    Ok(Arc::new(store))
}
