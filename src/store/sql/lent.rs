//! A connection while a statement runs on it.

use std::time::Duration;

use sqlx::{Connection as _, Database, Error, Pool, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

/// How long the server has to finish a statement that nobody waits for any more.
const DRAINING: Duration = Duration::from_secs(5);

/// Runs a statement on a connection of the pool.
///
/// Dropped, it is left half-way. The pool by itself would wait for the server's answer for as long
/// as TCP does: a server that has fallen silent would keep all its connections, also from one that
/// has taken over.
pub(super) async fn on_connection<D: Database, T>(
    pool: &Pool<D>,
    statement: impl AsyncFnOnce(&mut D::Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut lent = Lent(Some(pool.acquire().await?));
    let connection = lent.0.as_deref_mut().ok_or(Error::PoolClosed)?;
    let result = statement(connection).await;
    // It is done, so the pool may have it back.
    lent.0 = None;
    result
}

/// A connection that the pool has lent; `None` when the statement is done.
struct Lent<D: Database>(Option<PoolConnection<D>>);

impl<D: Database> Drop for Lent<D> {
    fn drop(&mut self) {
        let (Some(mut connection), Ok(runtime)) = (self.0.take(), Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if !matches!(timeout(DRAINING, connection.ping()).await, Ok(Ok(()))) {
                connection.close_on_drop();
            }
        });
    }
}
