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

use crate::{
    client::Client,
    mount::{Mount, Visit, head_of},
    rejection::{RejectionKind, RejectionResponse},
    session::{End, Head, PendingEnd, PendingLookup, Session, Verdict},
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
        // The look-up of the session. The service is the one that was ready.
        Load { lookup: Option<(PendingLookup, Visit, S, Request<B>)> },
        // The service's answer. The mount that did the look-up commits; one nested in it does not.
        Call { #[pin] response: S::Future, session: Session, commits: bool },
        // The store, with the service's answer to be released after it.
        End { end: PendingEnd, response: Option<Result<S::Response, S::Error>> },
        // The request is refused.
        Refuse { kind: RejectionKind, client: Client },
        Done,
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    /// The session has to be waited for.
    pub(crate) fn loading(
        mount: Arc<Mount<R>>,
        lookup: PendingLookup,
        visit: Visit,
        service: S,
        request: Request<B>,
    ) -> Self {
        Self { mount, state: State::Load { lookup: Some((lookup, visit, service, request)) } }
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
    pub(crate) fn refused(mount: Arc<Mount<R>>, kind: RejectionKind, client: Client) -> Self {
        Self { mount, state: State::Refuse { kind, client } }
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
                StateProj::Load { lookup: waiting } => {
                    let (lookup, ..) = waiting.as_mut().expect("there until the look-up is done");
                    let found = ready!(Pin::new(lookup).poll(cx));
                    let (_, visit, mut service, request) =
                        waiting.take().expect("there until the look-up is done");
                    match this.mount.admit(found, visit, request) {
                        Ok((request, session)) => {
                            let response = service.call(request);
                            State::Call { response, session, commits: true }
                        }
                        Err((kind, visit)) => State::Refuse { kind, client: visit.into_client() },
                    }
                }
                StateProj::Call { response, session, commits } => {
                    let mut response = ready!(response.poll(cx));
                    if let Ok(response) = &mut response {
                        this.mount.answer_extractor(response, session);
                    }
                    if !*commits {
                        this.state.set(State::Done);
                        return Poll::Ready(response);
                    }
                    let head = response.as_ref().map_or(Head::Failed, head_of);
                    match session.end(head) {
                        End::Pending(end) => State::End { end, response: Some(response) },
                        End::Closed(closed) => {
                            let client = session.client();
                            let response =
                                this.mount.release(response, client, Verdict::Kept, closed);
                            this.state.set(State::Done);
                            return Poll::Ready(response);
                        }
                    }
                }
                StateProj::End { end, response } => {
                    let (verdict, closed) = ready!(Pin::new(&mut *end).poll(cx));
                    let response = response.take().expect("there until the end");
                    let client = end.session().client();
                    let response = this.mount.release(response, client, verdict, closed);
                    this.state.set(State::Done);
                    return Poll::Ready(response);
                }
                StateProj::Refuse { kind, client } => {
                    let response = this.mount.refuse(*kind, client);
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
