//! Sessions in PostgreSQL.

mod feed;
mod triggers;

use std::sync::Arc;

use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Row as _,
    error::{BoxDynError, DatabaseError},
    postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow},
};
use tokio::time::Instant;

use self::feed::Source;
use super::{
    check::{self, advice},
    dialect::{Catalog, Content, Dialect, Meaning, Syntax},
    error::store_error,
    lent::on_connection,
    statement::{Placeholders, Value},
    store::SqlStore,
    table::{Name, Table},
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError, StoreErrorKind},
    store::{Feed, Heartbeat},
};

/// Version 12.
const OLDEST_VERSION: i64 = 120_000;

/// The advisory lock of those who migrate: "wristban" in ASCII.
const MIGRATION_LOCK: i64 = 0x7772_6973_7462_616e;

impl Dialect for Postgres {
    const SYNTAX: Syntax = Syntax {
        placeholders: Placeholders::Numbered,
        quote: '"',
        greatest: "GREATEST",
        least: "LEAST",
        data: "CAST(data AS text)",
        new_data: "CAST(:data AS jsonb)",
        // Null members of the patch replace what is there, and are removed then.
        merged_data: "jsonb_strip_nulls(CASE WHEN :clears = 1 THEN CAST('{}' AS jsonb) \
                      ELSE data END || CAST(:data AS jsonb))",
        by_user_key: "",
        // A number that the planner sees may seem to be all rows, which it would read and sort.
        limit: "LIMIT (SELECT {count})",
        lock: " FOR UPDATE",
        lock_free: " FOR UPDATE SKIP LOCKED",
        // The triggers of a feed look at it. It ends with the statement's transaction.
        sweeps: " AND (SELECT set_config('wristband.sweeps', 'on', true)) = 'on'",
        returns_deleted: true,
        // It is asked once, and the planner knows how few there are: of an array it expects ten,
        // and for ten it would read a table as a whole that is small or new. No table is named so.
        delete: "WITH chosen$ AS MATERIALIZED ({chosen}) DELETE FROM {table} USING chosen$ \
                 WHERE {table}.session_key = chosen$.session_key",
    };

    const CATALOG: Catalog = Catalog {
        columns: "SELECT CAST(attname AS text), format_type(atttypid, atttypmod), \
                  CAST(NOT attnotnull AS int) + CAST(0 AS bigint), \
                  CAST(COALESCE(attnum = ANY(indkey), false) AS int) + CAST(0 AS bigint), \
                  CAST((attnotnull OR typnotnull) AND NOT atthasdef AND attidentity = '' \
                  AND typdefault IS NULL AS int) + CAST(0 AS bigint) \
                  FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid \
                  LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary \
                  WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        indexes: "SELECT CAST(relname AS text), pg_get_indexdef(indexrelid, place, false) \
                  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
                  CROSS JOIN generate_series(1, indnkeyatts) AS place \
                  WHERE indrelid = to_regclass($1) AND indisvalid ORDER BY relname, place",
        with_users: " WHERE user_id IS NOT NULL",
        drop_index: "DROP INDEX {index}",
        type_name: |content| match content {
            Content::Key | Content::Proof | Content::Bytes => "bytea",
            Content::Integer => "bigint",
            Content::Data => "jsonb",
        },
    };

    fn bind(arguments: &mut PgArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Integer(integer) => arguments.add(integer),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Json(json) => arguments.add(json),
        }
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn integer(row: &PgRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
        row.try_get(column)
    }

    fn bytes<'r>(row: &'r PgRow, column: &str) -> Result<Option<&'r [u8]>, sqlx::Error> {
        // Unchecked: the data is text.
        row.try_get_unchecked(column)
    }

    fn meaning(error: &dyn DatabaseError) -> Meaning {
        let code = error.code().unwrap_or_default();
        match &*code {
            // serialization_failure, deadlock_detected, lock_not_available
            "40001" | "40P01" | "55P03" => Meaning::Again,
            "57014" => Meaning::Timeout, // query_canceled, by a timeout or by hand
            "25006" => Meaning::Unavailable, // read_only_sql_transaction
            _ => match code.get(..2) {
                // connection_exception, insufficient_resources, operator_intervention (such as a
                // shutdown), system_error
                Some("08" | "53" | "57" | "58") => Meaning::Unavailable,
                _ => Meaning::Other,
            },
        }
    }
}

/// Sessions in PostgreSQL, version 12 or newer.
///
/// ```no_run
/// use sqlx::postgres::PgPoolOptions;
/// use tower_wristband::{BoxError, PostgresStore, SessionLayer};
///
/// # async fn layer() -> Result<SessionLayer, BoxError> {
/// let pool = PgPoolOptions::new().connect("postgres://app@localhost/app").await?;
/// let store = PostgresStore::new(pool);
/// store.migrate().await?;
/// let sessions = SessionLayer::new(store);
/// sessions.sessions().check().await?;
/// # Ok(sessions)
/// # }
/// ```
///
/// # The pool
///
/// The pool is the caller's. Most operations are one round trip to wait for
/// ([choosing a store](crate::store::choosing) has the others). sqlx adds one when a connection
/// first prepares a statement, and two to each:
///
/// * Before, it asks whether the connection still is there, unless `test_before_acquire` is turned
///   off. Without it, each connection that the server has closed fails one operation before it is
///   replaced.
/// * After, it asks for an answer once more, before the connection is another's. That can't be
///   turned off. Nobody waits for it, but the connection is taken meanwhile: count it when you
///   choose the size of the pool.
///
/// All operations go to this pool, so it must be the primary's: a replica lags behind, and is
/// read-only, which [`check`](crate::Sessions::check) tells.
///
/// # Plans
///
/// A connection keeps its plans while the table grows. Those that it made for a table that was
/// analyzed when it was empty, or nearly so, may read the whole of it for each session, until the
/// next `ANALYZE` ends them. Autovacuum does that by itself, within about a minute of many writes:
/// leave it on for this table. After a bulk load, run `ANALYZE` by hand. With `plan_cache_mode` set
/// to `force_custom_plan` among the options of the pool's connections, nothing depends on it, and
/// the server plans each statement anew: 6 microseconds for a read and 14 for a write, where it was
/// measured. A new table, as [`migrate`](Self::migrate) makes it, is not affected.
///
/// # PgBouncer
///
/// In session mode there is nothing to do. In transaction mode, which is untested, a prepared
/// statement of one client is not there for the next: it takes PgBouncer 1.21 or newer with
/// `max_prepared_statements`, or a pool whose `statement_cache_capacity` is 0. No operation needs
/// more than one statement of a transaction; only [`migrate`](Self::migrate) has several, in one
/// transaction.
///
/// # The feed
///
/// [`with_feed`](Self::with_feed) gives the store a [feed](crate::store#the-feed), for near caches
/// and whoever waits for the end of a session:
///
/// ```no_run
/// # async fn store(pool: sqlx::PgPool) -> Result<(), tower_wristband::BoxError> {
/// use tower_wristband::PostgresStore;
///
/// // The primary itself: PgBouncer in transaction mode passes no notifications on.
/// let store = PostgresStore::new(pool).with_feed("postgres://app@primary/app".parse()?);
/// store.migrate().await?;
/// # Ok(())
/// # }
/// ```
///
/// With it, [`migrate`](Self::migrate) adds triggers to the table, which call `pg_notify` in the
/// transaction that writes. So the table announces its changes whoever makes them: other nodes,
/// with a feed or without, and people at a prompt. A touch and a sweep are not announced; a
/// statement that ends many sessions announces 240 with a message. Once they are there the triggers
/// stay, and work for all nodes; whoever drops them ends every feed.
///
/// Each feed has one connection that listens, with the options that are given here. It must reach
/// the database of the pool, on the primary, which [`check`](crate::Sessions::check) shows; while
/// it does not, or while triggers are missing, the feed is silent and so never fresh.
///
/// A write that is announced takes no other round trip. But PostgreSQL lets transactions that
/// notify commit one after the other in the whole server: alone, an update took a quarter longer;
/// of eight writers at once, a third of the updates were committed in the same time.
///
/// # When the server crashes or fails over
///
/// A commit is on the disk before it is answered, unless `synchronous_commit` or `fsync` are
/// turned off: then a crash takes back the last moments, and a session that was just ended lives
/// again. A failover to a replica loses what that replica hasn't received, unless
/// `synchronous_standby_names` makes each commit wait for it.
#[derive(Clone)]
pub struct PostgresStore(pub(super) SqlStore<Postgres>, Option<Arc<PgConnectOptions>>);

impl PostgresStore {
    /// Keeps the sessions in the pool's database, in the table `wristband_sessions` of the first
    /// schema of the search path. It must be there: see [`migrate`](Self::migrate).
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(SqlStore::new(pool, Table::default()), None)
    }

    /// The same with another table.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::TableName`](crate::ConfigErrorKind::TableName) if it is no name of 1 to
    /// 48 ASCII letters, digits and underscores. Upper case stays upper case.
    pub fn with_table(self, name: &str) -> Result<Self, ConfigError> {
        Ok(Self(self.0.with_table(name)?, self.1))
    }

    /// The same with the table in a schema, which must be there.
    ///
    /// # Errors
    ///
    /// As [`with_table`](Self::with_table).
    pub fn with_schema(self, name: &str) -> Result<Self, ConfigError> {
        let schema = Some(Name::new(name)?);
        Ok(Self(SqlStore::new(self.0.pool, Table { schema, ..self.0.table }), self.1))
    }

    /// The same with [a feed](Self#the-feed). The options are those of the connection that listens.
    #[must_use]
    pub fn with_feed(self, listener: PgConnectOptions) -> Self {
        Self(self.0, Some(Arc::new(listener)))
    }

    /// Where the feed comes from, if there is one.
    fn source(&self) -> Option<Source> {
        let options = Arc::clone(self.1.as_ref()?);
        Some(Source { options, pool: self.0.pool.clone(), table: self.0.quoted_table() })
    }

    pub(super) fn open_feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        self.source().map(|source| source.feed(heartbeat))
    }

    /// The SQL that creates the table and its indexes where they are missing, and with a feed the
    /// triggers that announce what changes.
    #[must_use]
    pub fn schema(&self) -> String {
        let (table, name) = (self.0.quoted_table(), self.0.table.name.as_str());
        let function = self.0.table.quoted_with(&Postgres::SYNTAX, "_announce");
        let triggers = self.1.as_ref().map(|_| triggers::sql(&table, &function));
        let triggers = triggers.unwrap_or_default();
        format!(
            r#"CREATE TABLE IF NOT EXISTS {table} (
    session_key       BYTEA  NOT NULL PRIMARY KEY,
    format            BIGINT NOT NULL,
    version           BIGINT NOT NULL,
    proof             BYTEA  NOT NULL,
    rotated_at        BIGINT,
    logins            BIGINT NOT NULL,
    user_id           BYTEA,
    label             BYTEA,
    created_at        BIGINT NOT NULL,
    authenticated_at  BIGINT,
    last_seen_at      BIGINT NOT NULL,
    absolute_deadline BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    sweep_at          BIGINT NOT NULL,
    idle_seconds      BIGINT NOT NULL,
    absolute_seconds  BIGINT NOT NULL,
    touch_seconds     BIGINT NOT NULL,
    ends_with_browser BIGINT NOT NULL,
    data              JSONB  NOT NULL CHECK (jsonb_typeof(data) = 'object')
);
CREATE INDEX IF NOT EXISTS "{name}_user"
    ON {table} (user_id, authenticated_at, session_key) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_user_key"
    ON {table} (user_id, session_key) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_sweep_at" ON {table} (sweep_at);
{triggers}"#
        )
    }

    /// Creates what [`schema`](Self::schema) says where it is missing. Several nodes may do so at
    /// once: they wait for each other at an advisory lock.
    ///
    /// # Errors
    ///
    /// What the server says, or what is not as it should be then.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrate = async |connection: &mut PgConnection| {
            let mut transaction = connection.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(MIGRATION_LOCK)
                .execute(&mut *transaction)
                .await?;
            sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        on_connection(&self.0.pool, migrate).await.map_err(store_error::<Postgres>)?;
        self.check_shape().await
    }

    async fn check_shape(&self) -> Result<(), StoreError> {
        self.0.check_shape(&self.0.quoted_table()).await
    }

    pub(super) async fn check_all(&self, now: Timestamp) -> Result<(), StoreError> {
        let started = Instant::now();
        let ask = async |connection: &mut PgConnection| {
            let sql = "SELECT CAST(current_setting('server_version_num') AS bigint), \
                       current_setting('server_encoding'), \
                       CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)";
            sqlx::query_as(sql).fetch_one(connection).await
        };
        let (version, encoding, server): (i64, String, i64) =
            on_connection(&self.0.pool, ask).await.map_err(store_error::<Postgres>)?;
        let elapsed = started.elapsed();
        server_is_fit(version, &encoding)?;
        check::clock(now, elapsed, server)?;
        self.check_shape().await?;
        self.0.check_writable().await?;
        if let Some(source) = self.source() {
            source.connect().await?;
        }
        Ok(())
    }
}

fn server_is_fit(version: i64, encoding: &str) -> Result<(), StoreError> {
    if version < OLDEST_VERSION {
        return Err(advice(
            StoreErrorKind::Other,
            format!("the server is too old ({version}): PostgreSQL 12 or newer is needed"),
        ));
    }
    if encoding != "UTF8" {
        return Err(advice(
            StoreErrorKind::Other,
            format!(
                "the database's encoding is {encoding}, which can't hold every text: create one \
                 with ENCODING 'UTF8'"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_and_another_encoding_are_refused() {
        assert!(server_is_fit(150_018, "UTF8").is_ok());
        assert!(server_is_fit(OLDEST_VERSION, "UTF8").is_ok());
        for (version, encoding) in [(110_022, "UTF8"), (150_018, "LATIN1")] {
            let error = server_is_fit(version, encoding).expect_err("it is not fit");
            assert_eq!(error.kind(), StoreErrorKind::Other);
        }
    }
}
