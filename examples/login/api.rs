//! What programs ask for: plain text and JSON.

use std::time::Duration;

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::{Json, Result},
};
use serde::{Deserialize, Serialize};
use tower_wristband::{Field, Session, SessionKey, UserId};

use crate::time::rfc3339;

pub(crate) const COUNT: Field<u64> = Field::new("count");

const LONGEST_WAIT_MS: u64 = 10_000;

#[derive(Serialize)]
pub(crate) struct Me {
    user: UserId,
    created: Option<String>,
    expires: Option<String>,
    key: Option<SessionKey>,
}

pub(crate) async fn me(user: UserId, session: Session) -> Json<Me> {
    Json(Me {
        user,
        created: session.created_at().map(rfc3339),
        expires: session.expires_at().map(rfc3339),
        key: session.key(),
    })
}

pub(crate) async fn count(session: Session) -> Result<String> {
    Ok(session.get(COUNT)?.unwrap_or_default().to_string())
}

/// `get` and `insert` would lose counts of requests that run at the same time; `update` does not.
pub(crate) async fn count_up(session: Session) -> Result<String> {
    let stored = session.update(COUNT, |count| Some(count.unwrap_or_default() + 1)).await?;
    Ok(stored.unwrap_or_default().to_string())
}

pub(crate) async fn note(session: Session, Path(name): Path<String>) -> Result<String> {
    let text = session.get(&field(&name))?;
    Ok(text.ok_or(StatusCode::NOT_FOUND)?)
}

/// Each note is a field of its own, so that requests that write different notes don't disturb each
/// other.
pub(crate) async fn write_note(
    session: Session,
    Path(name): Path<String>,
    text: String,
) -> Result<StatusCode> {
    session.insert(&field(&name), &text)?;
    Ok(StatusCode::NO_CONTENT)
}

fn field(name: &str) -> String {
    format!("note:{name}")
}

#[derive(Deserialize)]
pub(crate) struct Wait {
    ms: u64,
}

/// For trying races by hand: what is written here is stored when the response is ready, unless the
/// session has ended by then.
pub(crate) async fn slow(session: Session, Query(wait): Query<Wait>) -> Result<String> {
    let ms = wait.ms.min(LONGEST_WAIT_MS);
    session.insert("slow", &ms)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(format!("waited {ms} ms"))
}
