//! Reads the server's replies, in either version of its protocol.

use redis::Value;

use super::error::{corrupt, newer, unexpected};
use crate::error::StoreError;

/// The bytes of a text.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

/// The elements of a list.
pub(super) fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(elements) | Value::Set(elements) => Some(elements),
        _ => None,
    }
}

/// The pairs of a map, which older clients get as a list.
pub(super) fn pairs(value: &Value) -> Option<Vec<(&[u8], &Value)>> {
    match value {
        Value::Map(pairs) => {
            pairs.iter().map(|(name, value)| Some((bytes(name)?, value))).collect()
        }
        Value::Array(elements) => {
            let (pairs, []) = elements.as_chunks::<2>() else { return None };
            pairs.iter().map(|[name, value]| Some((bytes(name)?, value))).collect()
        }
        _ => None,
    }
}

/// One text of a map.
pub(super) fn property(value: &Value, name: &str) -> Option<String> {
    let (_, value) = pairs(value)?.into_iter().find(|(found, _)| *found == name.as_bytes())?;
    Some(String::from_utf8_lossy(bytes(value)?).into_owned())
}

/// What a script of a session has answered: a number from 0, or why it could not.
pub(super) fn code(value: &Value) -> Result<i64, StoreError> {
    match value {
        Value::Int(-1) => Err(corrupt("the record is not one that the store has written")),
        Value::Int(-2) => Err(newer("the record is of a newer format than this node reads")),
        Value::Int(code) => Ok(*code),
        _ => Err(unexpected()),
    }
}
