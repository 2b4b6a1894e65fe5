//! The operations, the same for all databases.

use std::{sync::Arc, time::Duration};

use sqlx::{Database, Executor, IntoArguments, Pool};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    columns::{self, Columns, Delta, NewRow, key_value, now_value},
    dialect::Dialect,
    error::Retries,
    lent::on_connection,
    statement::{Statement, Value, Values},
    statements::Statements,
    table::{Name, Table},
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError, StoreErrorKind},
    record::{Change, Record, Rotated, SessionSummary, Updated},
    report,
    token::{Proof, SessionKey},
    user::UserId,
};

/// How many sessions of a user one statement ends.
const BATCH: usize = 1000;

/// A session is swept so long after its end, at least: the node that sweeps may be ahead of one for
/// which the session is still alive, by two seconds if `check` finds nothing wrong with either, and
/// what that one asks may be on its way for as long as a call may take.
const SLACK: Duration = Duration::from_secs(60);

/// A table of sessions in a database. Cloning is cheap.
pub(super) struct SqlStore<D: Dialect> {
    pub(super) pool: Pool<D>,
    pub(super) table: Table,
    pub(super) statements: Arc<Statements>,
    /// Who may write now, in a database that has one writer at a time: there, a queue is faster
    /// and fairer than to ask again and again.
    writer: Option<Arc<Mutex<()>>>,
}

impl<D: Dialect> SqlStore<D> {
    pub(super) fn new(pool: Pool<D>, table: Table) -> Self {
        let statements = Arc::new(Statements::new::<D>(&table));
        Self { pool, table, statements, writer: D::HAS_ONE_WRITER.then(Arc::default) }
    }

    /// The same with a table of this name.
    pub(super) fn with_table(self, name: &str) -> Result<Self, ConfigError> {
        let name = Name::new(name)?;
        Ok(Self::new(self.pool, Table { name, ..self.table }))
    }

    /// The name of the table as it is written in SQL.
    pub(super) fn quoted_table(&self) -> String {
        self.table.quoted(&D::SYNTAX)
    }
}

impl<D: Dialect> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            table: self.table.clone(),
            statements: Arc::clone(&self.statements),
            writer: self.writer.clone(),
        }
    }
}

impl<D: Dialect> SqlStore<D>
where
    for<'c> &'c mut <D as Database>::Connection: Executor<'c, Database = D>,
    <D as Database>::Arguments: IntoArguments<D>,
{
    pub(super) async fn load(
        &self,
        key: SessionKey,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        let values = [key_value(&key), now_value(now)];
        let rows = self.fetch(&self.statements.load, &values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let record = columns::record::<D>(row, Columns::All)?;
        // The columns that decide it and the one that says so are not told apart by a broken row.
        Ok(Some(record).filter(|record| record.is_alive(now)))
    }

    pub(super) async fn create(
        &self,
        key: SessionKey,
        record: &Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let row = NewRow::new(record)?;
        self.execute(&self.statements.create, &row.values(&key)).await?;
        self.enforce_cap(key, record.user(), cap, now).await;
        Ok(())
    }

    pub(super) async fn update(
        &self,
        key: SessionKey,
        change: &Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> Result<Updated, StoreError> {
        let delta = Delta::new(change)?;
        let mut values = delta.values(now);
        values.extend([
            key_value(&key),
            ("logins", Value::Integer(Some(logins.into()))),
            ("expect", Value::Integer(expect.map(u64::cast_signed))),
        ]);
        let statement = if delta.is_of_fields() {
            &self.statements.update_fields
        } else {
            &self.statements.update
        };
        if self.execute(statement, &values).await? > 0 {
            return Ok(Updated::Stored);
        }
        Ok(match self.lost(key, now).await? {
            Some(record)
                if record.logins() == logins
                    && record.may_bind(change)
                    && expect.is_some_and(|version| version != record.version()) =>
            {
                Updated::Conflict(Some(Box::new(record)))
            }
            _ => Updated::Gone,
        })
    }

    pub(super) async fn rotate(
        &self,
        key: SessionKey,
        (from, to): (Proof, Proof),
        change: &Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<Rotated, StoreError> {
        let delta = Delta::new(change)?;
        let mut values = delta.values(now);
        values.extend([
            key_value(&key),
            ("from", Value::Bytes(Some(from.as_bytes()))),
            ("to", Value::Bytes(Some(to.as_bytes()))),
        ]);
        if self.execute(&self.statements.rotate, &values).await? > 0 {
            self.enforce_cap(key, change.parts().user, cap, now).await;
            return Ok(Rotated::Stored);
        }
        Ok(match self.lost(key, now).await? {
            Some(record) if record.proof() == to => Rotated::Stored,
            _ => Rotated::Gone,
        })
    }

    pub(super) async fn touch(
        &self,
        key: SessionKey,
        logins: u32,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let logins = ("logins", Value::Integer(Some(logins.into())));
        let values = [key_value(&key), now_value(now), logins];
        if self.execute(&self.statements.touch, &values).await? > 0 {
            return Ok(true);
        }
        // A record of a newer format is an error, not the end of the session.
        self.lost(key, now).await?;
        Ok(false)
    }

    /// What there is, after a write has changed nothing. The write came before what has happened
    /// since: a record that suits it now is not asked for a second time.
    async fn lost(&self, key: SessionKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.load(key, now).await
    }

    pub(super) async fn destroy(
        &self,
        key: SessionKey,
        owner: Option<&UserId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let owner = ("owner", Value::Bytes(owner.map(|owner| owner.as_str().as_bytes())));
        let values = [key_value(&key), now_value(now), owner];
        let statements = &self.statements;
        if let Some(destroy) = &statements.destroy {
            let _turn = self.turn().await;
            let rows = self.fetch(destroy, &values).await?;
            return rows.first().map_or(Ok(false), |row| columns::is_alive::<D>(row, now));
        }
        if self.execute(&statements.destroy_living, &values).await? > 0 {
            return Ok(true);
        }
        // A `DELETE` answers a number alone, so its condition has to say what it is that goes.
        // A node whose clock is behind may still take it for alive.
        if self.execute(&statements.destroy_expired, &values).await? > 0 {
            return Ok(false);
        }
        // And may have prolonged it in between.
        Ok(self.execute(&statements.destroy_living, &values).await? > 0)
    }

    pub(super) async fn list(
        &self,
        user: &UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, StoreError> {
        let mut summaries = Vec::new();
        // Of whatever length: a row whose key is none is skipped as well.
        let mut after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
        // A page is filled up where records are skipped, or it would look like the last.
        while summaries.len() < limit {
            let missing = limit - summaries.len();
            let values = [
                user_value(user),
                ("after", Value::Bytes(Some(&after))),
                now_value(now),
                ("limit", count_value(missing)),
            ];
            let rows = self.fetch(&self.statements.list, &values).await?;
            for row in &rows {
                let bytes = columns::key_bytes::<D>(row)?;
                after = bytes.to_vec();
                match columns::key(bytes) {
                    Ok(key) => match columns::record::<D>(row, Columns::WithoutData) {
                        Ok(record) => summaries.push(record.summary(key)),
                        Err(error) => report::corrupt(key, &error),
                    },
                    Err(error) => report::corrupt_key(&error),
                }
            }
            if rows.len() < missing {
                break;
            }
        }
        Ok(summaries)
    }

    pub(super) async fn destroy_user(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let except = except.as_ref().map_or(&[][..], |key| &key.as_bytes()[..]);
        let values = [
            user_value(user),
            ("except", Value::Bytes(Some(except))),
            now_value(now),
            ("keep", count_value(keep_newest)),
            ("batch", count_value(BATCH)),
        ];
        // A node whose clock is behind may still take them for alive.
        self.in_batches(&self.statements.destroy_expired_of_user, &values).await?;
        self.in_batches(&self.statements.destroy_user, &values).await
    }

    /// Ends the oldest sessions of a user beyond the cap. The login is stored by then, and stands
    /// if this fails: a client that was told otherwise would be without a session that it has.
    async fn enforce_cap(
        &self,
        key: SessionKey,
        user: Option<&UserId>,
        cap: Option<usize>,
        now: Timestamp,
    ) {
        let (Some(user), Some(cap)) = (user, cap) else { return };
        // The newcomer is never ended.
        let cap = cap.max(1);
        let values = [
            user_value(user),
            key_value(&key),
            now_value(now),
            ("cap", count_value(cap)),
            ("most", count_value(cap.saturating_add(BATCH))),
        ];
        if let Err(error) = self.in_batches(&self.statements.enforce_cap, &values).await {
            report::store_failed("enforce_cap", &error);
        }
    }

    /// Runs a statement that deletes at most [`BATCH`] rows until it finds fewer.
    async fn in_batches(
        &self,
        statement: &Statement,
        values: Values<'_, '_>,
    ) -> Result<usize, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = self.execute(statement, values).await?;
            deleted += batch;
            if batch < BATCH {
                return Ok(deleted);
            }
        }
    }

    pub(super) async fn sweep(&self, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        let slack = u64::try_from(SLACK.as_millis()).unwrap_or(u64::MAX);
        let ended = Timestamp::from_unix_millis(now.as_unix_millis().saturating_sub(slack));
        let values = [now_value(ended), ("batch", count_value(limit))];
        self.execute(&self.statements.sweep, &values).await
    }

    /// Waits until this store may write.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.writer {
            Some(writer) => Some(writer.lock().await),
            None => None,
        }
    }

    /// Runs a statement that writes. Answers how many rows it has matched.
    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: Values<'_, '_>,
    ) -> Result<usize, StoreError> {
        let _turn = self.turn().await;
        let mut retries = Retries::new();
        loop {
            let arguments = arguments::<D>(statement, values)?;
            let query = sqlx::query_with(statement.sql(), arguments);
            let run = async |connection: &mut D::Connection| query.execute(connection).await;
            match on_connection(&self.pool, run).await {
                Ok(result) => return Ok(usize::try_from(D::rows_affected(&result)).unwrap_or(0)),
                Err(error) => retries.after::<D>(error).await?,
            }
        }
    }

    pub(super) async fn fetch(
        &self,
        statement: &Statement,
        values: Values<'_, '_>,
    ) -> Result<Vec<D::Row>, StoreError> {
        let mut retries = Retries::new();
        loop {
            let arguments = arguments::<D>(statement, values)?;
            let query = sqlx::query_with(statement.sql(), arguments);
            let run = async |connection: &mut D::Connection| query.fetch_all(connection).await;
            match on_connection(&self.pool, run).await {
                Ok(rows) => return Ok(rows),
                Err(error) => retries.after::<D>(error).await?,
            }
        }
    }
}

fn arguments<D: Dialect>(
    statement: &Statement,
    values: Values<'_, '_>,
) -> Result<D::Arguments, StoreError> {
    statement
        .arguments::<D>(values)
        .map_err(|error| StoreError::with_source(StoreErrorKind::Other, error))
}

fn user_value(user: &UserId) -> (&'static str, Value<'_>) {
    ("user", Value::Bytes(Some(user.as_str().as_bytes())))
}

fn count_value(count: usize) -> Value<'static> {
    // The sum of two of them still is a 64-bit integer.
    Value::Integer(Some(i64::try_from(count).unwrap_or(i64::MAX).min(i64::MAX / 2)))
}
