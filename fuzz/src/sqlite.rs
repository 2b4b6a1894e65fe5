//! A store in SQLite, in memory.

use std::sync::LazyLock;

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::runtime::{Builder, Runtime};
use tower_wristband::SqliteStore;

pub(crate) struct Database {
    runtime: Runtime,
    pub(crate) pool: SqlitePool,
    pub(crate) store: SqliteStore,
}

/// One connection, and one table that all inputs share.
pub(crate) static DATABASE: LazyLock<Database> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (pool, store) = runtime.block_on(async {
        // A check of the table would keep rows from being damaged.
        let options =
            SqliteConnectOptions::new().in_memory(true).pragma("ignore_check_constraints", "ON");
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .expect("a database");
        let store = SqliteStore::new(pool.clone());
        store.migrate().await.expect("a table");
        (pool, store)
    });
    Database { runtime, pool, store }
});

impl Database {
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}
