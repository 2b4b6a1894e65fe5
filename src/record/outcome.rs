//! What became of a change.

use super::Record;

/// What an [`update`](crate::store::SessionStore::update) did.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the layer must handle each")]
pub enum Updated {
    /// The delta is stored.
    Stored,
    /// There is no such session any more; nothing was written.
    Gone,
    /// The record is of another version than was expected; nothing was written. The record as it is
    /// now, where the store has it at hand.
    Conflict(Option<Box<Record>>),
}

/// What a [`rotate`](crate::store::SessionStore::rotate) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the layer must handle each")]
pub enum Rotated {
    /// The new proof is the one that lives.
    Stored,
    /// There is no such session any more, or its proof is another; nothing was written.
    Gone,
}
