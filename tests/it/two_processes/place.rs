//! Where the nodes keep their sessions.

use std::{
    fmt,
    str::{FromStr, SplitWhitespace},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_wristband::{CachedStore, PostgresStore};
use url::Url;

use super::user;
use crate::{
    redis::{at, on_cluster, on_sentinels},
    servers::server,
};

/// What a node is told about its store, in words that a process can be started with.
#[derive(Clone, Debug)]
pub enum Place {
    /// The address of a Redis.
    Redis(String),
    /// The addresses of a Redis Cluster, with commas.
    Cluster(String),
    /// The addresses of sentinels, with commas.
    Sentinel(String),
    /// A table in PostgreSQL, and the URLs of what is asked and of what is listened to.
    Postgres { table: String, asked: String, listened: String },
}

impl Place {
    /// One on each kind of the servers that all tests share.
    pub async fn of_each_kind() -> [Self; 4] {
        [Self::redis(), Self::cluster(), Self::sentinel(), Self::postgres().await]
    }

    pub fn redis() -> Self {
        Self::Redis(server("WRISTBAND_REDIS").replace("redis://", ""))
    }

    pub fn cluster() -> Self {
        Self::Cluster(server("WRISTBAND_REDIS_CLUSTER"))
    }

    pub fn sentinel() -> Self {
        Self::Sentinel(server("WRISTBAND_REDIS_SENTINEL"))
    }

    pub async fn postgres() -> Self {
        Self::table_at(&server("WRISTBAND_POSTGRES")).await
    }

    /// A new table in this database.
    pub async fn table_at(url: &str) -> Self {
        let table = format!("t_{}", user());
        let store = PostgresStore::new(PgPool::connect(url).await.unwrap());
        let store = store.with_table(&table).unwrap().with_feed(url.parse().unwrap());
        store.migrate().await.unwrap();
        Self::Postgres { table, asked: url.to_owned(), listened: url.to_owned() }
    }

    /// The address of its server, if it is one.
    pub fn address(&self) -> String {
        match self {
            Self::Redis(address) => address.clone(),
            Self::Postgres { asked, .. } => {
                let url: Url = asked.parse().unwrap();
                format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
            }
            place => panic!("several servers: {place}"),
        }
    }

    /// The same, with all that leads to its server going by way of a proxy.
    pub fn by_way_of(&self, proxy: &str) -> Self {
        self.to_string().replace(&self.address(), proxy).parse().unwrap()
    }

    pub fn cached(self, max_staleness: Duration) -> CachedStore {
        let builder = match self {
            Self::Redis(address) => CachedStore::builder(at(&address)),
            Self::Cluster(addresses) => CachedStore::builder(on_cluster(addresses.split(','))),
            Self::Sentinel(addresses) => CachedStore::builder(on_sentinels(addresses.split(','))),
            Self::Postgres { table, asked, listened } => {
                let pool = PgPoolOptions::new().connect_lazy(&asked).unwrap();
                let store = PostgresStore::new(pool).with_table(&table).unwrap();
                CachedStore::builder(store.with_feed(listened.parse().unwrap()))
            }
        };
        builder.max_staleness(max_staleness).build().unwrap()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(address) => write!(f, "redis {address}"),
            Self::Cluster(addresses) => write!(f, "cluster {addresses}"),
            Self::Sentinel(addresses) => write!(f, "sentinel {addresses}"),
            Self::Postgres { table, asked, listened } => {
                write!(f, "postgres {table} {asked} {listened}")
            }
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let word = |words: &mut SplitWhitespace<'_>| {
            words.next().map(str::to_owned).ok_or_else(|| format!("no place: {text}"))
        };
        match word(&mut words)?.as_str() {
            "redis" => Ok(Self::Redis(word(&mut words)?)),
            "cluster" => Ok(Self::Cluster(word(&mut words)?)),
            "sentinel" => Ok(Self::Sentinel(word(&mut words)?)),
            "postgres" => Ok(Self::Postgres {
                table: word(&mut words)?,
                asked: word(&mut words)?,
                listened: word(&mut words)?,
            }),
            _ => Err(format!("no place: {text}")),
        }
    }
}
