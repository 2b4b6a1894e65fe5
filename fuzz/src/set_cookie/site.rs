//! A site where users log in and out.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use arbitrary::Arbitrary;
use http::{
    Request, Response, StatusCode,
    header::{COOKIE, SET_COOKIE},
};
use tower_layer::Layer;
use tower_service::Service;
use tower_wristband::{BoxError, Session, SessionLayer};

use crate::now::now;

/// What a user does.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Look,
    LogIn,
    Rotate,
    LogOut,
}

/// The answer's body is the user whom the request came from.
pub(crate) fn visit(
    layer: &SessionLayer,
    deed: Deed,
    cookie: Option<&str>,
) -> Response<Option<String>> {
    let mut request = Request::new(deed);
    if let Some(cookie) = cookie {
        let cookie = cookie.try_into().expect("it can be sent back");
        request.headers_mut().insert(COOKIE, cookie);
    }
    let Ok(response) = now(layer.optional().layer(Site).call(request));
    assert_eq!(response.status(), StatusCode::OK);
    response
}

/// The one cookie that it sets, if it sets one.
pub(crate) fn set_cookie<B>(response: &Response<B>) -> Option<String> {
    let mut lines = response.headers().get_all(SET_COOKIE).iter();
    let line = lines.next()?;
    assert!(lines.next().is_none(), "one cookie");
    assert!(line.is_sensitive());
    Some(line.to_str().expect("visible ASCII").to_owned())
}

/// Tokens that are all different, and the same in each run.
pub(super) fn numbered() -> impl Fn(&mut [u8]) -> Result<(), BoxError> + Send + Sync + 'static {
    let number = AtomicU64::new(0);
    move |bytes| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        for (byte, place) in bytes.iter_mut().zip(0_u64..) {
            *byte = (number.wrapping_add(place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Site;

impl Service<Request<Deed>> for Site {
    type Response = Response<Option<String>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Deed>) -> Self::Future {
        let session = Session::of(request.extensions()).expect("the layer is there");
        let user = session.user_id().map(|user| user.to_string());
        let done = match request.body() {
            Deed::Look => Ok(()),
            Deed::LogIn => session.log_in("alice"),
            Deed::Rotate => session.rotate(),
            Deed::LogOut => now(session.log_out()),
        };
        done.expect("a store in memory does it");
        ready(Ok(Response::new(user)))
    }
}
