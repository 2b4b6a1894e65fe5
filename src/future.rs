//! The future of a [`SessionService`](crate::SessionService)'s response: the only poll logic of the
//! layer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

pub use crate::watch::Ended;
use crate::{
    admission::{PendingAdmission, Refusal},
    mount::{Mount, head_of},
    rejection::RejectionResponse,
    session::{End, Head, PendingEnd, Session, Verdict},
};

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any point. Each store call is then done or not done, never half done,
    /// and is not repeated; what the handler awaited (`update`, `save`, `log_out`) stays done.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        mount: Arc<Mount<R>>,
        #[pin]
        state: State<S, B>,
    }

    impl<S, B, R> PinnedDrop for ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        // When the client has gone, no clone of the handle can send a cookie any more.
        fn drop(this: Pin<&mut Self>) {
            match this.project().state.project() {
                StateProj::Call { session, commits: true, .. } => drop(session.close()),
                StateProj::End { end, .. } => drop(end.session().close()),
                _ => {}
            }
        }
    }
}

pin_project! {
    // What is waited for: the look-up, the service, the store.
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        // The look-up of the session: boxed, since a store that answers at once doesn't need it.
        Wait { waiting: Option<Box<Waiting<S, B>>> },
        // The service's answer. The mount that did the look-up commits; one nested in it does not.
        Call { #[pin] response: S::Future, session: Session, commits: bool },
        // The store, with the service's answer to be released after it.
        End { end: PendingEnd, response: Option<Result<S::Response, S::Error>> },
        // The request is refused.
        Refuse { refusal: Refusal },
        Done,
    }
}

/// A request whose session has to be waited for.
pub(crate) struct Waiting<S, B> {
    pub(crate) admission: PendingAdmission,
    /// The one that was ready.
    pub(crate) service: S,
    pub(crate) request: Request<B>,
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    /// The session has to be waited for.
    pub(crate) fn waiting(mount: Arc<Mount<R>>, waiting: Waiting<S, B>) -> Self {
        Self { mount, state: State::Wait { waiting: Some(Box::new(waiting)) } }
    }

    /// The service has been called, by the mount that found the session.
    pub(crate) fn calling(mount: Arc<Mount<R>>, response: S::Future, session: Session) -> Self {
        Self { mount, state: State::Call { response, session, commits: true } }
    }

    /// The service has been called, by a mount that shares the session of the one around it.
    pub(crate) fn sharing(mount: Arc<Mount<R>>, response: S::Future, session: Session) -> Self {
        Self { mount, state: State::Call { response, session, commits: false } }
    }

    /// The service is not called.
    pub(crate) fn refused(mount: Arc<Mount<R>>, refusal: Refusal) -> Self {
        Self { mount, state: State::Refuse { refusal } }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Wait { waiting } => {
                    const THERE: &str = "there until the look-up is done";
                    let admission = &mut waiting.as_mut().expect(THERE).admission;
                    let decision = ready!(Pin::new(admission).poll(cx));
                    let Waiting { admission, mut service, mut request } =
                        *waiting.take().expect(THERE);
                    let session = admission.into_session();
                    match decision {
                        Ok(()) => {
                            request.extensions_mut().insert(session.clone());
                            let response = service.call(request);
                            State::Call { response, session, commits: true }
                        }
                        Err(kind) => State::Refuse { refusal: Refusal { kind, session } },
                    }
                }
                StateProj::Call { response, session, commits } => {
                    let mut response = ready!(response.poll(cx));
                    if let Ok(response) = &mut response {
                        this.mount.answer_extractor(response, session);
                    }
                    if *commits {
                        let head = response.as_ref().map_or(Head::Failed, head_of);
                        match session.end(head) {
                            End::Pending(end) => {
                                this.state.set(State::End { end, response: Some(response) });
                                continue;
                            }
                            End::Closed(closed) => {
                                // An error of the service passes unchanged.
                                if let Ok(response) = &mut response {
                                    let client = session.client();
                                    this.mount.release(response, client, Verdict::Kept, closed);
                                }
                            }
                        }
                    }
                    this.state.set(State::Done);
                    return Poll::Ready(response);
                }
                StateProj::End { end, response } => {
                    let (verdict, closed) = ready!(Pin::new(&mut *end).poll(cx));
                    let mut response = response.take().expect("there until the end");
                    if let Ok(response) = &mut response {
                        this.mount.release(response, end.session().client(), verdict, closed);
                    }
                    this.state.set(State::Done);
                    return Poll::Ready(response);
                }
                StateProj::Refuse { refusal } => {
                    let response = this.mount.refuse(refusal.kind, refusal.session.client());
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(response));
                }
                StateProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            this.state.set(next);
        }
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
