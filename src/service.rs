//! The service that a [`SessionLayer`](crate::SessionLayer) makes.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use crate::{
    admission::Admission,
    future::{ResponseFuture, Waiting},
    mount::Mount,
    rejection::{DefaultRejection, RejectionResponse},
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
        match mount.admit(&mut request) {
            Admission::Granted(session) => {
                ResponseFuture::calling(mount, self.inner.call(request), session)
            }
            Admission::Shared(session) => {
                ResponseFuture::sharing(mount, self.inner.call(request), session)
            }
            Admission::Refused(refusal) => ResponseFuture::refused(mount, refusal),
            Admission::Pending(admission) => {
                // It is this very service that `poll_ready` has made ready; the clone is not:
                // https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#be-careful-when-cloning-inner-services
                let clone = self.inner.clone();
                let service = mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(mount, Waiting { admission, service, request })
            }
        }
    }
}
