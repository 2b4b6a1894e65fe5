//! Sessions in an SQLite file.

use std::{path::Path, time::Duration};

use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, SqlitePool,
    error::{BoxDynError, DatabaseError},
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteQueryResult, SqliteRow, SqliteSynchronous,
    },
};

use tokio::time::Instant;

use super::{
    check,
    dialect::{Catalog, Content, Dialect, Meaning, Syntax},
    error::{Retries, store_error},
    lent::on_connection,
    statement::{Placeholders, Value},
    store::SqlStore,
    table::Table,
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError},
};

/// How long a writer waits for another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers don't wait for anybody, and writers for each other.
const MAX_CONNECTIONS: u32 = 8;

impl Dialect for Sqlite {
    const SYNTAX: Syntax = Syntax {
        placeholders: Placeholders::Numbered,
        quote: '"',
        greatest: "MAX",
        least: "MIN",
        data: "data",
        new_data: ":data",
        merged_data: "json_patch(CASE WHEN :clears = 1 THEN '{}' ELSE data END, :data)",
        by_user_key: "",
        limit: "LIMIT {count}",
        lock: "",
        lock_free: "",
        sweeps: "",
        returns_deleted: true,
        delete: "DELETE FROM {table} WHERE session_key IN ({chosen})",
    };

    const CATALOG: Catalog = Catalog {
        columns: "SELECT name, type, 1 - \"notnull\", pk > 0, \"notnull\" \
                  AND COALESCE(dflt_value, 'NULL') = 'NULL' COLLATE NOCASE \
                  FROM pragma_table_info($1)",
        indexes: "SELECT list.name, COALESCE(info.name, '') FROM pragma_index_list($1) AS list \
                  CROSS JOIN pragma_index_info(list.name) AS info ORDER BY list.name, info.seqno",
        with_users: " WHERE user_id IS NOT NULL",
        drop_index: "DROP INDEX {index}",
        type_name: |content| match content {
            Content::Key | Content::Proof | Content::Bytes => "BLOB",
            Content::Integer => "INTEGER",
            Content::Data => "TEXT",
        },
    };

    const HAS_ONE_WRITER: bool = true;

    fn bind(arguments: &mut SqliteArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Integer(integer) => arguments.add(integer),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Json(json) => arguments.add(json),
        }
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn integer(row: &SqliteRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
        row.try_get(column)
    }

    fn bytes<'r>(row: &'r SqliteRow, column: &str) -> Result<Option<&'r [u8]>, sqlx::Error> {
        // Unchecked: the data is text.
        row.try_get_unchecked(column)
    }

    fn meaning(error: &dyn DatabaseError) -> Meaning {
        let code: Option<u32> = error.code().and_then(|code| code.parse().ok());
        // The lowest byte is the kind, the others say more.
        match code.unwrap_or(0) & 0xff {
            5 | 6 => Meaning::Again, // SQLITE_BUSY, SQLITE_LOCKED
            // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
            8 | 10 | 13 | 14 => Meaning::Unavailable,
            9 => Meaning::Timeout, // SQLITE_INTERRUPT
            _ => Meaning::Other,
        }
    }
}

/// Sessions in an SQLite file: for one machine, through restarts.
///
/// Several processes on the machine can share the file. It must not be on a network file system.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_wristband::{SessionLayer, SqliteStore, StoreError, Sweeper};
///
/// # async fn layer() -> Result<SessionLayer, StoreError> {
/// let store = SqliteStore::open("sessions.sqlite").await?;
/// Sweeper::spawn(store.clone(), Duration::from_secs(60)).detach();
/// let sessions = SessionLayer::new(store);
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
/// # When the machine crashes
///
/// What was answered is kept when the process ends in whatever way. [`open`](Self::open) sets
/// `synchronous` to `FULL`, so that it is kept through a power cut as well: each write waits for
/// the disk. With [`new`](Self::new) and a pool whose `synchronous` is `NORMAL`, a write took
/// 0.4 times as long on one machine, and a power cut takes back the last of them: a session that
/// was just logged out lives again, until it expires. The file is not damaged in either case, on a
/// disk that keeps its word.
#[derive(Clone)]
pub struct SqliteStore(pub(super) SqlStore<Sqlite>);

impl SqliteStore {
    /// Opens the file, or creates it, with all that it takes: a write-ahead log, so that readers
    /// don't wait for writers; a busy timeout of five seconds; `synchronous = FULL`; the table.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::StoreErrorKind::Unavailable) if the file can't be opened or created,
    /// or what [`migrate`](Self::migrate) says.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            // Asking a file whether it is there takes a turn of a thread for each call.
            .test_before_acquire(false);
        let mut retries = Retries::new();
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Ok(pool) => break pool,
                // The switch to the log takes the file for itself alone. Whoever else opens a new
                // one at that moment is in the way, and no busy timeout waits for that.
                Err(error) => retries.after::<Sqlite>(error).await?,
            }
        };
        let store = Self::new(pool);
        store.migrate().await?;
        Ok(store)
    }

    /// Keeps the sessions in the pool's database, in the table `wristband_sessions`, which must be
    /// there: see [`migrate`](Self::migrate).
    ///
    /// The pool's options are the caller's: a write-ahead log (`journal_mode(Wal)`) and a busy
    /// timeout are needed under load. A pool of an in-memory database must have one connection that
    /// is never closed: each has a database of its own.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
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

    /// The SQL that creates the table and its indexes where they are missing.
    #[must_use]
    pub fn schema(&self) -> String {
        let (table, name) = (self.0.quoted_table(), self.0.table.name.as_str());
        format!(
            r#"CREATE TABLE IF NOT EXISTS {table} (
    session_key       BLOB    NOT NULL PRIMARY KEY,
    format            INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    proof             BLOB    NOT NULL,
    rotated_at        INTEGER,
    logins            INTEGER NOT NULL,
    user_id           BLOB,
    label             BLOB,
    created_at        INTEGER NOT NULL,
    authenticated_at  INTEGER,
    last_seen_at      INTEGER NOT NULL,
    absolute_deadline INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    sweep_at          INTEGER NOT NULL,
    idle_seconds      INTEGER NOT NULL,
    absolute_seconds  INTEGER NOT NULL,
    touch_seconds     INTEGER NOT NULL,
    ends_with_browser INTEGER NOT NULL,
    data              TEXT    NOT NULL CHECK (json_type(data) = 'object')
) STRICT;
CREATE INDEX IF NOT EXISTS "{name}_user"
    ON {table} (user_id, authenticated_at, session_key) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_user_key"
    ON {table} (user_id, session_key) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{name}_sweep_at" ON {table} (sweep_at);
"#
        )
    }

    /// Creates the table and its indexes where they are missing. Several processes may do so at
    /// once.
    ///
    /// # Errors
    ///
    /// What the database says, or what is not as it should be then.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrate = async |connection: &mut SqliteConnection| {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        on_connection(&self.0.pool, migrate).await.map_err(store_error::<Sqlite>)?;
        self.check_shape().await
    }

    async fn check_shape(&self) -> Result<(), StoreError> {
        self.0.check_shape(self.0.table.name.as_str()).await
    }

    pub(super) async fn check_all(&self, now: Timestamp) -> Result<(), StoreError> {
        let started = Instant::now();
        let millis = async |connection: &mut SqliteConnection| {
            sqlx::query_scalar(
                "SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)",
            )
            .fetch_one(connection)
            .await
        };
        let server: i64 =
            on_connection(&self.0.pool, millis).await.map_err(store_error::<Sqlite>)?;
        check::clock(now, started.elapsed(), server)?;
        self.check_shape().await?;
        self.0.check_writable().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of these settings are each connection's own, and nobody else can see them.
    #[tokio::test]
    async fn each_connection_to_a_file_is_set_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("sessions.sqlite")).await.unwrap();
        let mut connections = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut connection = store.0.pool.acquire().await.unwrap();
            let mut settings = Vec::new();
            for pragma in ["journal_mode", "synchronous", "busy_timeout"] {
                let sql = format!("SELECT CAST((SELECT * FROM pragma_{pragma}) AS TEXT)");
                let setting = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection);
                let setting: String = setting.await.unwrap();
                settings.push(setting);
            }
            // The second is `FULL`, the third in milliseconds.
            assert_eq!(settings, ["wal", "2", "5000"]);
            connections.push(connection);
        }
    }
}
