//! Whether a table can be used, and what to do if it can't.

use std::time::Duration;

use super::table::Table;
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
};

/// The clocks may be this far apart.
const TOLERANCE: Duration = Duration::from_secs(1);

/// What a column holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// The 16 bytes of a key.
    Key,
    /// The 32 bytes of a proof.
    Proof,
    /// At most 255 bytes.
    Bytes,
    /// 64 bits.
    Integer,
    /// The data as JSON.
    Data,
}

/// All columns: name, content, whether it may be null.
const COLUMNS: [(&str, Content, bool); 19] = [
    ("session_key", Content::Key, false),
    ("format", Content::Integer, false),
    ("version", Content::Integer, false),
    ("proof", Content::Proof, false),
    ("rotated_at", Content::Integer, true),
    ("logins", Content::Integer, false),
    ("user_id", Content::Bytes, true),
    ("label", Content::Bytes, true),
    ("created_at", Content::Integer, false),
    ("authenticated_at", Content::Integer, true),
    ("last_seen_at", Content::Integer, false),
    ("absolute_deadline", Content::Integer, false),
    ("expires_at", Content::Integer, false),
    ("sweep_at", Content::Integer, false),
    ("idle_seconds", Content::Integer, false),
    ("absolute_seconds", Content::Integer, false),
    ("touch_seconds", Content::Integer, false),
    ("ends_with_browser", Content::Integer, false),
    ("data", Content::Data, false),
];

/// A column as the database describes it.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) is_nullable: bool,
    pub(super) is_primary_key: bool,
}

/// An error that says what to do.
pub(super) fn advice(kind: StoreErrorKind, what: impl Into<String>) -> StoreError {
    StoreError::with_source(kind, what.into())
}

/// The table has all columns as they should be, and the key is its primary key.
///
/// Others may be there as well: they get their default.
pub(super) fn shape(
    table: &Table,
    found: &[Found],
    type_name: impl Fn(Content) -> &'static str,
) -> Result<(), StoreError> {
    let other = |what: String| Err(advice(StoreErrorKind::Other, what));
    if found.is_empty() {
        return other(format!(
            "the table {table} is missing: call `migrate` once, or run the SQL of `schema`"
        ));
    }
    for (name, content, is_nullable) in COLUMNS {
        let wanted = type_name(content);
        let shape = match found.iter().find(|column| column.name == name) {
            None => "is missing".to_owned(),
            Some(column) if !column.type_name.eq_ignore_ascii_case(wanted) => {
                format!("is of type {}, not {wanted}", column.type_name)
            }
            Some(column) if column.is_nullable && !is_nullable => "may be null".to_owned(),
            Some(column) if !column.is_nullable && is_nullable => "may not be null".to_owned(),
            Some(_) => continue,
        };
        return other(format!(
            "the table {table} is not one of sessions: its column {name} {shape}; choose another \
             name with `with_table`, or compare the table with the SQL of `schema`"
        ));
    }
    let keys: Vec<_> = found.iter().filter(|column| column.is_primary_key).collect();
    match keys[..] {
        [key] if key.name == "session_key" => Ok(()),
        _ => other(format!("the primary key of the table {table} is not session_key alone")),
    }
}

/// The server's clock is within a second of `now`, which was `elapsed` ago or less.
pub(super) fn clock(
    now: Timestamp,
    elapsed: Duration,
    server_millis: i64,
) -> Result<(), StoreError> {
    let server = Timestamp::from_unix_millis(u64::try_from(server_millis).unwrap_or(0));
    let ahead = server.saturating_since(now + elapsed);
    let behind = now.saturating_since(server);
    if ahead <= TOLERANCE && behind <= TOLERANCE {
        return Ok(());
    }
    let (by, direction) = if ahead > behind { (ahead, "ahead") } else { (behind, "behind") };
    Err(advice(
        StoreErrorKind::Other,
        format!(
            "the server's clock is {by:?} {direction} of this node's: synchronize both, with NTP \
             for instance"
        ),
    ))
}

/// What a statement that would write failed at, on a table of the right shape.
pub(super) fn not_writable(table: &Table, error: &StoreError) -> StoreError {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    advice(
        error.kind(),
        format!(
            "the table {table} can't be written: connect to the primary, which is not read-only, \
             as a role that may SELECT, INSERT, UPDATE and DELETE: {source}"
        ),
    )
}
