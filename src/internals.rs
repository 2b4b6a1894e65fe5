//! Parts of the crate for its own benchmarks and fuzzers, behind the feature `__internals`.
//!
//! **Not a part of the public API.** Any release, a patch too, may change or remove what is here.

use http::HeaderMap;

use crate::{
    cookie::{self, Presented},
    session::plan::{Answer, Head, Plan, Situation, Standing, Step},
    token::SessionToken,
};
#[cfg(feature = "redis")]
use crate::{
    error::StoreError,
    record::Record,
    store::redis::format::{of_record, record},
};

/// The tokens that the `Cookie` headers present under this name: none, one, or two different ones.
/// More than two count as none.
#[must_use]
pub fn find_tokens(
    headers: &mut HeaderMap,
    name: &str,
    forward: bool,
) -> [Option<SessionToken>; 2] {
    match cookie::find(headers, name, forward) {
        Presented::Nothing | Presented::Malformed | Presented::TooMany => [None, None],
        Presented::One(token) => [Some(token), None],
        Presented::Two(tokens) => tokens.map(Some),
    }
}

/// Reads a token as it is in a cookie's value.
#[must_use]
pub fn parse_token(wire: &[u8]) -> Option<SessionToken> {
    SessionToken::parse(wire)
}

/// The bytes that [`RedisStore`](crate::RedisStore) keeps of a record.
#[cfg(feature = "redis")]
#[must_use]
pub fn encode_for_redis(record: &Record) -> Vec<u8> {
    of_record(record)
}

/// The record that [`RedisStore`](crate::RedisStore) reads in these bytes.
///
/// # Errors
///
/// As [`Record::decode`].
#[cfg(feature = "redis")]
pub fn decode_from_redis(bytes: &[u8]) -> Result<Option<Record>, StoreError> {
    record(&redis::Value::BulkString(bytes.to_vec()))
}

/// Plans a commit, with or without a living session, of which every step succeeds. Returns how many
/// steps it has.
#[must_use]
pub fn plan_commit(is_live: bool, login: bool, write: bool, touch: bool) -> usize {
    let mut plan = Plan::new(Situation {
        standing: if is_live { Standing::Live } else { Standing::Vacant },
        head: Head::Open,
        login,
        same_user: false,
        rotate: false,
        content: write,
        change: write,
        touch,
        ends: 0,
    });
    let mut steps = 0;
    while !matches!(plan.step(), Step::Done(_)) {
        plan.answer(Answer::Done);
        steps += 1;
    }
    steps
}
