//! A connection while a statement runs on it.

use std::time::Duration;

use sqlx::{Database, Error, Pool, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

/// How long the server has to show that a connection can be used again, and to finish a statement
/// that nobody waits for any more.
const RETURNING: Duration = Duration::from_secs(5);

/// Runs a statement on a connection of the pool, which goes back when this is done or dropped.
pub(super) async fn on_connection<D: Database, T>(
    pool: &Pool<D>,
    statement: impl AsyncFnOnce(&mut D::Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let connection = Some(pool.acquire().await?);
    let mut lent = Lent { connection, runtime: Handle::current() };
    statement(lent.connection.as_deref_mut().ok_or(Error::PoolClosed)?).await
}

/// A connection that the pool has lent.
///
/// Before the pool takes it back, it asks the server for an answer, behind what is left of the
/// statement's. By itself it would wait for as long as TCP does: a server that has fallen silent
/// would keep all its connections, also from one that has taken over.
struct Lent<D: Database> {
    /// Something until it is dropped.
    connection: Option<PoolConnection<D>>,
    /// Where it was lent: who drops it may be outside, where the pool's own `drop` panics.
    runtime: Handle,
}

impl<D: Database> Drop for Lent<D> {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        if let Some(mut connection) = self.connection.take() {
            // Not in sqlx's documentation, but what its listener calls as well. Dropped, it closes
            // the connection, and the pool may open another.
            self.runtime.spawn(timeout(RETURNING, connection.return_to_pool()));
        }
    }
}
