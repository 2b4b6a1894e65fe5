//! Records as each store keeps them: blobs, the values of Redis, rows of SQL.

use std::{collections::BTreeMap, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tower_wristband::{
    Lifetime, SessionKey, StoreError, StoreErrorKind, Timestamp, internals,
    store::{Proof, Record, RecordParts, SessionStore as _},
};

use crate::{sequence, sqlite::DATABASE};

/// Input that starts with a zero byte is [`Column`]s; any other is read as a blob and as what Redis
/// keeps.
pub fn check(input: &[u8]) {
    if let Some((0, columns)) = input.split_first() {
        let mut row = Row::new();
        sequence(&mut Unstructured::new(columns)).for_each(|column| row.write(column));
        a_row_is_read_if_and_only_if_it_is_a_record(&row);
        return;
    }
    what_is_read_of_a_blob_is_written_again(input);
    what_is_read_from_redis_is_written_again(input);
}

fn what_is_read_of_a_blob_is_written_again(input: &[u8]) {
    let decoded = Record::decode(input);
    match &decoded {
        Ok(_) => assert_eq!(format_of(input), Some(1)),
        Err(error) => assert_is_damaged_or_newer(error, format_of(input)),
    }
    if let Ok(record) = decoded {
        let again = Record::decode(&record.encode()).expect("it was encoded");
        assert_eq!(again.parts(), record.parts());
        assert_eq!(again.encode(), record.encode());
        let redis = internals::encode_for_redis(&record);
        internals::decode_from_redis(&redis).expect("it was encoded").expect("it is there");
    }
}

/// The number of the format, if this is the text of a JSON object that has one.
fn format_of(input: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    // First as a map: of a list, serde would take the elements for members.
    serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(input).ok()?;
    serde_json::from_slice(input).ok().map(|head: Head| head.format)
}

fn what_is_read_from_redis_is_written_again(input: &[u8]) {
    match internals::decode_from_redis(input) {
        // What is left of a session that has ended.
        Ok(None) => assert_eq!(input.first(), Some(&0)),
        Ok(Some(record)) => {
            let again = internals::encode_for_redis(&record);
            let again = internals::decode_from_redis(&again).expect("it was encoded");
            assert_eq!(again.expect("it is there").parts(), record.parts());
            let blob = Record::decode(&record.encode()).expect("it was encoded");
            assert_eq!(blob.parts(), record.parts());
        }
        Err(error) => assert_is_damaged_or_newer(&error, input.first().copied().map(u64::from)),
    }
}

fn assert_is_damaged_or_newer(error: &StoreError, format: Option<u64>) {
    let is_newer = format.is_some_and(|format| format > 1);
    let expected = if is_newer { StoreErrorKind::Unavailable } else { StoreErrorKind::Corrupt };
    assert_eq!(error.kind(), expected, "{error}");
}

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000;

/// What is in the columns. The end of the session is always in the future.
struct Row {
    format: i64,
    version: i64,
    proof: Vec<u8>,
    rotated_at: Option<i64>,
    logins: i64,
    user_id: Option<Vec<u8>>,
    label: Option<Vec<u8>>,
    created_at: i64,
    authenticated_at: Option<i64>,
    last_seen_at: i64,
    idle_seconds: i64,
    absolute_seconds: i64,
    touch_seconds: i64,
    ends_with_browser: i64,
    data: String,
}

/// What somebody has written into a column.
#[derive(Arbitrary, Debug)]
enum Column<'a> {
    Format(i64),
    Version(i64),
    Proof(&'a [u8]),
    RotatedAt(Option<i64>),
    Logins(i64),
    UserId(Option<&'a [u8]>),
    Label(Option<&'a [u8]>),
    CreatedAt(i64),
    AuthenticatedAt(Option<i64>),
    LastSeenAt(i64),
    IdleSeconds(i64),
    AbsoluteSeconds(i64),
    TouchSeconds(i64),
    EndsWithBrowser(i64),
    Data(&'a str),
}

impl Row {
    /// A sound one.
    fn new() -> Self {
        Self {
            format: 1,
            version: 1,
            proof: vec![7; 32],
            rotated_at: None,
            logins: 1,
            user_id: Some(b"alice".into()),
            label: None,
            created_at: NOW,
            authenticated_at: Some(NOW),
            last_seen_at: NOW,
            idle_seconds: 60 * 60,
            absolute_seconds: 24 * 60 * 60,
            touch_seconds: 3 * 60,
            ends_with_browser: 0,
            data: r#"{"cart":"[1]"}"#.into(),
        }
    }

    fn write(&mut self, column: Column<'_>) {
        let owned = |bytes: Option<&[u8]>| bytes.map(Vec::from);
        match column {
            Column::Format(format) => self.format = format,
            Column::Version(version) => self.version = version,
            Column::Proof(proof) => self.proof = proof.into(),
            Column::RotatedAt(moment) => self.rotated_at = moment,
            Column::Logins(logins) => self.logins = logins,
            Column::UserId(user) => self.user_id = owned(user),
            Column::Label(label) => self.label = owned(label),
            Column::CreatedAt(moment) => self.created_at = moment,
            Column::AuthenticatedAt(moment) => self.authenticated_at = moment,
            Column::LastSeenAt(moment) => self.last_seen_at = moment,
            Column::IdleSeconds(seconds) => self.idle_seconds = seconds,
            Column::AbsoluteSeconds(seconds) => self.absolute_seconds = seconds,
            Column::TouchSeconds(seconds) => self.touch_seconds = seconds,
            Column::EndsWithBrowser(ends) => self.ends_with_browser = ends,
            Column::Data(data) => self.data = data.into(),
        }
    }

    /// What it should be read as, with these fields in it.
    fn parts<'a>(&'a self, fields: &'a BTreeMap<String, String>) -> Option<RecordParts<'a>> {
        let number = |number: i64| u64::try_from(number).ok();
        let seconds = |column| number(column).map(Duration::from_secs);
        let moment = |column| number(column).map(Timestamp::from_unix_millis);
        let short =
            |bytes: &'a [u8]| std::str::from_utf8(bytes).ok().filter(|text| text.len() <= 255);
        let mut lifetime =
            Lifetime::new(seconds(self.idle_seconds)?, seconds(self.absolute_seconds)?)
                .with_touch_interval(seconds(self.touch_seconds)?);
        if self.ends_with_browser != 0 {
            lifetime = lifetime.until_browser_closes();
        }
        let parts = RecordParts {
            version: self.version.cast_unsigned(),
            proof: Proof::from_bytes(self.proof.as_slice().try_into().ok()?),
            rotated_at: allow_none(self.rotated_at, moment)?,
            logins: self.logins.try_into().ok()?,
            user: allow_none(self.user_id.as_deref(), short)?,
            label: allow_none(self.label.as_deref(), short)?,
            created_at: moment(self.created_at)?,
            authenticated_at: allow_none(self.authenticated_at, moment)?,
            last_seen_at: moment(self.last_seen_at)?,
            lifetime,
            fields: fields.iter().map(|(name, json)| (name.as_str(), json.trim())).collect(),
        };
        let is_name =
            |name: &str| (1..=255).contains(&name.len()) && !name.contains(char::is_control);
        let is_json = |json| serde_json::from_str::<&RawValue>(json).is_ok();
        let (idle, absolute, touch) =
            (self.idle_seconds, self.absolute_seconds, self.touch_seconds);
        let is_sound = self.format == 1
            && parts.user != Some("")
            && parts.user.is_some() == parts.authenticated_at.is_some()
            && (1..=absolute).contains(&idle)
            && absolute <= 400 * 24 * 60 * 60
            && (touch == 0 || touch < idle)
            && fields.iter().all(|(name, json)| is_name(name) && is_json(json));
        is_sound.then_some(parts)
    }
}

/// `None` if there is something, but nothing can be made of it.
fn allow_none<T, U>(value: Option<T>, read: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    value.map_or(Some(None), |value| read(value).map(Some))
}

fn a_row_is_read_if_and_only_if_it_is_a_record(row: &Row) {
    let key = SessionKey::from_bytes([1; 16]);
    let read = DATABASE.wait(async {
        write(&key, row).await;
        DATABASE.store.load(key, Proof::from_bytes([7; 32]), at(NOW)).await
    });
    let fields: Option<BTreeMap<_, _>> = serde_json::from_str(&row.data).ok();
    let expected = fields.as_ref().and_then(|fields| row.parts(fields));
    match (read, expected) {
        (Ok(Some(record)), Some(parts)) => assert_eq!(record.parts(), parts),
        // By its parts it has ended.
        (Ok(None), Some(parts)) => {
            let start = parts.authenticated_at.unwrap_or(parts.created_at);
            let end =
                (start + parts.lifetime.absolute()).min(parts.last_seen_at + parts.lifetime.idle());
            assert!(end <= at(NOW));
        }
        (Err(error), None) => {
            assert_is_damaged_or_newer(&error, row.format.try_into().ok());
        }
        (read, expected) => panic!("{read:?} is read where {expected:?} is"),
    }
}

async fn write(key: &SessionKey, row: &Row) {
    sqlx::query(
        "INSERT OR REPLACE INTO wristband_sessions VALUES \
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $12, $13, $14, $15, $16, $17)",
    )
    .bind(&key.as_bytes()[..])
    .bind(row.format)
    .bind(row.version)
    .bind(&row.proof)
    .bind(row.rotated_at)
    .bind(row.logins)
    .bind(&row.user_id)
    .bind(&row.label)
    .bind(row.created_at)
    .bind(row.authenticated_at)
    .bind(row.last_seen_at)
    .bind(i64::MAX)
    .bind(row.idle_seconds)
    .bind(row.absolute_seconds)
    .bind(row.touch_seconds)
    .bind(row.ends_with_browser)
    .bind(&row.data)
    .execute(&DATABASE.pool)
    .await
    .expect("the table takes any row of these types");
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis.cast_unsigned())
}
