//! A record as a row.

use std::{collections::BTreeMap, time::Duration};

use super::{
    dialect::Dialect,
    error::{corrupt, store_error},
    statement::Value,
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    lifetime::Lifetime,
    record::{Change, ChangeParts, Record, RecordParts},
    token::{Proof, SessionKey},
};

/// The format of the rows. Whatever adds, removes or reinterprets a column is a new one.
pub(super) const FORMAT: i64 = 1;

/// Later moments are taken for this one: 146 million years, and a deadline later the sum still is
/// a 64-bit integer.
const LATEST_MILLIS: i64 = i64::MAX / 2;

/// `sweep_at` is `expires_at` with these bits set: at most 262 seconds later. So it stays the same
/// through most writes, which then change no index, and PostgreSQL need not touch one at all.
pub(super) const SWEEP_MASK: i64 = (1 << 18) - 1;

/// A moment as the databases keep it.
fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_unix_millis()).unwrap_or(i64::MAX).min(LATEST_MILLIS)
}

pub(super) fn key_value(key: &SessionKey) -> (&'static str, Value<'_>) {
    ("key", Value::Bytes(Some(key.as_bytes())))
}

pub(super) fn now_value(now: Timestamp) -> (&'static str, Value<'static>) {
    ("now", Value::Integer(Some(millis(now))))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The four parameters of a lifetime; without one, the row keeps its own.
fn lifetime_values(lifetime: Option<Lifetime>) -> [(&'static str, Value<'static>); 4] {
    let integer = |part: fn(&Lifetime) -> i64| Value::Integer(lifetime.as_ref().map(part));
    [
        ("idle", integer(|lifetime| seconds(lifetime.idle()))),
        ("absolute", integer(|lifetime| seconds(lifetime.absolute()))),
        ("touch", integer(|lifetime| seconds(lifetime.touch_interval()))),
        ("ends_with_browser", integer(|lifetime| lifetime.ends_with_browser().into())),
    ]
}

/// The fields as one JSON object: names, and the text of each value as a string. `None` is null.
fn data<'a>(
    fields: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<String, StoreError> {
    let members: BTreeMap<_, _> = fields.collect();
    serde_json::to_string(&members)
        .map_err(|error| StoreError::with_source(StoreErrorKind::Other, error))
}

/// The parameters of a new row.
pub(super) struct NewRow<'a> {
    parts: RecordParts<'a>,
    absolute_deadline: Timestamp,
    expires_at: Timestamp,
    data: String,
}

impl<'a> NewRow<'a> {
    pub(super) fn new(record: &'a Record) -> Result<Self, StoreError> {
        let data = data(record.fields().map(|(name, json)| (name, Some(json))))?;
        let (absolute_deadline, expires_at) = (record.absolute_deadline(), record.expires_at());
        Ok(Self { parts: record.parts(), absolute_deadline, expires_at, data })
    }

    pub(super) fn values<'v>(&'v self, key: &'v SessionKey) -> Vec<(&'static str, Value<'v>)> {
        let RecordParts {
            version,
            proof,
            rotated_at,
            logins,
            user,
            label,
            created_at,
            authenticated_at,
            last_seen_at,
            lifetime,
            fields: _,
        } = &self.parts;
        let moment = |moment: Timestamp| Value::Integer(Some(millis(moment)));
        let mut values = vec![
            key_value(key),
            ("version", Value::Integer(Some(version.cast_signed()))),
            ("proof", Value::Bytes(Some(proof.as_bytes()))),
            ("rotated_at", Value::Integer(rotated_at.map(millis))),
            ("logins", Value::Integer(Some((*logins).into()))),
            ("user", Value::Bytes(user.map(str::as_bytes))),
            ("label", Value::Bytes(label.map(str::as_bytes))),
            ("created_at", moment(*created_at)),
            ("authenticated_at", Value::Integer(authenticated_at.map(millis))),
            ("last_seen_at", moment(*last_seen_at)),
            ("absolute_deadline", moment(self.absolute_deadline)),
            ("expires_at", moment(self.expires_at)),
            ("sweep_at", Value::Integer(Some(millis(self.expires_at) | SWEEP_MASK))),
            ("data", Value::Json(&self.data)),
        ];
        values.extend(lifetime_values(Some(*lifetime)));
        values
    }
}

/// The parameters of a delta.
pub(super) struct Delta<'a> {
    parts: ChangeParts<'a>,
    /// A merge patch of the fields.
    data: String,
}

impl<'a> Delta<'a> {
    pub(super) fn new(change: &'a Change) -> Result<Self, StoreError> {
        let parts = change.parts();
        let data = data(parts.fields.clone())?;
        Ok(Self { parts, data })
    }

    /// Whether it changes fields alone, as most do.
    pub(super) fn is_of_fields(&self) -> bool {
        let ChangeParts { user, label, lifetime, .. } = &self.parts;
        user.is_none() && label.is_none() && lifetime.is_none()
    }

    pub(super) fn values(&self, now: Timestamp) -> Vec<(&'static str, Value<'_>)> {
        let ChangeParts { version, user, label, lifetime, clears_fields, fields } = &self.parts;
        let writes = *clears_fields || fields.len() > 0;
        let mut values = vec![
            now_value(now),
            ("version", Value::Integer(Some(version.cast_signed()))),
            ("user", Value::Bytes(user.map(|user| user.as_str().as_bytes()))),
            ("label", Value::Bytes(label.map(str::as_bytes))),
            ("writes", Value::Integer(Some(writes.into()))),
            ("clears", Value::Integer(Some((*clears_fields).into()))),
            ("data", Value::Json(&self.data)),
        ];
        values.extend(lifetime_values(*lifetime));
        values
    }
}

/// Which columns a row was read with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    All,
    /// For a summary.
    WithoutData,
}

/// The key of a row, of whatever length.
pub(super) fn key_bytes<D: Dialect>(row: &D::Row) -> Result<&[u8], StoreError> {
    Reader::<D>(row).bytes("session_key")
}

pub(super) fn key(bytes: &[u8]) -> Result<SessionKey, StoreError> {
    let key = bytes.try_into().map(SessionKey::from_bytes);
    key.map_err(|_| corrupt(format!("the key has {} bytes, not 16", bytes.len())))
}

/// Whether the session of a row is alive at `now`.
pub(super) fn is_alive<D: Dialect>(row: &D::Row, now: Timestamp) -> Result<bool, StoreError> {
    Ok(Reader::<D>(row).integer("expires_at")? > millis(now))
}

/// The record of a row.
///
/// A column of a type that isn't ours is a fault of the table, not of the record, and `Other`.
pub(super) fn record<D: Dialect>(row: &D::Row, columns: Columns) -> Result<Record, StoreError> {
    let row = Reader::<D>(row);
    let format = row.integer("format")?;
    if format > FORMAT {
        return Err(StoreError::with_source(
            StoreErrorKind::Unavailable,
            format!("the record is of format {format}, and this node reads up to {FORMAT}"),
        ));
    }
    if format != FORMAT {
        return Err(corrupt("the number of the format is unknown"));
    }

    let mut lifetime =
        Lifetime::new(row.duration("idle_seconds")?, row.duration("absolute_seconds")?)
            .with_touch_interval(row.duration("touch_seconds")?);
    if row.integer("ends_with_browser")? != 0 {
        lifetime = lifetime.until_browser_closes();
    }
    let proof =
        row.bytes("proof")?.try_into().map_err(|_| corrupt("the proof has not 32 bytes"))?;
    let logins = u32::try_from(row.integer("logins")?);
    let fields = match columns {
        Columns::All => fields(row.bytes("data")?)?,
        Columns::WithoutData => BTreeMap::new(),
    };
    Record::from_parts(RecordParts {
        version: row.integer("version")?.cast_unsigned(),
        proof: Proof::from_bytes(proof),
        rotated_at: row.optional_moment("rotated_at")?,
        logins: logins.map_err(|_| corrupt("logins is out of range"))?,
        user: row.optional_text("user_id")?,
        label: row.optional_text("label")?,
        created_at: row.moment("created_at")?,
        authenticated_at: row.optional_moment("authenticated_at")?,
        last_seen_at: row.moment("last_seen_at")?,
        lifetime,
        fields: fields.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect(),
    })
}

/// The fields: names and the text of the JSON value.
fn fields(data: &[u8]) -> Result<BTreeMap<String, String>, StoreError> {
    serde_json::from_slice(data).map_err(|_| corrupt("the data is not an object of strings"))
}

/// Reads the columns of a row, and trusts none of them.
struct Reader<'r, D: Dialect>(&'r D::Row);

impl<'r, D: Dialect> Reader<'r, D> {
    fn optional_integer(&self, column: &str) -> Result<Option<i64>, StoreError> {
        D::integer(self.0, column).map_err(store_error::<D>)
    }

    fn optional_bytes(&self, column: &str) -> Result<Option<&'r [u8]>, StoreError> {
        D::bytes(self.0, column).map_err(store_error::<D>)
    }

    fn integer(&self, column: &str) -> Result<i64, StoreError> {
        required(column, self.optional_integer(column)?)
    }

    fn bytes(&self, column: &str) -> Result<&'r [u8], StoreError> {
        required(column, self.optional_bytes(column)?)
    }

    fn moment(&self, column: &str) -> Result<Timestamp, StoreError> {
        unsigned(column, self.integer(column)?).map(Timestamp::from_unix_millis)
    }

    fn optional_moment(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        let millis = self.optional_integer(column)?;
        let millis = millis.map(|millis| unsigned(column, millis)).transpose()?;
        Ok(millis.map(Timestamp::from_unix_millis))
    }

    fn duration(&self, column: &str) -> Result<Duration, StoreError> {
        unsigned(column, self.integer(column)?).map(Duration::from_secs)
    }

    fn optional_text(&self, column: &str) -> Result<Option<&'r str>, StoreError> {
        let text = self.optional_bytes(column)?.map(std::str::from_utf8).transpose();
        text.map_err(|_| corrupt(format!("{column} is not UTF-8")))
    }
}

fn required<T>(column: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| corrupt(format!("{column} is null")))
}

fn unsigned(column: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| corrupt(format!("{column} is negative")))
}
