//! How a session is kept in one text; `prologue.lua` says what is in it.

use std::time::Duration;

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

/// The format that is written. Whatever adds, removes or reinterprets a part is a new one.
const FORMAT: u8 = 1;

/// What is left of a session that has ended.
const ENDED: u8 = 0;

/// Milliseconds that stand for no time. The 6 bytes before it are enough for 8,900 years.
const NEVER: u64 = (1 << 48) - 1;

/// Beside the seconds of a touch interval: the cookie ends with the browser.
const ENDS_WITH_BROWSER: u32 = 1 << 31;

/// The bytes of a record that no call has written yet.
pub(crate) fn of_record(record: &Record) -> Vec<u8> {
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
    let mut bytes = vec![FORMAT];
    bytes.extend(authenticated_at.map_or(of_millis(NEVER), of_time));
    put_short(&mut bytes, user.unwrap_or_default());
    bytes.extend(0_u16.to_be_bytes()); // the scripts note the calls
    bytes.extend(logins.to_be_bytes());
    bytes.extend(of_lifetime(lifetime));
    bytes.extend(of_time(created_at));
    bytes.extend(of_time(last_seen_at));
    bytes.extend(rotated_at.map_or(of_millis(NEVER), of_time));
    bytes.extend(proof.as_bytes());
    bytes.extend(version.to_be_bytes());
    let label = of_label(label);
    // One letter more than 255 bytes at the most.
    bytes.extend((label.len() as u16).to_be_bytes());
    bytes.extend(label);
    for (name, json) in fields {
        put_short(&mut bytes, name);
        // The server takes no text that is longer.
        bytes.extend((json.len() as u32).to_be_bytes());
        bytes.extend(json.as_bytes());
    }
    bytes
}

/// A text of at most 255 bytes.
fn put_short(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend(text.as_bytes());
}

/// The arguments of a delta, and of the lifetime that the entry in the index was made with.
pub(super) fn of_change(change: ChangeParts<'_>, foreseen: Option<Lifetime>) -> Vec<Vec<u8>> {
    let ChangeParts { version, user, label, lifetime, clears_fields, fields } = change;
    let of_lifetime = |lifetime| Vec::from(of_lifetime(lifetime));
    let mut arguments = vec![
        version.to_be_bytes().into(),
        user.map_or("", |user| user.as_str()).into(),
        of_label(label),
        lifetime.map(of_lifetime).unwrap_or_default(),
        if clears_fields { b"1".into() } else { Vec::new() },
        foreseen.map(of_lifetime).unwrap_or_default(),
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

fn of_lifetime(lifetime: Lifetime) -> [u8; 12] {
    let [idle, absolute, touch] = [lifetime.idle(), lifetime.absolute(), lifetime.touch_interval()]
        .map(|part| u32::try_from(part.as_secs()).unwrap_or(u32::MAX));
    let browser = if lifetime.ends_with_browser() { ENDS_WITH_BROWSER } else { 0 };
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&idle.to_be_bytes());
    bytes[4..8].copy_from_slice(&absolute.to_be_bytes());
    bytes[8..].copy_from_slice(&(touch | browser).to_be_bytes());
    bytes
}

/// Milliseconds.
pub(super) fn of_time(time: Timestamp) -> [u8; 6] {
    of_millis(time.as_unix_millis().min(NEVER - 1))
}

fn of_millis(millis: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = millis.to_be_bytes();
    bytes
}

fn millis([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The record in the answer to `GET`, if there is one.
pub(crate) fn record(answer: &Value) -> Result<Option<Record>, StoreError> {
    read(answer, |reader, fields| {
        while !reader.is_at_end() {
            let name = reader.short()?;
            let length = usize::try_from(reader.number()?).ok()?;
            fields.push((name, reader.text(length)?));
        }
        Some(())
    })
}

/// As [`record`], without its data.
pub(super) fn head(answer: &Value) -> Result<Option<Record>, StoreError> {
    read(answer, |_, _| Some(()))
}

fn read<'a>(
    answer: &'a Value,
    fields: impl FnOnce(&mut Reader<'a>, &mut Vec<(&'a str, &'a str)>) -> Option<()>,
) -> Result<Option<Record>, StoreError> {
    if *answer == Value::Nil {
        return Ok(None);
    }
    let mut reader = Reader(reply::bytes(answer).ok_or_else(unexpected)?);
    match reader.bytes() {
        Some([FORMAT]) => {}
        Some([ENDED]) if reader.is_of_ended() => return Ok(None),
        Some([format]) if *format > FORMAT => {
            return Err(newer("the record is of a newer format than this node reads"));
        }
        _ => return Err(corrupt("the number of the format is unknown")),
    }
    let mut parts = reader.parts().ok_or_else(|| corrupt("a part of the record is damaged"))?;
    fields(&mut reader, &mut parts.fields)
        .ok_or_else(|| corrupt("a field of the record is damaged"))?;
    Record::from_parts(parts).map(Some)
}

/// What is still to be read of a record. Each part is there as a whole or not at all.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// What records and what is left of them begin with, behind the number of the format: the
    /// authentication time and the user. The calls that follow are the scripts' business.
    fn head(&mut self) -> Option<(Option<Timestamp>, &'a str)> {
        let head = (self.time()?, self.short()?);
        let length = u16::from_be_bytes(*self.bytes()?);
        self.0 = self.0.get(length.into()..)?;
        Some(head)
    }

    /// Whether there is, behind the number of the format, what is left of a session that has ended.
    fn is_of_ended(&mut self) -> bool {
        self.head().is_some() && self.0.len() == 1
    }

    /// All behind the number of the format and in front of the fields.
    fn parts(&mut self) -> Option<RecordParts<'a>> {
        let (authenticated_at, user) = self.head()?;
        let user = Some(user).filter(|user| !user.is_empty());
        let logins = self.number()?;
        let [idle, absolute, touch] = [self.number()?, self.number()?, self.number()?];
        let (created_at, last_seen_at, rotated_at) = (self.time()??, self.time()??, self.time()?);
        let (proof, version) = (*self.bytes()?, *self.bytes()?);
        let length = u16::from_be_bytes(*self.bytes()?);
        let label = match self.text(length.into())? {
            "" => None,
            label => Some(label.strip_prefix('l')?),
        };
        let seconds = |number| Duration::from_secs(u64::from(number));
        let mut lifetime = Lifetime::new(seconds(idle), seconds(absolute))
            .with_touch_interval(seconds(touch & !ENDS_WITH_BROWSER));
        if touch & ENDS_WITH_BROWSER != 0 {
            lifetime = lifetime.until_browser_closes();
        }
        Some(RecordParts {
            version: u64::from_be_bytes(version),
            proof: Proof::from_bytes(proof),
            rotated_at,
            logins,
            user,
            label,
            created_at,
            authenticated_at,
            last_seen_at,
            lifetime,
            fields: Vec::new(),
        })
    }

    fn bytes<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.bytes()?))
    }

    fn time(&mut self) -> Option<Option<Timestamp>> {
        let millis = millis(*self.bytes()?);
        Some((millis != NEVER).then(|| Timestamp::from_unix_millis(millis)))
    }

    /// A text behind the byte of its length.
    fn short(&mut self) -> Option<&'a str> {
        let [length] = *self.bytes()?;
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

/// A session in the index of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    /// As it is stored: another login on the session has an entry of its own.
    pub(super) authenticated: [u8; 6],
}

impl Entry {
    /// The bytes of a member without its last.
    pub(super) const BYTES: usize = 22;

    pub(super) fn new(key: SessionKey, authenticated: Timestamp) -> Self {
        Self { key, authenticated: of_time(authenticated) }
    }

    /// The entry of a session whose authentication time is there as it is stored.
    pub(super) fn read(key: SessionKey, authenticated: &[u8]) -> Option<Self> {
        Some(Self { key, authenticated: authenticated.try_into().ok()? })
    }

    pub(super) fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.key.as_bytes());
        bytes[16..].copy_from_slice(&self.authenticated);
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
        let (key, rest) = bytes.split_first_chunk()?;
        let (authenticated, kind) = rest.split_first_chunk()?;
        let is_mark = match kind {
            b"S" => true,
            b"P" => false,
            _ => return None,
        };
        let entry = Entry { key: SessionKey::from_bytes(*key), authenticated: *authenticated };
        Some(Self { entry, is_mark })
    }

    /// The members that a script has answered one behind the other.
    pub(super) fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).filter_map(Self::read)
    }
}

#[cfg(test)]
mod tests;
