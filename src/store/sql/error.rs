//! What the errors of a database mean, and trying again.

use std::{io, time::Duration};

use tokio::time::{Instant, sleep};

use super::dialect::{Dialect, Meaning};
use crate::{
    error::{BoxError, StoreError, StoreErrorKind},
    pause,
};

/// How long a statement is sent again that others were in the way of. The layer gives it up before.
const LONGEST: Duration = Duration::from_secs(10);

/// The first pause is this long at most, each next one up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

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
        // A server that ends when it is asked for TLS answers nothing, which sqlx takes for a
        // wrong answer.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Other,
    }
}

/// One statement that is sent again.
pub(super) struct Retries {
    started: Instant,
    pause: Duration,
}

impl Retries {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Waits until the statement can be sent again, if it is known that it was not carried out.
    ///
    /// # Errors
    ///
    /// The error, if it is another, or has come for too long.
    pub(super) async fn after<D: Dialect>(&mut self, error: sqlx::Error) -> Result<(), StoreError> {
        let was_in_the_way =
            error.as_database_error().is_some_and(|error| D::meaning(error) == Meaning::Again);
        if !was_in_the_way || self.started.elapsed() >= LONGEST {
            return Err(store_error::<D>(error));
        }
        // Those who were in each other's way don't come back together.
        sleep(pause::up_to(self.pause)).await;
        self.pause = LONGEST_PAUSE.min(2 * self.pause);
        Ok(())
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_while_a_client_connects_is_an_outage() {
        let ended = sqlx::Error::Io(io::ErrorKind::UnexpectedEof.into());
        let answered_nothing = sqlx::Error::Protocol("unexpected response: 0x00".into());
        for error in [ended, answered_nothing] {
            assert_eq!(kind::<sqlx::Postgres>(&error), StoreErrorKind::Unavailable, "{error}");
        }
    }
}
