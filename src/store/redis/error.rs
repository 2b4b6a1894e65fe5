//! What the errors of the client and the server are to the contract.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{StoreError, StoreErrorKind};

/// The error of a store, with the client's as its source. Those name addresses, but no passwords.
pub(super) fn store_error(error: RedisError) -> StoreError {
    StoreError::with_source(kind(&error), error)
}

fn kind(error: &RedisError) -> StoreErrorKind {
    if error.is_timeout() {
        return StoreErrorKind::Timeout;
    }
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => StoreErrorKind::Unavailable,
        _ => match error.code() {
            Some("OOM") => StoreErrorKind::Full,
            Some("WRONGTYPE") => StoreErrorKind::Corrupt,
            Some("NOREPLICAS" | "MISCONF" | "BUSY" | "UNBLOCKED") => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        },
    }
}

/// Whether the request may be sent again on a new connection: it was lost, or reached a server that
/// is no master any more. What was done already is done once.
pub(super) fn can_be_sent_again(error: &RedisError) -> bool {
    error.is_connection_dropped() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Whether the connection isn't used any more after this.
pub(super) fn ends_the_connection(error: &RedisError) -> bool {
    can_be_sent_again(error)
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown)
        )
}

pub(super) fn corrupt(what: &'static str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, what)
}

pub(super) fn newer(what: &'static str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, what)
}

/// An answer that no server gives to what was asked.
pub(super) fn unexpected() -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, "the server's answer is not one of its commands")
}
