//! SQL with named parameters, in the placeholders of a dialect.

use std::sync::Arc;

use sqlx::{Arguments as _, AssertSqlSafe, SqlSafeStr as _, SqlStr, error::BoxDynError};

use super::dialect::Dialect;

/// How a dialect writes its parameters.
#[derive(Clone, Copy)]
pub(super) enum Placeholders {
    /// `$1`, `$2`: a parameter can be used more than once.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    Numbered,
    /// `?`: each use is a parameter of its own.
    #[cfg(feature = "mysql")]
    Positional,
}

/// The value of a parameter.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Integer(Option<i64>),
    Bytes(Option<&'a [u8]>),
    /// The text of JSON.
    Json(&'a str),
}

/// The parameters of a statement by name.
pub(super) type Values<'v, 'a> = &'v [(&'static str, Value<'a>)];

/// A statement as it is sent.
pub(super) struct Statement {
    sql: Arc<str>,
    /// In the order in which they are bound.
    parameters: Vec<String>,
}

impl Statement {
    /// Replaces each `:name` by a placeholder. There is no other colon in the SQL.
    pub(super) fn new(placeholders: Placeholders, named: &str) -> Self {
        let (mut sql, mut parameters) = (String::new(), Vec::<String>::new());
        let mut parts = named.split(':');
        sql.extend(parts.next());
        for part in parts {
            let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let (name, rest) = part.split_at(end.unwrap_or(part.len()));
            match placeholders {
                #[cfg(any(feature = "postgres", feature = "sqlite"))]
                Placeholders::Numbered => {
                    let known = parameters.iter().position(|parameter| parameter == name);
                    let at = known.unwrap_or_else(|| {
                        parameters.push(name.to_owned());
                        parameters.len() - 1
                    });
                    sql.push_str(&format!("${}", at + 1));
                }
                #[cfg(feature = "mysql")]
                Placeholders::Positional => {
                    parameters.push(name.to_owned());
                    sql.push('?');
                }
            }
            sql.push_str(rest);
        }
        Self { sql: sql.into(), parameters }
    }

    /// The text, which holds nothing that comes from a request.
    pub(super) fn sql(&self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.sql)).into_sql_str()
    }

    /// The values in the order of the placeholders.
    pub(super) fn arguments<D: Dialect>(
        &self,
        values: Values<'_, '_>,
    ) -> Result<D::Arguments, BoxDynError> {
        let mut arguments = D::Arguments::default();
        arguments.reserve(self.parameters.len(), 0);
        for parameter in &self.parameters {
            let Some((_, value)) = values.iter().find(|(name, _)| name == parameter) else {
                return Err(format!("the parameter {parameter:?} has no value").into());
            };
            D::bind(&mut arguments, *value)?;
        }
        Ok(arguments)
    }
}
