//! A small service behind the layer, and those who call it.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use tower::{Layer, Service};
use tower_wristband::{DefaultRejection, Session, SessionLayer, SessionService, UserId, testing};

use crate::now::now;

/// How many sessions there are: those of the users 0 to 999.
const SESSIONS: u64 = 1_000;

/// What the callers want.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// The handler reads the user from the session.
    Read,
    /// The same where a session is optional, without a cookie.
    NoCookie,
    /// The same with a well-formed token that no session has: refused.
    UnknownToken,
    /// The handler writes a field.
    WriteOneKey,
    /// A visitor without a cookie logs in.
    Login,
    /// The session ends.
    Logout,
}

impl Case {
    fn handler(self) -> fn(&Session, u64) {
        match self {
            Self::Read | Self::NoCookie | Self::UnknownToken => |session, _| {
                black_box(session.user_id());
            },
            Self::WriteOneKey => {
                |session, user| session.insert("cart", &user).expect("a number can be stored")
            }
            Self::Login => |session, user| session.log_in(user).expect("a number is a user id"),
            Self::Logout => |session, _| now(session.log_out()).expect("memory does not fail"),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::UnknownToken => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        }
    }
}

/// A site behind this layer with a thousand sessions, and the callers of this case.
pub(crate) fn open(layer: SessionLayer, case: Case) -> (Site, Callers) {
    let cookies = (0..SESSIONS).map(|user| now(testing::issue(&layer, user))).collect();
    let mount = match case {
        Case::NoCookie | Case::Login => layer.optional(),
        _ => layer.clone(),
    };
    let site = Site { service: mount.layer(Handler(case.handler())), status: case.status() };
    (site, Callers { case, layer, cookies, calls: 0 })
}

/// A service behind the layer.
pub(crate) struct Site {
    service: SessionService<Handler, DefaultRejection>,
    status: StatusCode,
}

impl Site {
    /// What is measured.
    pub(crate) fn call(&mut self, request: Request<u64>) -> Response<()> {
        let Ok(response) = now(self.service.call(request));
        assert_eq!(response.status(), self.status);
        response
    }
}

/// Those who call, one after the other.
pub(crate) struct Callers {
    case: Case,
    layer: SessionLayer,
    cookies: Vec<HeaderValue>,
    calls: u64,
}

impl Callers {
    /// The next one's request. Its body is the number of the user.
    pub(crate) fn request(&mut self) -> Request<u64> {
        let number = self.calls % SESSIONS;
        self.calls += 1;
        // Who logs in or out is none of the thousand.
        let user = SESSIONS + number;
        let cookie = match self.case {
            Case::Read | Case::WriteOneKey => Some(self.cookies[number as usize].clone()),
            Case::NoCookie => None,
            Case::UnknownToken => Some(reversed(&self.cookies[number as usize])),
            Case::Login => {
                let sessions = self.layer.sessions();
                now(sessions.revoke_user(&UserId::from(user))).expect("memory does not fail");
                None
            }
            Case::Logout => Some(now(testing::issue(&self.layer, user))),
        };
        let mut request = Request::new(user);
        request.headers_mut().extend(cookie.map(|cookie| (COOKIE, cookie)));
        request
    }
}

/// The cookie with its token reversed: another token.
fn reversed(cookie: &HeaderValue) -> HeaderValue {
    let (name, token) = cookie.to_str().ok().and_then(|pair| pair.split_once('=')).expect("a pair");
    let token: String = token.chars().rev().collect();
    HeaderValue::try_from(format!("{name}={token}")).expect("a token can be in a header")
}

/// The smallest service there is.
#[derive(Clone)]
struct Handler(fn(&Session, u64));

impl Service<Request<u64>> for Handler {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<u64>) -> Self::Future {
        (self.0)(Session::of(request.extensions()).expect("the layer is there"), *request.body());
        ready(Ok(Response::new(())))
    }
}
