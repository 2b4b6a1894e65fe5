//! The routes, and who is let in where.

use axum::{
    Extension, Router,
    response::{Redirect, Result},
    routing::{get, post},
};
use tower_http::csrf::CsrfLayer;
use tower_wristband::{
    ConfigError, Field, Lifetime, RedirectToLogin, Session, SessionLayer, UserId,
};

use crate::{
    api, devices, live, login,
    pages::{self, Page},
};

/// A message that the next page shows once.
pub(crate) const NOTICE: Field<String> = Field::new("notice");

/// How often an anonymous visitor who asked to be remembered has seen the front page.
const VISITS: Field<u64> = Field::new("visits");

/// The whole site. The mounts of one [`SessionLayer`] share its configuration: however many are
/// around a handler, a request costs one look-up and one commit.
pub(crate) fn site(sessions: &SessionLayer, lifetime: Lifetime) -> Result<Router, ConfigError> {
    // A browser that opens one of these pages is sent to the login; a form's POST gets 401.
    let signed_in = Router::new()
        .route("/dashboard", get(dashboard))
        .route("/rotate", post(rotate))
        .route("/sessions", get(devices::show))
        .route("/sessions/{key}/revoke", post(devices::revoke))
        .route("/sessions/revoke-others", post(devices::revoke_others))
        .route("/live", get(live::live))
        .route_layer(sessions.with_rejection(RedirectToLogin::to("/login")?));

    // For programs: 401 unless signed in, which is what a layer does unless told otherwise.
    let api = Router::new()
        .route("/me", get(api::me))
        .route("/count", get(api::count).post(api::count_up))
        .route("/notes/{name}", get(api::note).put(api::write_note))
        .route("/slow", post(api::slow))
        .route_layer(sessions.clone());

    let site = Router::new()
        .route("/", get(home))
        .route("/remember-me-here", post(remember_me_here))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .merge(signed_in)
        .merge(api)
        .with_state(sessions.sessions())
        .layer(Extension(lifetime))
        // Outside of the guards, and everywhere: a session if there is one.
        .layer(sessions.optional())
        // Outermost, so that another site's POST is refused before anything is looked up.
        .layer(CsrfLayer::new());
    Ok(site)
}

async fn home(user: Option<UserId>, session: Session) -> Result<Page> {
    // Who has not asked for it is not counted: writing a field would make a session and a cookie.
    let visits = match session.get(VISITS)? {
        Some(_) => session.update(VISITS, |visits| visits.map(|n| n + 1)).await?,
        None => None,
    };
    Ok(pages::home(user.as_ref(), visits))
}

/// The first write to an anonymous session brings it into being, and the response sets its cookie.
async fn remember_me_here(session: Session) -> Result<Redirect> {
    if session.get(VISITS)?.is_none() {
        session.insert(VISITS, &0)?;
    }
    Ok(Redirect::to("/"))
}

async fn dashboard(user: UserId, session: Session) -> Result<Page> {
    let notice = session.take(NOTICE)?;
    let count = session.get(api::COUNT)?.unwrap_or_default();
    Ok(pages::dashboard(&user, &session, count, notice.as_deref()))
}

async fn rotate(session: Session) -> Result<Redirect> {
    session.rotate()?;
    session.insert(NOTICE, "This session has a new token; the old one is worthless.")?;
    Ok(Redirect::to("/dashboard"))
}
