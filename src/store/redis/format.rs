//! How a session is kept in a hash; `prologue.lua` names its fields.

use redis::Value;

use super::{
    error::{corrupt, newer, unexpected},
    reply,
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    lifetime::Lifetime,
    record::{ChangeParts, Record, RecordParts},
    token::{Proof, SessionKey},
};

/// The format that is written. Whatever adds, removes or reinterprets a field is a new one.
const FORMAT: u64 = 1;

/// The fields of a session that a summary needs.
pub(super) const HEAD: [&str; 6] = ["x", "t", "p", "u", "l", "e"];

/// The arguments of `create.lua` behind the time.
pub(super) fn of_record(record: &Record) -> Vec<Vec<u8>> {
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
        fields,
    } = record.parts();
    let millis = |at: Option<Timestamp>| {
        at.map_or_else(|| "-".to_owned(), |at| at.as_unix_millis().to_string())
    };
    let times = [Some(created_at), Some(last_seen_at), authenticated_at, rotated_at].map(millis);
    let mut arguments = vec![
        format!("{FORMAT} {logins} {}", of_lifetime(lifetime)).into_bytes(),
        times.join(" ").into_bytes(),
        [&proof.as_bytes()[..], &version.to_be_bytes()].concat(),
        user.unwrap_or_default().into(),
        of_label(label),
    ];
    for (name, json) in fields {
        arguments.extend([name.into(), json.into()]);
    }
    arguments
}

/// The arguments of a delta, and of the lifetime that the entry in the index was made with.
pub(super) fn of_change(change: ChangeParts<'_>, foreseen: Option<Lifetime>) -> Vec<Vec<u8>> {
    let ChangeParts { version, user, label, lifetime, clears_fields, fields } = change;
    let mut arguments = vec![
        version.to_be_bytes().into(),
        user.map_or("", |user| user.as_str()).into(),
        of_label(label),
        lifetime.map(of_lifetime).unwrap_or_default().into_bytes(),
        if clears_fields { b"1".into() } else { Vec::new() },
        foreseen.map(of_lifetime).unwrap_or_default().into_bytes(),
    ];
    for (name, json) in fields {
        arguments.extend([name.into(), json.unwrap_or_default().into()]);
    }
    arguments
}

/// Behind a letter, since a label may be empty.
fn of_label(label: Option<&str>) -> Vec<u8> {
    label.map(|label| format!("l{label}").into_bytes()).unwrap_or_default()
}

fn of_lifetime(lifetime: Lifetime) -> String {
    let [idle, absolute, touch] = [lifetime.idle(), lifetime.absolute(), lifetime.touch_interval()]
        .map(|part| part.as_secs());
    format!("{idle} {absolute} {touch} {}", u8::from(lifetime.ends_with_browser()))
}

/// The record in the answer to `HGETALL`, if there is one.
pub(super) fn record(answer: &Value) -> Result<Option<Record>, StoreError> {
    let mut head = [None; HEAD.len()];
    let mut fields = Vec::new();
    let pairs = reply::pairs(answer).ok_or_else(unexpected)?;
    let is_there = !pairs.is_empty();
    for (name, value) in pairs {
        let value = reply::bytes(value).ok_or_else(unexpected)?;
        if let Some(name) = name.strip_prefix(b"d:") {
            fields.push((name, value));
        } else if let Some(at) = HEAD.iter().position(|field| field.as_bytes() == name) {
            head[at] = Some(value);
        }
    }
    if !is_there || head[5].is_some() {
        return Ok(None);
    }
    let mut parts = parts(head)?;
    for (name, json) in fields {
        parts.fields.push((text(name)?, text(json)?));
    }
    Record::from_parts(parts).map(Some)
}

/// The record without its data in the answer to `HMGET` of [`HEAD`], if there is one.
pub(super) fn head(answer: &Value) -> Result<Option<Record>, StoreError> {
    let values = reply::list(answer).ok_or_else(unexpected)?;
    let values: &[Value; HEAD.len()] = values.try_into().map_err(|_| unexpected())?;
    let head = values.each_ref().map(reply::bytes);
    if head[5].is_some() || head.iter().all(Option::is_none) {
        return Ok(None);
    }
    Record::from_parts(parts(head)?).map(Some)
}

fn parts<'a>(head: [Option<&'a [u8]>; HEAD.len()]) -> Result<RecordParts<'a>, StoreError> {
    let [x, t, p, user, label, _] = head;
    let x = text(x.ok_or_else(|| corrupt("a record has a format"))?)?;
    let mut numbers = x.split(' ').map(number);
    match numbers.next().flatten() {
        Some(FORMAT) => {}
        Some(format) if format > FORMAT => {
            return Err(newer("the record is of a newer format than this node reads"));
        }
        _ => return Err(corrupt("the number of the format is unknown")),
    }
    let (
        Some([logins, idle, absolute, touch, browser]),
        Some([created, seen, authenticated, rotated]),
    ) = (
        exactly(numbers),
        exactly(text(t.unwrap_or_default())?.split(' ').map(|time| match time {
            "-" => Some(None),
            time => number(time).map(|millis| Some(Timestamp::from_unix_millis(millis))),
        })),
    )
    else {
        return Err(corrupt("the numbers of the record are not as it is written"));
    };
    let (Some((proof, version)), Some(created_at), Some(last_seen_at), Ok(logins), 0 | 1) = (
        p.and_then(|p| p.split_first_chunk::<32>()),
        created,
        seen,
        u32::try_from(logins),
        browser,
    ) else {
        return Err(corrupt("a part of the record is not as it is written"));
    };
    let version = version.try_into().map_err(|_| corrupt("the version is not of 8 bytes"))?;
    let seconds = std::time::Duration::from_secs;
    let mut lifetime =
        Lifetime::new(seconds(idle), seconds(absolute)).with_touch_interval(seconds(touch));
    if browser == 1 {
        lifetime = lifetime.until_browser_closes();
    }
    Ok(RecordParts {
        version: u64::from_be_bytes(version),
        proof: Proof::from_bytes(*proof),
        rotated_at: rotated,
        logins,
        user: user.map(text).transpose()?,
        label: label.map(text).transpose()?,
        created_at,
        authenticated_at: authenticated,
        last_seen_at,
        lifetime,
        fields: Vec::new(),
    })
}

/// All elements, if each is there and they are so many.
fn exactly<T, const N: usize>(elements: impl Iterator<Item = Option<T>>) -> Option<[T; N]> {
    elements.collect::<Option<Vec<T>>>()?.try_into().ok()
}

/// Digits and nothing else.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| corrupt("a text of the record is not UTF-8"))
}

/// A session in the index of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    pub(super) authenticated: u64,
}

impl Entry {
    /// The bytes of a member without its last.
    pub(super) const BYTES: usize = 22;

    pub(super) fn new(key: SessionKey, authenticated: Timestamp) -> Self {
        Self { key, authenticated: authenticated.as_unix_millis() }
    }

    /// The key and 6 bytes of milliseconds, enough for 8,900 years.
    pub(super) fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.key.as_bytes());
        let millis = self.authenticated.min((1 << 48) - 1).to_be_bytes();
        bytes[16..].copy_from_slice(&millis[2..]);
        bytes
    }

    /// Both members that it may have: the hint and the mark.
    pub(super) fn members(self) -> [Vec<u8>; 2] {
        [b'P', b'S'].map(|kind| [&self.bytes()[..], &[kind]].concat())
    }
}

/// A member of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) entry: Entry,
    /// It is not the hint, but the mark beside one that its record is known to have been stored.
    pub(super) is_mark: bool,
}

impl Member {
    pub(super) const BYTES: usize = Entry::BYTES + 1;

    /// Nothing if it is not a member that the store has written.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<16>()?;
        let (millis, kind) = rest.split_first_chunk::<6>()?;
        let is_mark = match kind {
            b"S" => true,
            b"P" => false,
            _ => return None,
        };
        let authenticated = millis.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self { entry: Entry { key: SessionKey::from_bytes(*key), authenticated }, is_mark })
    }

    /// The members that a script has answered one behind the other.
    pub(super) fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).filter_map(Self::read)
    }
}
