//! Why a request was refused, and how that is answered.
//!
//! Where mounts are nested, a missing login is answered by the mount that demands it. A look-up or
//! a commit that fails is answered by the outermost mount, since that is the one that asks the
//! store.
//!
//! A refusal looks the same whatever was wrong with the cookie: missing, malformed, unknown,
//! expired and revoked can't be told apart (OWASP ASVS 5, 16.5.1). The default answers 401 with a
//! challenge, gRPC clients with a status of their own, and 503 in an outage. Own answers are a
//! [`RejectionResponse`], most easily made with [`from_fn`]; browsers are sent to a login page by
//! [`RedirectToLogin`].
//!
//! ```
//! use http::Response;
//! use tower_wristband::{MemoryStore, SessionLayer, rejection};
//!
//! let sessions = SessionLayer::new(MemoryStore::new()).with_rejection(rejection::from_fn(
//!     |rejection| rejection.response(format!("{{\"error\":\"{}\"}}", rejection.kind())),
//! ));
//! # fn inferred<R: rejection::RejectionResponse<String>>(_: &tower_wristband::SessionLayer<R>) {}
//! # inferred(&sessions);
//! ```

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    client::Client,
    error::{ConfigError, ConfigErrorKind},
    headers,
};

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// In seconds.
const RETRY_OUTAGE_AFTER: HeaderValue = HeaderValue::from_static("5");

/// What of an address stays as it is in a query.
const IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Why a request was refused. Also in the response's extensions, for layers outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request brought no session of the kind that is demanded: 401, gRPC status 16.
    Unauthenticated,
    /// The session could not be looked up, and the service was not called: 503 with `Retry-After`,
    /// gRPC status 14.
    Unavailable,
    /// The service was called, but what it wanted stored is not, or not surely, stored: 503 without
    /// `Retry-After`, gRPC status 13.
    CommitFailed,
    /// Two session configurations with one cookie name are nested: 500, gRPC status 13.
    Misconfigured,
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "the session store is unavailable",
            Self::CommitFailed => "the session could not be stored",
            Self::Misconfigured => "two session layers with one cookie name are nested",
        })
    }
}

/// A request that is refused: what a [`RejectionResponse`] answers.
#[derive(Debug)]
pub struct Rejection<'a> {
    kind: RejectionKind,
    client: &'a Client,
    challenge: &'a HeaderValue,
}

impl<'a> Rejection<'a> {
    pub(crate) fn new(kind: RejectionKind, client: &'a Client, challenge: &'a HeaderValue) -> Self {
        Self { kind, client, challenge }
    }

    /// Why the request is refused.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Whether the request is a gRPC call: `content-type: application/grpc`, then nothing, `+` or
    /// `;`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        matches!(self.client, Client::Grpc)
    }

    /// Whether the request is a WebSocket handshake, which must not be redirected.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        matches!(self.client, Client::WebSocket)
    }

    /// The path and query that a browser navigates to by GET or HEAD, as the outermost mount saw
    /// it; `None` for every other request.
    #[must_use]
    pub fn navigation(&self) -> Option<&str> {
        match self.client {
            Client::Navigation(address) => Some(address.as_str()),
            _ => None,
        }
    }

    /// The default answer's status and headers around a body of your own.
    ///
    /// An answer to a gRPC call has to have an empty body.
    #[must_use]
    pub fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        if self.is_grpc() {
            let grpc_status = match self.kind {
                RejectionKind::Unauthenticated => "16",
                RejectionKind::Unavailable => "14",
                RejectionKind::CommitFailed | RejectionKind::Misconfigured => "13",
            };
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status));
            return response;
        }
        *response.status_mut() = match self.kind {
            RejectionKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            RejectionKind::Unavailable | RejectionKind::CommitFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            RejectionKind::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if self.kind == RejectionKind::Unavailable {
            response.headers_mut().insert(RETRY_AFTER, RETRY_OUTAGE_AFTER);
        }
        self.complete(&mut response);
        response
    }

    /// What each answer has, whoever made it: a challenge beside a 401 (RFC 9110, 15.5.2), and no
    /// copy in a cache.
    pub(crate) fn complete<B>(&self, response: &mut Response<B>) {
        response.extensions_mut().insert(self.kind);
        // Only an answer that is gRPC's own: the content type is what a client says of itself.
        if self.is_grpc() && response.headers().contains_key(GRPC_STATUS) {
            return;
        }
        let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        if is_unauthorized && !headers.contains_key(WWW_AUTHENTICATE) {
            headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        }
        headers.insert(CACHE_CONTROL, headers::NO_STORE);
        headers::depends_on_cookie(headers);
    }
}

/// How a refusal is answered with a body of type `B`.
///
/// The layer adds a challenge to a 401 that has none, and `Cache-Control: no-store`. One that is
/// chosen at run time is an `Arc<dyn RejectionResponse<B> + Send + Sync>` or such a `Box`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't answer a refused request with a body of type `{B}`",
    note = "`DefaultRejection` and `RedirectToLogin` need `{B}: Default`; for another body, use \
            `.with_rejection(rejection::from_fn(|rejection| rejection.response(body)))`, or put \
            the layer that changes the body outside the session layer"
)]
pub trait RejectionResponse<B> {
    /// The answer.
    fn response(&self, rejection: &Rejection<'_>) -> Response<B>;
}

/// Forwards to the answer behind a pointer.
macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<B, T: RejectionResponse<B> + ?Sized> RejectionResponse<B> for $pointer<T> {
            fn response(&self, rejection: &Rejection<'_>) -> Response<B> {
                (**self).response(rejection)
            }
        }
    )*};
}
forward!(Arc, Box);

/// 401 with `WWW-Authenticate: Cookie`, gRPC status 16, or 503 in an outage, with an empty body.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DefaultRejection;

// Without this the compiler would name only the missing `Default`, and not what to do.
#[diagnostic::do_not_recommend]
impl<B: Default> RejectionResponse<B> for DefaultRejection {
    fn response(&self, rejection: &Rejection<'_>) -> Response<B> {
        rejection.response(B::default())
    }
}

/// Answers with what a closure returns; the types are inferred, and the body needs no `Default`.
///
/// Where gRPC calls come in as well, their answer has to have an empty body:
///
/// ```
/// use tower_wristband::rejection;
///
/// let answer = rejection::from_fn(|rejection| {
///     let text = if rejection.is_grpc() { String::new() } else { rejection.kind().to_string() };
///     rejection.response(text)
/// });
/// # fn is_answer(_: impl rejection::RejectionResponse<String>) {}
/// # is_answer(answer);
/// ```
pub fn from_fn<F, B>(answer: F) -> FromFn<F, B>
where
    F: Fn(&Rejection<'_>) -> Response<B>,
{
    FromFn { answer, body: PhantomData }
}

/// What [`from_fn`] returns.
pub struct FromFn<F, B> {
    answer: F,
    body: PhantomData<fn() -> B>,
}

impl<F: Clone, B> Clone for FromFn<F, B> {
    fn clone(&self) -> Self {
        Self { answer: self.answer.clone(), body: PhantomData }
    }
}

impl<F, B> fmt::Debug for FromFn<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}

impl<F, B> RejectionResponse<B> for FromFn<F, B>
where
    F: Fn(&Rejection<'_>) -> Response<B>,
{
    fn response(&self, rejection: &Rejection<'_>) -> Response<B> {
        (self.answer)(rejection)
    }
}

/// Sends a browser that navigates to a page to the login page, with 303 and the page's address in
/// `next`; everything else (fetch, WebSocket, gRPC, other methods) gets the default answer.
///
/// A browser navigates by GET or HEAD, with `Sec-Fetch-Mode: navigate`; one that is too old to send
/// that header asks for `text/html` by `Accept`.
///
/// The login handler passes `next` through [`local_address`] before it redirects back.
///
/// The login page has to be open to everybody. Where it is guarded by mistake it gets the default
/// answer: a redirect to itself would go on for ever.
///
/// ```
/// use tower_wristband::{MemoryStore, SessionLayer, rejection::RedirectToLogin};
///
/// let sessions = SessionLayer::new(MemoryStore::new());
/// let pages = sessions.with_rejection(RedirectToLogin::to("/login")?);
/// # Ok::<(), tower_wristband::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RedirectToLogin {
    login: Cow<'static, str>,
}

impl RedirectToLogin {
    /// Redirects to this page: a path on this site, or the absolute address of a page elsewhere.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::LoginAddress`] if it begins with neither one slash nor `https://` (or
    /// `http://`), or is not visible ASCII.
    pub fn to(login: impl Into<Cow<'static, str>>) -> Result<Self, ConfigError> {
        let login = login.into();
        let is_absolute = ["https://", "http://"].iter().any(|scheme| {
            let host = login.strip_prefix(scheme);
            host.is_some_and(|host| host.starts_with(|c: char| !matches!(c, '/' | '?' | '#')))
        });
        let is_visible = login.bytes().all(|byte| byte.is_ascii_graphic());
        if is_visible && (is_absolute || local_address(&login).is_some()) {
            return Ok(Self { login });
        }
        Err(ConfigError::new(
            ConfigErrorKind::LoginAddress,
            "the address of a login page is a path such as `/login`, or begins with `https://`; \
             other characters than visible ASCII are percent-encoded",
        ))
    }

    /// Whether the login page is on this site and has this address.
    fn is_at(&self, address: &str) -> bool {
        let path = |address: &str| address.find(['?', '#']).unwrap_or(address.len());
        address[..path(address)] == self.login[..path(&self.login)]
    }

    fn location(&self, address: &str) -> HeaderValue {
        let login = &self.login;
        let location = match local_address(address) {
            Some(next) => {
                let next = utf8_percent_encode(next, IN_QUERY);
                let (page, fragment) = match login.split_once('#') {
                    Some((page, fragment)) => (page, format!("#{fragment}")),
                    None => (&**login, String::new()),
                };
                let separator = if page.contains('?') { '&' } else { '?' };
                format!("{page}{separator}next={next}{fragment}")
            }
            None => login.clone().into_owned(),
        };
        HeaderValue::try_from(location).expect("both parts are visible ASCII")
    }
}

// Without this the compiler would name only the missing `Default`, and not what to do.
#[diagnostic::do_not_recommend]
impl<B: Default> RejectionResponse<B> for RedirectToLogin {
    fn response(&self, rejection: &Rejection<'_>) -> Response<B> {
        let location = match (rejection.kind, rejection.navigation()) {
            (RejectionKind::Unauthenticated, Some(address)) if !self.is_at(address) => {
                self.location(address)
            }
            _ => return DefaultRejection.response(rejection),
        };
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

/// The address, if it leads to this very site: a path with one leading slash.
///
/// # Security
///
/// What follows a login must not be an open redirect: `//evil.example`, `/\evil.example` and
/// `https://evil.example` are `None`, and so is everything with a control character or a space,
/// which browsers drop before they look at the slashes.
///
/// ```
/// use tower_wristband::rejection::local_address;
///
/// assert_eq!(local_address("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(local_address("//evil.example"), None);
/// assert_eq!(local_address("https://evil.example"), None);
/// ```
#[must_use]
pub fn local_address(address: &str) -> Option<&str> {
    let is_local = address.starts_with('/')
        && !address[1..].starts_with('/')
        && !address.contains(|c: char| c.is_control() || c == ' ' || c == '\\');
    is_local.then_some(address)
}

/// On a 401 that an extractor of ours made, for the innermost mount to answer it in its own way.
#[derive(Clone, Copy)]
pub(crate) struct Unanswered(pub(crate) RejectionKind);
