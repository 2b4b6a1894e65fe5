//! What tells the databases apart.

use sqlx::{Database, error::BoxDynError, error::DatabaseError};

use super::statement::{Placeholders, Value};

/// A database and how it is spoken to.
pub(super) trait Dialect: Database {
    const SYNTAX: Syntax;

    const CATALOG: Catalog;

    /// Whether writers to the database wait for each other.
    const HAS_ONE_WRITER: bool = false;

    /// Adds a value to the arguments of a statement.
    fn bind(arguments: &mut Self::Arguments, value: Value<'_>) -> Result<(), BoxDynError>;

    fn rows_affected(result: &Self::QueryResult) -> u64;

    fn integer(row: &Self::Row, column: &str) -> Result<Option<i64>, sqlx::Error>;

    fn bytes<'r>(row: &'r Self::Row, column: &str) -> Result<Option<&'r [u8]>, sqlx::Error>;

    /// What an error of the server means.
    fn meaning(error: &dyn DatabaseError) -> Meaning;
}

/// How a dialect writes what the others write in another way.
pub(super) struct Syntax {
    pub(super) placeholders: Placeholders,
    /// What an identifier is put between.
    pub(super) quote: char,
    pub(super) greatest: &'static str,
    pub(super) least: &'static str,
    /// The column `data` as UTF-8.
    pub(super) data: &'static str,
    /// The parameter `:data`, a JSON object, as a value of that column.
    pub(super) new_data: &'static str,
    /// The column `data`, emptied before if `:clears` is 1, after the merge patch `:data`: members
    /// are replaced as a whole, and those that are null are removed. All members of the column are
    /// strings. The patch is named once, as it may be long.
    pub(super) merged_data: &'static str,
    /// Behind the table `{name}`: rows are looked for by the index on users and keys.
    pub(super) by_user_key: &'static str,
    /// Behind an `ORDER BY` that an index has: the first `{count}` rows.
    pub(super) limit: &'static str,
    /// Behind a `SELECT`: the rows stay as they are until the statement ends.
    pub(super) lock: &'static str,
    /// The same without waiting for rows that others have locked.
    pub(super) lock_free: &'static str,
    /// In a condition, a part that holds: the statement removes what has expired.
    pub(super) sweeps: &'static str,
    /// Whether `DELETE … RETURNING` is there. Where it isn't, the end of a living session takes one
    /// statement, and that of none takes three: for what is alive, for what has expired, and for
    /// what was prolonged in between.
    pub(super) returns_deleted: bool,
    /// Deletes from `{table}` the rows whose keys the query `{chosen}` answers, which runs once.
    pub(super) delete: &'static str,
}

/// How the database is asked what a table is like, whose name is the parameter.
pub(super) struct Catalog {
    /// Of each column the name, the type as a whole, whether it may be null, whether it is part of
    /// the primary key, and whether each new row has to say what is there: 0 or 1.
    pub(super) columns: &'static str,
    /// Of each column of an index the index and the column, in their order.
    pub(super) indexes: &'static str,
    /// Behind the columns of an index on users: which sessions have a place there.
    pub(super) with_users: &'static str,
    /// Removes the index `{index}` of `{table}`.
    pub(super) drop_index: &'static str,
    /// The type of a column that holds this.
    pub(super) type_name: fn(Content) -> &'static str,
}

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

/// What an error of the server means for the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was not carried out, since others were in the way: it can be sent again.
    Again,
    /// The server can't serve now.
    Unavailable,
    /// The server has given it up since it took too long.
    Timeout,
    Other,
}
