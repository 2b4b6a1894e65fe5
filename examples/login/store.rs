//! The store that `STORE` names.

use std::{sync::Arc, time::Duration};

use redis::{Client, cluster::ClusterClient};
use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions};
use tower_wristband::{
    BoxError, MemoryStore, MySqlStore, PostgresStore, RedisStore, SqliteStore, store::SessionStore,
};

/// What `STORE` may be.
const USAGE: &str = "STORE is memory, sqlite:PATH, postgres://…, mysql://…, redis://… or \
                     redis+cluster://HOST:PORT,HOST:PORT";

/// How long a database may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A store and the words for it. SQL databases get their table where it is missing.
///
/// The words leave out the address: there may be a password in it.
pub(crate) async fn open(store: &str) -> Result<(&'static str, Arc<dyn SessionStore>), BoxError> {
    let scheme = store.split(':').next().unwrap_or_default();
    Ok(match scheme {
        "memory" => ("memory, until this program ends", Arc::new(MemoryStore::new())),
        "sqlite" => {
            let path = store.trim_start_matches("sqlite:");
            ("an SQLite file", Arc::new(SqliteStore::open(path).await?))
        }
        "postgres" | "postgresql" => {
            let pool = PgPoolOptions::new().acquire_timeout(PATIENCE).connect(store).await?;
            let store = PostgresStore::new(pool);
            store.migrate().await?;
            ("PostgreSQL", Arc::new(store))
        }
        "mysql" | "mariadb" => {
            let pool = MySqlPoolOptions::new().acquire_timeout(PATIENCE).connect(store).await?;
            let store = MySqlStore::new(pool);
            store.migrate().await?;
            ("MariaDB or MySQL", Arc::new(store))
        }
        "redis" | "rediss" => ("Redis", Arc::new(RedisStore::new(Client::open(store)?))),
        "redis+cluster" => {
            let nodes = store.trim_start_matches("redis+cluster://").split(',');
            let nodes = nodes.map(|node| format!("redis://{node}"));
            let client = ClusterClient::new(nodes.collect::<Vec<_>>())?;
            ("a Redis Cluster", Arc::new(RedisStore::cluster(client)))
        }
        _ => return Err(USAGE.into()),
    })
}
