//! The services behind the layers: one handler for each thing that a request does, the same for
//! all peers.

use std::{
    convert::Infallible,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use axum_core::extract::FromRequestParts;
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{COOKIE, Entry, SET_COOKIE},
};
use http_body_util::Empty;
use tower::{Service, service_fn};

use crate::peers::Peer;

/// The smallest body that all layers take.
pub(crate) type Body = Empty<Bytes>;

/// A service that can be behind every layer, and with one around it is such a service again.
pub(crate) trait App:
    Service<
        Request<()>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S> App for S where
    S: Service<
            Request<()>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// A request with nothing but the cookie.
pub(crate) fn request(cookie: Option<HeaderValue>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie);
    }
    request
}

/// What is kept of a response whose cookie is needed afterwards: a server sends a response and
/// drops it, and does not pile up hundreds. A line that removes another cookie is not it.
pub(crate) fn set_cookie(mut response: Response<Body>) -> Option<HeaderValue> {
    let removes = |line: &HeaderValue| line.as_bytes().windows(9).any(|part| part == b"Max-Age=0");
    match response.headers_mut().entry(SET_COOKIE) {
        Entry::Occupied(lines) => lines.remove_entry_mult().1.find(|line| !removes(line)),
        Entry::Vacant(_) => None,
    }
}

/// What a browser sends back of it.
pub(crate) fn cookie(set_cookie: &HeaderValue) -> HeaderValue {
    let line = set_cookie.as_bytes();
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    HeaderValue::from_bytes(&line[..end]).expect("it is a part of a header")
}

/// Does not ask for the session.
pub(crate) fn greet() -> impl App {
    service_fn(|request: Request<()>| async move {
        black_box(request.into_parts());
        Ok(Response::new(Body::new()))
    })
}

/// Asks who is signed in.
pub(crate) fn read<P: Peer>() -> impl App {
    handler::<P, _, _>(|session| async move {
        black_box(P::user(&session).await);
    })
}

/// Writes one key, another value each time.
pub(crate) fn write<P: Peer>() -> impl App {
    handler::<P, _, _>(|session| async move { P::write(&session, next_number()).await })
}

/// Binds a user, another one each time.
pub(crate) fn log_in<P: Peer>() -> impl App {
    handler::<P, _, _>(|session| async move {
        P::log_in(&session, &user(next_number())).await;
    })
}

pub(crate) fn log_out<P: Peer>() -> impl App {
    handler::<P, _, _>(|session| async move { P::log_out(&session).await })
}

pub(crate) fn rotate<P: Peer>() -> impl App {
    handler::<P, _, _>(|session| async move { P::rotate(&session).await })
}

/// What is in a session, in the response's extensions: to check that a case does what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) user: Option<String>,
    pub(crate) written: Option<u64>,
}

pub(crate) fn look<P: Peer>() -> impl App {
    service_fn(|request: Request<()>| async move {
        let session = session::<P>(request).await;
        let user = P::user(&session).await.as_ref().map(P::User::to_string);
        let written = P::written(&session).await;
        let mut response = Response::new(Body::new());
        response.extensions_mut().insert(Seen { user, written });
        Ok(response)
    })
}

/// The number of the next user or value.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn user(number: u64) -> String {
    format!("user-{number}")
}

fn handler<P, F, Action>(action: F) -> impl App
where
    P: Peer,
    F: Fn(P::Session) -> Action + Copy + Send + Sync + 'static,
    Action: Future<Output = ()> + Send + 'static,
{
    service_fn(move |request: Request<()>| async move {
        action(session::<P>(request).await).await;
        Ok(Response::new(Body::new()))
    })
}

/// Takes the session as a handler of axum does, which is how all peers document it.
async fn session<P: Peer>(request: Request<()>) -> P::Session {
    let (mut parts, ()) = request.into_parts();
    let session = P::Session::from_request_parts(&mut parts, &()).await;
    session.unwrap_or_else(|_| panic!("{} is not around the handler", P::NAME))
}
