//! How a record is written for stores that keep blobs: JSON, the format's number first.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{Fields, Record, RecordParts};
use crate::{
    clock::Timestamp,
    error::{BoxError, StoreError, StoreErrorKind},
    lifetime::Lifetime,
    token::Proof,
};

/// The format that [`Record::encode`] writes. Whatever adds, removes or reinterprets a member is a
/// new one: a node that doesn't know a member would lose it when it writes the record back.
const FORMAT: u64 = 1;

impl Record {
    /// The record as bytes, for a store that keeps blobs: JSON text, of which the number of the
    /// format is the first member. The values of the fields are kept to the byte.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "all values are JSON text: it doesn't panic")]
    pub fn encode(&self) -> Vec<u8> {
        let lifetime = self.lifetime;
        let wire = Wire {
            format: FORMAT,
            version: Hex(self.version.to_be_bytes()),
            proof: Hex(*self.proof.as_bytes()),
            rotated_at: self.rotated_at,
            logins: self.logins,
            user: self.user().map(|user| user.as_str().into()),
            label: self.label().map(Cow::Borrowed),
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            last_seen_at: self.last_seen_at,
            lifetime: WireLifetime {
                idle: lifetime.idle().as_secs(),
                absolute: lifetime.absolute().as_secs(),
                touch_interval: lifetime.touch_interval().as_secs(),
                until_browser_closes: lifetime.ends_with_browser(),
            },
            fields: self.fields.clone(),
        };
        serde_json::to_vec(&wire).expect("a vector takes all bytes, and all values are JSON text")
    }

    /// The record that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](StoreErrorKind::Unavailable) if a newer version of this crate wrote it in a
    /// format that this one doesn't read; [`Corrupt`](StoreErrorKind::Corrupt) if it is anything
    /// else than a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        // Of a list, serde would take the elements for the members.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            let broken = "a record is a JSON object";
            return Err(StoreError::with_source(StoreErrorKind::Corrupt, broken));
        }
        let error: BoxError = match serde_json::from_slice::<Wire<'_>>(bytes) {
            Ok(wire) if wire.format == FORMAT => match wire.into_record() {
                Ok(record) => return Ok(record),
                Err(broken) => broken.into(),
            },
            Ok(_) => "the number of the format is unknown".into(),
            Err(error) => error.into(),
        };
        match serde_json::from_slice(bytes) {
            Ok(Head { format }) if format > FORMAT => Err(StoreError::with_source(
                StoreErrorKind::Unavailable,
                format!("the record is of format {format}, and this node reads up to {FORMAT}"),
            )),
            _ => Err(StoreError::with_source(StoreErrorKind::Corrupt, error)),
        }
    }
}

/// What tells a newer format, whatever else is in it.
#[derive(Deserialize)]
struct Head {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    format: u64,
    version: Hex<8>,
    proof: Hex<32>,
    rotated_at: Option<Timestamp>,
    logins: u32,
    user: Option<Cow<'a, str>>,
    label: Option<Cow<'a, str>>,
    created_at: Timestamp,
    authenticated_at: Option<Timestamp>,
    last_seen_at: Timestamp,
    lifetime: WireLifetime,
    fields: Fields,
}

/// In seconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLifetime {
    idle: u64,
    absolute: u64,
    touch_interval: u64,
    until_browser_closes: bool,
}

impl Wire<'_> {
    /// The record, if it keeps what every record keeps; otherwise what it breaks.
    fn into_record(self) -> Result<Record, &'static str> {
        let WireLifetime { idle, absolute, touch_interval, until_browser_closes } = self.lifetime;
        let mut lifetime = Lifetime::new(Duration::from_secs(idle), Duration::from_secs(absolute))
            .with_touch_interval(Duration::from_secs(touch_interval));
        if until_browser_closes {
            lifetime = lifetime.until_browser_closes();
        }
        let parts = RecordParts {
            version: u64::from_be_bytes(self.version.0),
            proof: Proof::from_bytes(self.proof.0),
            rotated_at: self.rotated_at,
            logins: self.logins,
            user: self.user.as_deref(),
            label: self.label.as_deref(),
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            last_seen_at: self.last_seen_at,
            lifetime,
            // They were checked as they were read.
            fields: Vec::new(),
        };
        Ok(Record { fields: self.fields, ..parts.check()? })
    }
}

/// Bytes as lower-case hexadecimal digits.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format_args!("expected {} hexadecimal digits", 2 * N));
        let (digits, []) = text.as_bytes().as_chunks::<2>() else { return Err(wrong()) };
        if digits.len() != N {
            return Err(wrong());
        }
        let mut bytes = [0; N];
        for (byte, &[high, low]) in bytes.iter_mut().zip(digits) {
            *byte = (digit(high).ok_or_else(wrong)? << 4) | digit(low).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, json) in self.iter() {
            let value: &RawValue = serde_json::from_str(json).map_err(ser::Error::custom)?;
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the fields by name")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.add(&name, value).map_err(de::Error::custom)?;
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests;
