//! Logging in and out.

use axum::{
    Extension,
    extract::{Form, Query},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response, Result},
};
use serde::Deserialize;
use tower_wristband::{Lifetime, Session, rejection::local_address};

use crate::{
    accounts, browser,
    pages::{self, Page},
};

#[derive(Deserialize)]
pub(crate) struct Destination {
    #[serde(default)]
    next: String,
}

pub(crate) async fn form(Query(Destination { next }): Query<Destination>) -> Page {
    pages::login(&LoginForm { next, ..LoginForm::default() }, false)
}

/// What is missing is empty, and so the wrong password.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoginForm {
    pub(crate) user: String,
    password: String,
    pub(crate) next: String,
    remember: String,
}

impl LoginForm {
    /// A browser sends a ticked box as `on`, and another one not at all.
    pub(crate) fn remember(&self) -> bool {
        self.remember == "on"
    }
}

pub(crate) async fn log_in(
    session: Session,
    Extension(usual): Extension<Lifetime>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response> {
    let Some(account) = accounts::verify(form.user.clone(), form.password.clone()).await else {
        return Ok((StatusCode::FORBIDDEN, pages::login(&form, true)).into_response());
    };
    session.log_in(account)?;
    // Said in both cases: somebody who was remembered may log in again without the tick.
    let lifetime = if form.remember() { Lifetime::AAL1 } else { usual };
    session.set_lifetime(lifetime)?;
    session.set_label(&browser::describe(&headers))?;
    // `next` came with the request: anything but a path on this site would be an open redirect.
    Ok(Redirect::to(local_address(&form.next).unwrap_or("/dashboard")).into_response())
}

/// When this answers 303, the session is gone from the store; a visitor without one gets the same.
/// If the browser had just got a newer token, it is told to try again (409).
pub(crate) async fn log_out(session: Session) -> Result<Redirect> {
    session.log_out().await?;
    Ok(Redirect::to("/"))
}
