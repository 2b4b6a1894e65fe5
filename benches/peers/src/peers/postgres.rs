//! Stores in PostgreSQL, on pools of the same size, and one bare statement.

use anyhow::Result;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower::{Layer as _, service_fn};
use tower_sessions_0_14::SessionManagerLayer;
use tower_sessions_sqlx_store::{PostgresStore, sqlx as older_sqlx};
use tower_wristband::SessionLayer;

use super::{
    InDatabase, Peer, bare::use_of_no_session, tower_sessions::use_of_session, versions,
    wristband::use_of_wristband,
};
use crate::{
    databases::Address,
    handlers::{App, next_number},
};

/// All tables are in it; nothing else is.
const SCHEMA: &str = "wristband_peers";

/// Removes all tables.
pub(crate) async fn remove_tables(address: &Address) -> Result<()> {
    let pool = pool(address).await?;
    sqlx::query("DROP SCHEMA IF EXISTS wristband_peers CASCADE").execute(&pool).await?;
    pool.close().await;
    Ok(())
}

/// It doesn't ask before each statement whether the connection is still there, which would cost all
/// of them the same.
async fn pool(address: &Address) -> Result<PgPool> {
    let options = PgPoolOptions::new()
        .max_connections(address.connections)
        .min_connections(address.connections)
        .test_before_acquire(false);
    let pool = options.connect(address.url.as_str()).await?;
    sqlx::query("CREATE SCHEMA IF NOT EXISTS wristband_peers").execute(&pool).await?;
    Ok(pool)
}

pub(crate) struct Wristband {
    layer: SessionLayer,
}

impl Peer for Wristband {
    const NAME: &'static str = "tower-wristband/postgres";

    fn version() -> String {
        format!("{} with sqlx {}", versions::of("tower-wristband"), versions::of("sqlx"))
    }

    use_of_wristband!();
}

impl InDatabase for Wristband {
    async fn connect(address: &Address) -> Result<Self> {
        let store = tower_wristband::PostgresStore::new(pool(address).await?);
        let store = store.with_schema(SCHEMA)?;
        store.migrate().await?;
        Ok(Self { layer: SessionLayer::new(store) })
    }
}

pub(crate) struct TowerSessions {
    layer: SessionManagerLayer<PostgresStore>,
}

impl Peer for TowerSessions {
    const NAME: &'static str = "tower-sessions/postgres";

    fn version() -> String {
        let store = "tower-sessions-sqlx-store";
        let both = versions::of_both(store, "tower-sessions", "tower-sessions-core");
        format!("{both}, sqlx {}", versions::needed_by(store, "sqlx"))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    use_of_session!(tower_sessions_0_14::Session);
}

impl InDatabase for TowerSessions {
    async fn connect(address: &Address) -> Result<Self> {
        let options = older_sqlx::postgres::PgPoolOptions::new()
            .max_connections(address.connections)
            .min_connections(address.connections)
            .test_before_acquire(false);
        let store = PostgresStore::new(options.connect(address.url.as_str()).await?)
            .with_schema_name(SCHEMA)
            .map_err(anyhow::Error::msg)?;
        store.migrate().await?;
        Ok(Self { layer: SessionManagerLayer::new(store) })
    }
}

/// What a handler does that asks the client library itself: one prepared `SELECT` by primary key,
/// of as many bytes as a session has.
pub(crate) struct BareCommand {
    pool: PgPool,
}

/// How many rows there are.
const ROWS: u64 = 1000;

impl Peer for BareCommand {
    const NAME: &'static str = "postgres/bare command";

    fn version() -> String {
        format!("sqlx {}", versions::of("sqlx"))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        let pool = self.pool.clone();
        service_fn(move |request| {
            let (pool, mut inner) = (pool.clone(), inner.clone());
            async move {
                let select = "SELECT data FROM wristband_peers.bare WHERE id = $1";
                let id = (next_number() % ROWS).cast_signed();
                let row: (Vec<u8>,) = sqlx::query_as(select)
                    .bind(id)
                    .fetch_one(&pool)
                    .await
                    .expect("the server answers");
                assert!(!row.0.is_empty(), "there is a value");
                inner.call(request).await
            }
        })
    }

    use_of_no_session!();
}

impl InDatabase for BareCommand {
    async fn connect(address: &Address) -> Result<Self> {
        let pool = pool(address).await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS wristband_peers.bare \
             (id BIGINT PRIMARY KEY, data BYTEA NOT NULL)",
        )
        .execute(&pool)
        .await?;
        sqlx::query(
            "INSERT INTO wristband_peers.bare \
             SELECT number, decode(repeat('78', 150), 'hex') FROM generate_series(0, $1 - 1) number \
             ON CONFLICT DO NOTHING",
        )
        .bind(ROWS.cast_signed())
        .execute(&pool)
        .await?;
        Ok(Self { pool })
    }
}
