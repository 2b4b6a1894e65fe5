//! What the errors of a database mean, and trying again.

use std::{io, time::Duration};

use super::dialect::{Dialect, Meaning};
use crate::error::{BoxError, StoreError, StoreErrorKind};

/// How often a statement is sent again that others were in the way of.
const MAX_RETRIES: u32 = 10;

/// The first pause; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// A record that can't be decoded.
pub(super) fn corrupt(what: impl Into<BoxError>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, what)
}

/// The kind of an error, which stays its source.
pub(super) fn store_error<D: Dialect>(error: sqlx::Error) -> StoreError {
    StoreError::with_source(kind::<D>(&error), error)
}

fn kind<D: Dialect>(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => StoreErrorKind::Collision,
        sqlx::Error::Database(error) => match D::meaning(error.as_ref()) {
            Meaning::Again | Meaning::Unavailable => StoreErrorKind::Unavailable,
            Meaning::Timeout => StoreErrorKind::Timeout,
            Meaning::Other => StoreErrorKind::Other,
        },
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            StoreErrorKind::Timeout
        }
        // A server that ends while a client connects answers nothing, which is taken for a wrong
        // answer.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Other,
    }
}

/// How often one statement has been sent again.
#[derive(Default)]
pub(super) struct Retries(u32);

impl Retries {
    /// Waits until the statement can be sent again, if it is known that it was not carried out.
    ///
    /// # Errors
    ///
    /// The error, if it is another, or has come too often.
    pub(super) async fn after<D: Dialect>(&mut self, error: sqlx::Error) -> Result<(), StoreError> {
        let was_in_the_way =
            error.as_database_error().is_some_and(|error| D::meaning(error) == Meaning::Again);
        if !was_in_the_way || self.0 == MAX_RETRIES {
            return Err(store_error::<D>(error));
        }
        tokio::time::sleep(FIRST_PAUSE * (1 << self.0)).await;
        self.0 += 1;
        Ok(())
    }
}
