//! Whether a table can be used, and what to do if it can't.

use std::time::Duration;

use sqlx::{Encode, Executor, FromRow, IntoArguments, Type};

use super::{
    dialect::{Content, Dialect},
    error::store_error,
    lent::on_connection,
    statement::Value,
    store::SqlStore,
    table::Table,
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    store::clocks,
};

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

/// All indexes: what their name adds to the table's, and their columns.
const INDEXES: [(&str, &[&str]); 3] = [
    ("_user", &["user_id", "authenticated_at", "session_key"]),
    ("_user_key", &["user_id", "session_key"]),
    ("_sweep_at", &["sweep_at"]),
];

/// A column as the [catalog](super::dialect::Catalog) describes it.
type Column = (String, String, i64, i64, i64);

impl<D: Dialect> SqlStore<D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
{
    /// The table has all columns and indexes as they should be. The name is as the catalog takes
    /// it.
    pub(super) async fn check_shape(&self, name: &str) -> Result<(), StoreError>
    where
        Column: for<'r> FromRow<'r, D::Row>,
        (String, String): for<'r> FromRow<'r, D::Row>,
        for<'q> &'q str: Encode<'q, D> + Type<D>,
    {
        let ask = async |connection: &mut D::Connection| {
            let columns = sqlx::query_as(D::CATALOG.columns).bind(name);
            let columns: Vec<Column> = columns.fetch_all(&mut *connection).await?;
            let indexes = sqlx::query_as(D::CATALOG.indexes).bind(name);
            let indexes: Vec<(String, String)> = indexes.fetch_all(connection).await?;
            Ok((columns, indexes))
        };
        let (columns, indexes) = on_connection(&self.pool, ask).await.map_err(store_error::<D>)?;
        check_columns(&self.table, &columns, D::CATALOG.type_name)?;
        check_indexes::<D>(&self.table, &indexes)
    }

    /// Writes nothing, in the way of each statement that does.
    pub(super) async fn check_writable(&self) -> Result<(), StoreError> {
        let statements = &self.statements;
        for statement in
            [&statements.probe_insert, &statements.probe_update, &statements.destroy_expired]
        {
            let nobody = [
                ("key", Value::Bytes(Some(&[]))),
                ("owner", Value::Bytes(None)),
                ("now", Value::Integer(Some(0))),
            ];
            self.execute(statement, &nobody)
                .await
                .map_err(|error| not_writable(&self.table, &error))?;
        }
        Ok(())
    }
}

/// An error that says what to do.
pub(super) fn advice(kind: StoreErrorKind, what: impl Into<String>) -> StoreError {
    StoreError::with_source(kind, what.into())
}

/// The table has all columns as they should be, and the key is its primary key.
///
/// Others may be there as well, if they get a default.
fn check_columns(
    table: &Table,
    found: &[Column],
    type_name: fn(Content) -> &'static str,
) -> Result<(), StoreError> {
    let other = |what: String| Err(advice(StoreErrorKind::Other, what));
    if found.is_empty() {
        return other(format!(
            "the table {table} is missing: call `migrate` once, or run the SQL of `schema`"
        ));
    }
    for (name, content, is_nullable) in COLUMNS {
        let wanted = type_name(content);
        let shape = match found.iter().find(|(column, ..)| column == name) {
            None => "is missing".to_owned(),
            Some((_, other, ..)) if !other.eq_ignore_ascii_case(wanted) => {
                format!("is of type {other}, not {wanted}")
            }
            Some((_, _, 1, ..)) if !is_nullable => "may be null".to_owned(),
            Some((_, _, 0, ..)) if is_nullable => "may not be null".to_owned(),
            Some(_) => continue,
        };
        return other(format!(
            "the table {table} is not one of sessions: its column {name} {shape}; choose another \
             name with `with_table`, or compare the table with the SQL of `schema`"
        ));
    }
    let keys: Vec<_> = found.iter().filter(|(.., is_key, _)| *is_key == 1).collect();
    if !matches!(keys[..], [(key, ..)] if key == "session_key") {
        return other(format!("the primary key of the table {table} is not session_key alone"));
    }
    let is_ours = |name: &str| COLUMNS.iter().any(|(column, ..)| *column == name);
    match found.iter().find(|(name, .., is_needed)| *is_needed == 1 && !is_ours(name)) {
        None => Ok(()),
        Some((name, ..)) => other(format!(
            "the table {table} can take no session: its column {name}, which is not one of \
             sessions, has no default and may not be null; give it a default, or let it be null"
        )),
    }
}

/// No index is missing. `IF NOT EXISTS` makes none where anything else has its name, nor with MySQL
/// where the table is there.
fn check_indexes<D: Dialect>(table: &Table, found: &[(String, String)]) -> Result<(), StoreError> {
    for (suffix, columns) in INDEXES {
        let name = format!("{}{suffix}", table.name.as_str());
        let of_name = found.iter().filter(|(index, _)| index.eq_ignore_ascii_case(&name));
        let there: Vec<_> = of_name.map(|(_, column)| column).collect();
        if there == columns {
            continue;
        }
        let create = create_index::<D>(table, suffix, columns);
        let columns = columns.join(", ");
        let what = if there.is_empty() {
            format!(
                "the table {table} has no index {name} on {columns}: run `{create}`, or choose \
                 another name with `with_table` if something else has the index's"
            )
        } else {
            let index = table.quoted_with(&D::SYNTAX, suffix);
            let drop = D::CATALOG.drop_index.replace("{index}", &index);
            let drop = drop.replace("{table}", &table.quoted(&D::SYNTAX));
            format!(
                "the index {name} of the table {table} is not on {columns}: run `{drop}; {create}`"
            )
        };
        return Err(advice(StoreErrorKind::Other, what));
    }
    Ok(())
}

/// The statement that makes an index, as it is in the SQL of `schema`.
fn create_index<D: Dialect>(table: &Table, suffix: &str, columns: &[&str]) -> String {
    // The index is where its table is, whatever the schema.
    let beside = Table { schema: None, name: table.name.clone() };
    let index = beside.quoted_with(&D::SYNTAX, suffix);
    let rows = if columns.contains(&"user_id") { D::CATALOG.with_users } else { "" };
    let (table, columns) = (table.quoted(&D::SYNTAX), columns.join(", "));
    format!("CREATE INDEX {index} ON {table} ({columns}){rows}")
}

/// The server's clock is within a second of `now`, which was `elapsed` ago or less.
pub(super) fn clock(
    now: Timestamp,
    elapsed: Duration,
    server_millis: i64,
) -> Result<(), StoreError> {
    let server = Timestamp::from_unix_millis(u64::try_from(server_millis).unwrap_or(0));
    clocks::check(&(now..=now + elapsed), server)
}

/// What a statement that would write failed at, on a table of the right shape.
fn not_writable(table: &Table, error: &StoreError) -> StoreError {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    advice(
        error.kind(),
        format!(
            "the table {table} can't be written: connect to the primary, which is not read-only, \
             as a role that may SELECT, INSERT, UPDATE and DELETE: {source}"
        ),
    )
}
