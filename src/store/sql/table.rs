//! Names of tables.

use std::fmt;

use super::dialect::Syntax;
use crate::error::{ConfigError, ConfigErrorKind};

/// Names of indexes are made from a table's name, and may have 63 bytes in PostgreSQL.
const MAX_BYTES: usize = 48;

/// The table's name unless another is chosen.
const DEFAULT: &str = "wristband_sessions";

/// A name that is safe in SQL: its characters end no quotes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn new(name: &str) -> Result<Self, ConfigError> {
        let mut bytes = name.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let is_word = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if starts && is_word && name.len() <= MAX_BYTES {
            return Ok(Self(name.to_owned()));
        }
        Err(ConfigError::new(
            ConfigErrorKind::TableName,
            format!(
                "{name:?} is no name of a table or schema: it takes 1 to {MAX_BYTES} ASCII \
                 letters, digits and underscores, of which the first is no digit"
            ),
        ))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the sessions are: a table, in a schema if one is named.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) schema: Option<Name>,
    pub(super) name: Name,
}

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: Name(DEFAULT.to_owned()) }
    }
}

impl Table {
    /// The name as it is written in SQL.
    pub(super) fn quoted(&self, syntax: &Syntax) -> String {
        self.quoted_with(syntax, "")
    }

    /// The same of what is beside the table, whose name ends with this.
    pub(super) fn quoted_with(&self, syntax: &Syntax, suffix: &str) -> String {
        let (quote, name) = (syntax.quote, self.name.as_str());
        match &self.schema {
            Some(schema) => {
                format!("{quote}{}{quote}.{quote}{name}{suffix}{quote}", schema.as_str())
            }
            None => format!("{quote}{name}{suffix}{quote}"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", schema.as_str())?;
        }
        f.write_str(self.name.as_str())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
