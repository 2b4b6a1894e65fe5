//! The service that a [`SessionLayer`](crate::SessionLayer) makes.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use crate::{
    cookie::{self, Presented},
    future::ResponseFuture,
    mount::{Enclosing, Mount},
    rejection::{DefaultRejection, RejectionKind, RejectionResponse},
    session::Lookup,
};

/// A service behind a [`SessionLayer`](crate::SessionLayer).
///
/// Its errors are those of the inner service, unchanged: a refused request is a response.
pub struct SessionService<S, R = DefaultRejection> {
    inner: S,
    mount: Arc<Mount<R>>,
}

impl<S, R> SessionService<S, R> {
    pub(crate) fn new(inner: S, mount: Arc<Mount<R>>) -> Self {
        Self { inner, mount }
    }
}

impl<S: Clone, R> Clone for SessionService<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), mount: Arc::clone(&self.mount) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for SessionService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let mount = Arc::clone(&self.mount);
        match mount.enclosing(&request) {
            Enclosing::Nothing => {}
            Enclosing::Same(session) => {
                let session = session.clone();
                return match mount.share(&session, &mut request) {
                    Ok(()) => ResponseFuture::sharing(mount, self.inner.call(request), session),
                    Err(kind) => ResponseFuture::refused(mount, kind, session.client().clone()),
                };
            }
            Enclosing::Clash(session) => {
                let client = session.client().clone();
                return ResponseFuture::refused(mount, RejectionKind::Misconfigured, client);
            }
        }

        let config = &mount.config;
        let presented =
            cookie::find(request.headers_mut(), config.cookie.name(), config.forward_cookie);
        let visit = mount.visit(&request, !matches!(presented, Presented::Nothing));
        let found = match Lookup::start(config, &presented, visit.arrived_at()) {
            Lookup::Ready(found) => found,
            Lookup::Pending(lookup) => {
                // It is this very service that `poll_ready` has made ready; the clone is not:
                // https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#be-careful-when-cloning-inner-services
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                return ResponseFuture::loading(mount, lookup, visit, ready, request);
            }
        };
        match mount.admit(found, visit, request) {
            Ok((request, session)) => {
                ResponseFuture::calling(mount, self.inner.call(request), session)
            }
            Err((kind, visit)) => ResponseFuture::refused(mount, kind, visit.into_client()),
        }
    }
}
