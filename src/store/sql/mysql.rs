//! Sessions in MariaDB or MySQL.

use sqlx::{
    Arguments as _, AssertSqlSafe, MySql, MySqlConnection, MySqlPool, Row as _,
    error::{BoxDynError, DatabaseError},
    mysql::{MySqlArguments, MySqlDatabaseError, MySqlQueryResult, MySqlRow},
};
use tokio::time::Instant;

use super::{
    check::{self, advice},
    dialect::{Catalog, Content, Dialect, Meaning, Syntax},
    error::store_error,
    lent::on_connection,
    statement::{Placeholders, Value},
    store::SqlStore,
    table::Table,
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError, StoreErrorKind},
};

/// `SKIP LOCKED` is as new as that.
const OLDEST_MARIADB: (u32, u32, u32) = (10, 6, 0);

/// `CHECK` is as new as that.
const OLDEST_MYSQL: (u32, u32, u32) = (8, 0, 16);

impl Dialect for MySql {
    const SYNTAX: Syntax = Syntax {
        placeholders: Placeholders::Positional,
        quote: '`',
        greatest: "GREATEST",
        least: "LEAST",
        // As bytes, whatever the character set of the connection is.
        data: "CAST(data AS BINARY)",
        new_data: "CONVERT(:data USING utf8mb4)",
        // MariaDB 10.11 leaves a member as it is if the patch removes the one before it, and that
        // was the first: so the first is one that no patch names, since no field has an empty name.
        merged_data: "JSON_REMOVE(JSON_MERGE_PATCH(JSON_OBJECT('', ''), \
                      CASE WHEN :clears = 1 THEN '{}' ELSE data END, \
                      CONVERT(:data USING utf8mb4)), '$.\"\"')",
        // By itself, it begins with the user's first session for each page.
        by_user_key: " FORCE INDEX (`{name}_user_key`)",
        limit: "LIMIT {count}",
        lock: " FOR UPDATE",
        lock_free: " FOR UPDATE SKIP LOCKED",
        sweeps: "",
        // MySQL has none, though MariaDB has.
        returns_deleted: false,
        // The keys first: what `IN` asks would be asked for each row of the table. No table is
        // named so.
        delete: "DELETE {table} FROM ({chosen}) AS chosen$ \
                 STRAIGHT_JOIN {table} ON {table}.session_key = chosen$.session_key",
    };

    const CATALOG: Catalog = Catalog {
        // Without the width that some servers show a number in. With the length: unless its mode
        // is strict, a server cuts what is too long, and so one user is another. With the
        // character set, for it replaces what is not in it.
        columns: "SELECT CAST(COLUMN_NAME AS CHAR), \
                  CAST(CONCAT(IF(COLUMN_TYPE LIKE 'bigint(%)', 'bigint', COLUMN_TYPE), \
                  COALESCE(CONCAT(' character set ', CHARACTER_SET_NAME), '')) AS CHAR), \
                  CAST(IS_NULLABLE = 'YES' AS SIGNED), CAST(COLUMN_KEY = 'PRI' AS SIGNED), \
                  CAST(IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL \
                  AND COALESCE(EXTRA, '') NOT LIKE '%auto_increment%' \
                  AND COALESCE(EXTRA, '') NOT LIKE '%generated%' AS SIGNED) \
                  FROM information_schema.COLUMNS \
                  WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
        indexes: "SELECT CAST(INDEX_NAME AS CHAR), COALESCE(CAST(COLUMN_NAME AS CHAR), '') \
                  FROM information_schema.STATISTICS \
                  WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
                  ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        with_users: "",
        drop_index: "DROP INDEX {index} ON {table}",
        type_name: |content| match content {
            Content::Key => "binary(16)",
            Content::Proof => "binary(32)",
            Content::Bytes => "varbinary(255)",
            Content::Integer => "bigint",
            Content::Data => "longtext character set utf8mb4",
        },
    };

    fn bind(arguments: &mut MySqlArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Integer(integer) => arguments.add(integer),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Json(json) => arguments.add(json.as_bytes()),
        }
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        // Those that were found, also where they were as they are to be: sqlx asks for that.
        result.rows_affected()
    }

    fn integer(row: &MySqlRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
        row.try_get(column)
    }

    fn bytes<'r>(row: &'r MySqlRow, column: &str) -> Result<Option<&'r [u8]>, sqlx::Error> {
        row.try_get(column)
    }

    fn meaning(error: &dyn DatabaseError) -> Meaning {
        let error = error.try_downcast_ref::<MySqlDatabaseError>();
        match error.map_or(0, MySqlDatabaseError::number) {
            1020 | 1205 | 1213 => Meaning::Again, // record has changed, lock wait timeout, deadlock
            1317 | 1969 | 3024 => Meaning::Timeout, // interrupted, max_statement_time
            // disk full, too many connections, out of memory, user limits, shutdown, table full,
            // read-only server and transaction, not primary, Galera not ready
            1021
            | 1037
            | 1038
            | 1040
            | 1041
            | 1047
            | 1053
            | 1114
            | 1158..=1161
            | 1203
            | 1226
            | 1290
            | 1792
            | 1836
            | 1927 => Meaning::Unavailable,
            _ => Meaning::Other,
        }
    }
}

/// Sessions in MariaDB, version 10.6 or newer, or MySQL, version 8.0.16 or newer.
///
/// Tested on MariaDB; MySQL is expected to work the same.
///
/// ```no_run
/// use sqlx::mysql::MySqlPoolOptions;
/// use tower_wristband::{BoxError, MySqlStore, SessionLayer};
///
/// # async fn layer() -> Result<SessionLayer, BoxError> {
/// let pool = MySqlPoolOptions::new().connect("mysql://app@localhost/app").await?;
/// let store = MySqlStore::new(pool);
/// store.migrate().await?;
/// let sessions = SessionLayer::new(store);
/// sessions.sessions().check().await?;
/// # Ok(sessions)
/// # }
/// ```
///
/// # Streams
///
/// The store has no [feed](crate::store#the-feed): it doesn't tell what other processes do. What
/// they end, open streams find out at their next look (see
/// [`Session::ended`](crate::Session::ended)), and requests at once.
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
/// The table is in the pool's database: MySQL has no schemas besides, so none can be set.
///
/// All operations go to this pool, so it must be the primary's: a replica lags behind, and is
/// read-only, which [`check`](crate::Sessions::check) tells.
///
/// # When the server crashes or fails over
///
/// A commit is on the disk before it is answered if `innodb_flush_log_at_trx_commit` is 1, the
/// default: with 0 or 2, a crash of the machine takes back the last second, and a session that was
/// just ended lives again. A failover to a replica loses what that replica hasn't received, unless
/// semi-synchronous replication makes each commit wait for it.
#[derive(Clone)]
pub struct MySqlStore(pub(super) SqlStore<MySql>);

impl MySqlStore {
    /// Keeps the sessions in the pool's database, in the table `wristband_sessions`, which must be
    /// there: see [`migrate`](Self::migrate).
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self(SqlStore::new(pool, Table::default()))
    }

    /// The same with another table.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::TableName`](crate::ConfigErrorKind::TableName) if it is no name of 1 to
    /// 48 ASCII letters, digits and underscores.
    pub fn with_table(self, name: &str) -> Result<Self, ConfigError> {
        self.0.with_table(name).map(Self)
    }

    /// The SQL that creates the table with its indexes if it is missing.
    #[must_use]
    pub fn schema(&self) -> String {
        let (table, name) = (self.0.quoted_table(), self.0.table.name.as_str());
        format!(
            r"CREATE TABLE IF NOT EXISTS {table} (
    session_key       BINARY(16)     NOT NULL PRIMARY KEY,
    format            BIGINT         NOT NULL,
    version           BIGINT         NOT NULL,
    proof             BINARY(32)     NOT NULL,
    rotated_at        BIGINT,
    logins            BIGINT         NOT NULL,
    user_id           VARBINARY(255),
    label             VARBINARY(255),
    created_at        BIGINT         NOT NULL,
    authenticated_at  BIGINT,
    last_seen_at      BIGINT         NOT NULL,
    absolute_deadline BIGINT         NOT NULL,
    expires_at        BIGINT         NOT NULL,
    sweep_at          BIGINT         NOT NULL,
    idle_seconds      BIGINT         NOT NULL,
    absolute_seconds  BIGINT         NOT NULL,
    touch_seconds     BIGINT         NOT NULL,
    ends_with_browser BIGINT         NOT NULL,
    data              LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
                      CHECK (JSON_VALID(data) AND JSON_TYPE(data) = 'OBJECT'),
    INDEX `{name}_user` (user_id, authenticated_at, session_key),
    INDEX `{name}_user_key` (user_id, session_key),
    INDEX `{name}_sweep_at` (sweep_at)
) ENGINE = InnoDB;
"
        )
    }

    /// Creates the table with its indexes if it is missing. Several nodes may do so at once: it is
    /// one statement.
    ///
    /// # Errors
    ///
    /// What the server says, or what is not as it should be then.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrate = async |connection: &mut MySqlConnection| {
            sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(connection).await
        };
        on_connection(&self.0.pool, migrate).await.map_err(store_error::<MySql>)?;
        self.check_shape().await
    }

    async fn check_shape(&self) -> Result<(), StoreError> {
        self.0.check_shape(self.0.table.name.as_str()).await
    }

    pub(super) async fn check_all(&self, now: Timestamp) -> Result<(), StoreError> {
        let started = Instant::now();
        let ask = async |connection: &mut MySqlConnection| {
            let sql = "SELECT CAST(VERSION() AS CHAR), CAST(@@autocommit AS SIGNED), \
                       CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
            sqlx::query_as(sql).fetch_one(connection).await
        };
        let (version, autocommit, server): (String, i64, i64) =
            on_connection(&self.0.pool, ask).await.map_err(store_error::<MySql>)?;
        let elapsed = started.elapsed();
        server_is_fit(&version, autocommit == 1)?;
        check::clock(now, elapsed, server)?;
        self.check_shape().await?;
        self.0.check_writable().await
    }
}

fn server_is_fit(version: &str, commits_by_itself: bool) -> Result<(), StoreError> {
    let (oldest, name) = if version.contains("MariaDB") {
        (OLDEST_MARIADB, "MariaDB 10.6")
    } else {
        (OLDEST_MYSQL, "MySQL 8.0.16")
    };
    if parse(version) < oldest {
        return Err(advice(
            StoreErrorKind::Other,
            format!("the server is too old ({version}): {name} or newer is needed"),
        ));
    }
    if !commits_by_itself {
        return Err(advice(
            StoreErrorKind::Other,
            "autocommit is off, so that no write is ever committed: turn it on for this pool",
        ));
    }
    Ok(())
}

/// The first three numbers of a version.
fn parse(version: &str) -> (u32, u32, u32) {
    // Old servers of MariaDB put this in front for the sake of replication.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse());
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused() {
        for fit in ["10.11.14-MariaDB-0+deb12u2", "5.5.5-10.6.0-MariaDB", "8.0.16", "9.1.0-log"] {
            assert!(server_is_fit(fit, true).is_ok(), "{fit}");
        }
        for old in ["10.5.29-MariaDB", "8.0.15", "5.7.44-log", "", "MariaDB"] {
            let error = server_is_fit(old, true).expect_err("it is too old");
            assert_eq!(error.kind(), StoreErrorKind::Other, "{old}");
        }
        assert!(server_is_fit("10.11.14-MariaDB", false).is_err());
    }
}
