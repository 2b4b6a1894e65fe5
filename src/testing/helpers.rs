//! Sessions and cookies for the tests of an application.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cookie::Cookie;
use http::{HeaderValue, Request, Response, header::SET_COOKIE};

use crate::{
    client::Client,
    config::Config,
    error::SessionError,
    layer::SessionLayer,
    rejection::{Rejection, RejectionKind, RejectionResponse},
    session::{Arrival, CookieToSend, Session},
    store::MemoryStore,
    user::UserId,
};

/// A session of this user in a store of its own, for the tests of a handler that takes a
/// [`Session`].
///
/// # Panics
///
/// If the text is not a user id, or the random generator fails.
///
/// ```
/// use tower_wristband::testing::signed_in;
///
/// let session = signed_in("alice");
/// assert_eq!(session.user_id().unwrap(), "alice");
/// ```
pub fn signed_in<U>(user: U) -> Session
where
    U: TryInto<UserId>,
    SessionError: From<U::Error>,
{
    let session = vacant(SessionLayer::new(MemoryStore::new()).config());
    session.log_in(user).expect("a user id");
    // A store in memory answers at once.
    let saved = pin!(session.save()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(saved, Poll::Ready(Ok(()))), "a session can't be stored: {saved:?}");
    session
}

/// An empty session in a store of its own: what a handler sees of a visitor without a cookie.
#[must_use]
pub fn visitor() -> Session {
    vacant(SessionLayer::new(MemoryStore::new()).config())
}

/// Logs the user in on the layer's store, and returns the `Cookie` header that a browser would
/// send.
///
/// # Panics
///
/// If the store or the random generator fails, or the text is not a user id.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_wristband::{MemoryStore, SessionLayer, testing};
///
/// let sessions = SessionLayer::new(MemoryStore::new());
/// let cookie = testing::issue(&sessions, "alice").await;
/// let request = http::Request::get("/dashboard").header("cookie", cookie).body(()).unwrap();
/// # let _ = request;
/// # }
/// ```
pub async fn issue<R, U>(layer: &SessionLayer<R>, user: U) -> HeaderValue
where
    U: TryInto<UserId>,
    SessionError: From<U::Error>,
{
    issue_with(layer, user, |_session| Ok(())).await
}

/// As [`issue`], with what the closure does to the new session: data, a label, a lifetime.
///
/// # Panics
///
/// As [`issue`], or if the closure fails.
pub async fn issue_with<R, U, F>(layer: &SessionLayer<R>, user: U, prepare: F) -> HeaderValue
where
    U: TryInto<UserId>,
    SessionError: From<U::Error>,
    F: FnOnce(&Session) -> Result<(), SessionError>,
{
    let session = vacant(layer.config());
    session.log_in(user).expect("a user id");
    prepare(&session).expect("the session can be prepared");
    session.save().await.expect("the session can be stored");
    let CookieToSend::Set(token, _) = session.close().cookie else {
        unreachable!("a new session has a token");
    };
    let name = layer.config().cookie.name();
    let mut header = HeaderValue::try_from([name.as_bytes(), b"=", &*token.to_wire()].concat())
        .expect("a cookie is a header value");
    header.set_sensitive(true);
    header
}

/// The `Cookie` header that a browser would send after this response: what its `Set-Cookie` headers
/// set, without what they remove. `None` if that is nothing.
///
/// # Panics
///
/// If a `Set-Cookie` header is not a cookie.
#[must_use]
pub fn cookie_from<B>(response: &Response<B>) -> Option<HeaderValue> {
    let pairs: Vec<String> = response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|header| {
            let text = header.to_str().expect("a cookie is ASCII");
            Cookie::parse(text).expect("a Set-Cookie header is a cookie")
        })
        .filter(|cookie| cookie.max_age().is_none_or(|age| age.is_positive()))
        .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    Some(HeaderValue::try_from(pairs.join("; ")).expect("cookies are a header value"))
}

/// How a [`RejectionResponse`] answers this request when it is refused, with what the layer adds.
///
/// ```
/// use http::{Request, StatusCode};
/// use tower_wristband::{RedirectToLogin, RejectionKind, testing};
///
/// let pages = RedirectToLogin::to("/login")?;
/// let navigation = Request::get("/orders").header("accept", "text/html").body(()).unwrap();
/// let response = testing::refuse::<_, String, _>(
///     &pages,
///     RejectionKind::Unauthenticated,
///     &navigation,
/// );
/// assert_eq!(response.status(), StatusCode::SEE_OTHER);
/// assert_eq!(response.headers()["location"], "/login?next=/orders");
/// # Ok::<(), tower_wristband::ConfigError>(())
/// ```
#[must_use]
pub fn refuse<R, B, T>(answer: &R, kind: RejectionKind, request: &Request<T>) -> Response<B>
where
    R: RejectionResponse<B> + ?Sized,
{
    let challenge = HeaderValue::from_static("Cookie realm=\"session\"");
    let client = Client::of(request);
    let rejection = Rejection::new(kind, &client, &challenge);
    let mut response = answer.response(&rejection);
    rejection.complete(&mut response);
    response
}

fn vacant(config: &Arc<Config>) -> Session {
    let arrival = Arrival { client: Client::Other, presented_at: None };
    Session::new(Arc::clone(config), arrival, None)
}
