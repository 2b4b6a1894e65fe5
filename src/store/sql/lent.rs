//! A connection while a statement runs on it.

use std::time::Duration;

use sqlx::{Connection as _, Database, Error, Pool, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

/// How long the server has to finish a statement that nobody waits for any more.
const DRAINING: Duration = Duration::from_secs(5);

/// A connection that the pool has lent for a statement.
///
/// Dropped before it is [given back](Self::give_back), the statement is left half-way. The pool by
/// itself would wait for the server's answer for as long as TCP does: a server that has fallen
/// silent would keep all its connections, also from one that has taken over.
pub(super) struct Lent<D: Database>(Option<PoolConnection<D>>);

impl<D: Database> Lent<D> {
    pub(super) async fn from(pool: &Pool<D>) -> Result<Self, Error> {
        pool.acquire().await.map(|connection| Self(Some(connection)))
    }

    pub(super) fn connection(&mut self) -> Result<&mut D::Connection, Error> {
        self.0.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// The statement is done.
    pub(super) fn give_back(mut self) {
        self.0 = None;
    }
}

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
