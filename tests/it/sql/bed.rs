//! A database with a table of sessions that a test has to itself.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, MySqlPool, PgPool, Row as _, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use tower_wristband::{
    Lifetime, MySqlStore, PostgresStore, SessionKey, SessionToken, SqliteStore, StoreError,
    Timestamp, UserId,
    store::{Change, Record, SessionStore},
};

pub use crate::support::{now, user};
use crate::{proxy::Proxy, servers::server};

pub type Store = Arc<dyn SessionStore>;

/// Longer than any test takes.
pub const LIFETIME: Lifetime =
    Lifetime::new(Duration::from_secs(3600), Duration::from_secs(4 * 3600));

/// A pool of one of the databases.
#[derive(Clone)]
pub enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// Does the same with whichever pool it is.
macro_rules! with_pool {
    ($pool:expr, $name:ident => $do:expr) => {
        match $pool {
            Pool::Sqlite($name) => $do,
            Pool::Postgres($name) => $do,
            Pool::MySql($name) => $do,
        }
    };
}

pub struct Bed {
    pub pool: Pool,
    /// The name of the table.
    pub table: String,
    /// Where the file is; removed with it.
    _directory: Option<TempDir>,
}

/// A name that nothing else has.
pub fn unique() -> String {
    format!("t_{}", SessionToken::generate().unwrap().key())
}

impl Bed {
    pub async fn sqlite() -> Self {
        let file = tempfile::tempdir().unwrap();
        // As it is for users; the table is another, as for the others.
        SqliteStore::open(file.path().join("sessions")).await.unwrap();
        let options = SqliteConnectOptions::new().filename(file.path().join("sessions"));
        let pool = SqlitePool::connect_with(options).await.unwrap();
        Self::migrated(Pool::Sqlite(pool), Some(file)).await
    }

    pub async fn postgres() -> Self {
        let pool = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
        Self::migrated(Pool::Postgres(pool), None).await
    }

    pub async fn mysql() -> Self {
        let pool = MySqlPool::connect(&server("WRISTBAND_MYSQL")).await.unwrap();
        Self::migrated(Pool::MySql(pool), None).await
    }

    /// Without a table.
    pub fn empty(pool: Pool, directory: Option<TempDir>) -> Self {
        Self { pool, table: unique(), _directory: directory }
    }

    /// The same table by way of other connections.
    pub fn with_pool(&self, pool: Pool) -> Self {
        Self { pool, table: self.table.clone(), _directory: None }
    }

    pub async fn migrated(pool: Pool, directory: Option<TempDir>) -> Self {
        let bed = Self::empty(pool, directory);
        bed.migrate().await.unwrap();
        bed
    }

    pub fn store(&self) -> Store {
        self.store_on(&self.pool)
    }

    /// The store of another node, with connections of its own.
    pub async fn node(&self) -> Store {
        self.store_on(&self.other_pool(5).await)
    }

    pub fn store_on(&self, pool: &Pool) -> Store {
        match pool.clone() {
            Pool::Sqlite(pool) => Arc::new(SqliteStore::new(pool).with_table(&self.table).unwrap()),
            Pool::Postgres(pool) => {
                Arc::new(PostgresStore::new(pool).with_table(&self.table).unwrap())
            }
            Pool::MySql(pool) => Arc::new(MySqlStore::new(pool).with_table(&self.table).unwrap()),
        }
    }

    /// Another pool of the same database, whose connections are not asked whether they are there.
    pub async fn other_pool(&self, connections: u32) -> Pool {
        match &self.pool {
            Pool::Sqlite(pool) => {
                let options = SqliteConnectOptions::clone(&pool.connect_options());
                let pool = SqlitePoolOptions::new().max_connections(connections);
                let pool = pool.test_before_acquire(false);
                Pool::Sqlite(pool.connect_with(options).await.unwrap())
            }
            Pool::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.connect_options());
                let pool = PgPoolOptions::new().max_connections(connections);
                let pool = pool.test_before_acquire(false);
                Pool::Postgres(pool.connect_with(options).await.unwrap())
            }
            Pool::MySql(pool) => {
                let options = MySqlConnectOptions::clone(&pool.connect_options());
                let pool = MySqlPoolOptions::new().max_connections(connections);
                let pool = pool.test_before_acquire(false);
                Pool::MySql(pool.connect_with(options).await.unwrap())
            }
        }
    }

    /// Where the server is: `host:port`.
    pub fn address(&self) -> String {
        match &self.pool {
            Pool::Sqlite(_) => unreachable!("a file has no server"),
            Pool::Postgres(pool) => {
                let options = pool.connect_options();
                format!("{}:{}", options.get_host(), options.get_port())
            }
            Pool::MySql(pool) => {
                let options = pool.connect_options();
                format!("{}:{}", options.get_host(), options.get_port())
            }
        }
    }

    /// A proxy in front of the server.
    pub async fn proxy(&self) -> Proxy {
        Proxy::to(&self.address()).await
    }

    /// A pool as most programs have it, whose connections go through a proxy.
    pub fn pool_through(&self, proxy: &Proxy) -> Pool {
        self.pool_at(proxy.port(), 10, true)
    }

    /// A pool of so many connections that go to this port.
    pub fn pool_at(&self, port: u16, connections: u32, test_before_acquire: bool) -> Pool {
        match &self.pool {
            Pool::Sqlite(_) => unreachable!("a file has no server"),
            Pool::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.connect_options()).port(port);
                let pool = PgPoolOptions::new().test_before_acquire(test_before_acquire);
                Pool::Postgres(pool.max_connections(connections).connect_lazy_with(options))
            }
            Pool::MySql(pool) => {
                let options = MySqlConnectOptions::clone(&pool.connect_options()).port(port);
                let pool = MySqlPoolOptions::new().test_before_acquire(test_before_acquire);
                Pool::MySql(pool.max_connections(connections).connect_lazy_with(options))
            }
        }
    }

    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self.pool.clone() {
            Pool::Sqlite(pool) => {
                SqliteStore::new(pool).with_table(&self.table).unwrap().migrate().await
            }
            Pool::Postgres(pool) => {
                PostgresStore::new(pool).with_table(&self.table).unwrap().migrate().await
            }
            Pool::MySql(pool) => {
                MySqlStore::new(pool).with_table(&self.table).unwrap().migrate().await
            }
        }
    }

    pub fn schema(&self) -> String {
        match self.pool.clone() {
            Pool::Sqlite(pool) => SqliteStore::new(pool).with_table(&self.table).unwrap().schema(),
            Pool::Postgres(pool) => {
                PostgresStore::new(pool).with_table(&self.table).unwrap().schema()
            }
            Pool::MySql(pool) => MySqlStore::new(pool).with_table(&self.table).unwrap().schema(),
        }
    }

    /// Runs statements behind the store's back, with `{table}` for the table.
    pub async fn sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.replace("{table}", &self.table));
        with_pool!(&self.pool, pool => sqlx::raw_sql(sql).execute(pool).await.map(drop))
    }

    /// A number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.replace("{table}", &self.table));
        with_pool!(&self.pool, pool => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap())
    }

    /// How the database writes bytes.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.pool {
            Pool::Postgres(_) => format!("decode('{hex}', 'hex')"),
            Pool::Sqlite(_) | Pool::MySql(_) => format!("x'{hex}'"),
        }
    }

    /// From now on, PostgreSQL analyzes the table only when a test says so.
    pub async fn without_autovacuum(self) -> Self {
        if let Pool::Postgres(_) = self.pool {
            self.sql("ALTER TABLE {table} SET (autovacuum_enabled = false)").await.unwrap();
        }
        self
    }

    /// Copies the user's session so many times, by the database itself. The copies are older.
    pub async fn multiply(&self, user: &UserId, copies: usize) {
        let (numbers, key) = match self.pool {
            Pool::Sqlite(_) => (
                format!(
                    "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
                     WHERE n < {copies}) SELECT n FROM numbers)"
                ),
                "randomblob(16)",
            ),
            Pool::Postgres(_) => (
                format!("(SELECT n FROM generate_series(1, {copies}) AS n)"),
                "decode(md5(random()::text || n), 'hex')",
            ),
            Pool::MySql(_) => (
                format!("(SELECT seq AS n FROM seq_1_to_{copies})"),
                "UNHEX(MD5(CONCAT(n, UUID())))",
            ),
        };
        self.sql(&format!(
            "INSERT INTO {{table}} SELECT {key}, format, version, proof, rotated_at, logins, \
             user_id, label, created_at, authenticated_at - n, last_seen_at, absolute_deadline, \
             expires_at, sweep_at, idle_seconds, absolute_seconds, touch_seconds, \
             ends_with_browser, data FROM {{table}} CROSS JOIN {numbers} AS numbers \
             WHERE user_id = {}",
            self.bytes(user.as_str().as_bytes())
        ))
        .await
        .unwrap();
    }

    /// All values of all rows, as the database sends them.
    pub async fn dump(&self) -> Vec<Vec<u8>> {
        macro_rules! values {
            ($pool:expr) => {{
                let sql = AssertSqlSafe(format!("SELECT * FROM {}", self.table));
                let rows = sqlx::query(sql).fetch_all($pool).await.unwrap();
                let value = |row, at| -> Option<Vec<u8>> { value(row, at) };
                fn value<R: sqlx::Row>(row: &R, at: usize) -> Option<Vec<u8>>
                where
                    usize: sqlx::ColumnIndex<R>,
                    for<'r> Option<Vec<u8>>: sqlx::Decode<'r, R::Database>,
                {
                    row.try_get_unchecked(at).unwrap()
                }
                rows.iter()
                    .flat_map(|row| (0..row.len()).filter_map(move |at| value(row, at)))
                    .collect()
            }};
        }
        with_pool!(&self.pool, pool => values!(pool))
    }
}

/// A session that may be in a store.
#[derive(Clone)]
pub struct Known {
    pub key: SessionKey,
    pub record: Record,
}

impl Known {
    pub fn new(change: &Change, now: Timestamp) -> Self {
        let token = SessionToken::generate().unwrap();
        let mut record = Record::new(token.proof(), LIFETIME, now);
        record.apply(change, now);
        Self { key: token.key(), record }
    }

    /// Stores a session, which is signed in if a user is named.
    pub async fn created(store: &Store, user: Option<&UserId>, now: Timestamp) -> Self {
        let change = Change::new(1).with_field("first", &1).unwrap();
        let change = match user {
            Some(user) => change.with_user(user.clone()),
            None => change,
        };
        let known = Self::new(&change, now);
        store.create(known.key, known.record.clone(), None, now).await.unwrap();
        known
    }
}

/// The text of all sources of an error.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
