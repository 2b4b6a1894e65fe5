//! The page of devices: where a user is signed in, and how to end that.

use std::cmp::Reverse;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{Redirect, Result},
};
use tower_wristband::{Page as Part, Session, SessionKey, Sessions, UserId};

use crate::{
    pages::{self, Page},
    routes::NOTICE,
};

/// How many sessions are shown. Somebody who has more can still end all the others at once.
const SHOWN: usize = 100;

pub(crate) async fn show(
    user: UserId,
    session: Session,
    State(sessions): State<Sessions>,
) -> Result<Page> {
    let notice = session.take(NOTICE)?;
    let mut devices = sessions.list(&user, Part::first(SHOWN)).await?;
    let this = session.key();
    devices.sort_by_key(|device| (Some(device.key()) != this, Reverse(device.last_seen_at())));
    Ok(pages::devices(&user, &devices, this, notice.as_deref()))
}

pub(crate) async fn revoke(
    user: UserId,
    session: Session,
    State(sessions): State<Sessions>,
    Path(key): Path<String>,
) -> Result<Redirect> {
    // What can't be a key is no session either: 404, where `Path<SessionKey>` would answer 400.
    let key: SessionKey = key.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    if session.key() == Some(key) {
        // Also takes the cookie back.
        session.log_out().await?;
        return Ok(Redirect::to("/"));
    }
    // Ends nothing of anybody else's, and doesn't tell whether there was something.
    if !sessions.revoke(&user, key).await? {
        return Err(StatusCode::NOT_FOUND.into());
    }
    session.insert(NOTICE, "That browser is signed out.")?;
    Ok(Redirect::to("/sessions"))
}

pub(crate) async fn revoke_others(
    session: Session,
    State(sessions): State<Sessions>,
) -> Result<Redirect> {
    // With a new token for this browser, whoever has a copy of the old one is out as well. After a
    // change of password it would be `log_in`: that also ends the streams opened with the old
    // token.
    session.rotate()?;
    let ended = sessions.revoke_others(&session).await?;
    let notice = match ended {
        0 => "You were signed in nowhere else.".to_owned(),
        1 => "The other browser is signed out.".to_owned(),
        n => format!("{n} other browsers are signed out."),
    };
    session.insert(NOTICE, &notice)?;
    Ok(Redirect::to("/sessions"))
}
