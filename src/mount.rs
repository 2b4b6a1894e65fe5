//! One place where a session layer is stacked: who is let in there, and how others are answered.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::SET_COOKIE};

use crate::{
    admission::{AccessRule, Admission, Refusal},
    client::Client,
    config::Config,
    cookie::{self, Presented},
    headers,
    rejection::{GRPC_STATUS, Rejection, RejectionKind, RejectionResponse, Unanswered},
    report,
    session::{Arrival, Closed, CookieToSend, Head, Session, Verdict},
};

/// What a layer and its services share.
#[derive(Debug)]
pub(crate) struct Mount<R> {
    pub(crate) config: Arc<Config>,
    pub(crate) access: AccessRule,
    pub(crate) rejection: R,
}

/// Who is responsible for a request's session.
enum Enclosing<'a> {
    /// No mount of this configuration is around this one.
    Nothing,
    /// One is: its session is shared, and it commits.
    Same(&'a Session),
    /// One of another configuration is, with the same cookie name.
    Clash(&'a Session),
}

impl<R> Mount<R> {
    /// The session of the mount around this one. One whose request is over, and that has come in
    /// with the extensions of another request, lets nobody in: it may have ended since.
    fn around<B>(request: &Request<B>) -> Option<&Session> {
        request.extensions().get::<Session>().filter(|session| !session.is_closed())
    }

    fn enclosing<'a, B>(&self, request: &'a Request<B>) -> Enclosing<'a> {
        let Some(innermost) = Self::around(request) else { return Enclosing::Nothing };
        let same = |session: &&Session| Arc::ptr_eq(session.config(), &self.config);
        let clash = |session: &&Session| {
            session.config().cookie.name() == self.config.cookie.name() && !same(session)
        };
        if let Some(session) = innermost.chain().find(clash) {
            return Enclosing::Clash(session);
        }
        innermost.chain().find(same).map_or(Enclosing::Nothing, Enclosing::Same)
    }

    /// Decides whether the request is let in, and shows its session to the service.
    pub(crate) fn admit<B>(&self, request: &mut Request<B>) -> Admission {
        match self.enclosing(request) {
            Enclosing::Nothing => self.look_up(request),
            Enclosing::Same(session) => {
                let session = session.clone();
                self.share(session, request)
            }
            Enclosing::Clash(session) => Admission::Refused(Refusal {
                kind: RejectionKind::Misconfigured,
                session: session.clone(),
            }),
        }
    }

    /// By the cookies the request brings. Unless they are to be forwarded, they are taken out.
    fn look_up<B>(&self, request: &mut Request<B>) -> Admission {
        let Self { config, access, .. } = self;
        let presented =
            cookie::find(request.headers_mut(), config.cookie.name(), config.forward_cookie);
        // Without a cookie the time doesn't matter.
        let presented_at = (!matches!(presented, Presented::Nothing)).then(|| config.now());
        let enclosing = Self::around(request);
        // Any mount around this one has seen the address before routers shortened it.
        let client = match enclosing {
            Some(enclosing) => enclosing.client().clone(),
            None => Client::of(request),
        };
        let arrival = Arrival { client, presented_at };
        let session = Session::new(Arc::clone(config), arrival, enclosing);
        let admission = Admission::start(session, access.of(request), &presented);
        if let Admission::Granted(session) = &admission {
            request.extensions_mut().insert(session.clone());
        }
        admission
    }

    /// By the session of the mount around this one.
    fn share<B>(&self, session: Session, request: &mut Request<B>) -> Admission {
        if !self.access.of(request).admits(&mut session.state()) {
            return Admission::Refused(Refusal { kind: RejectionKind::Unauthenticated, session });
        }
        if let Some(innermost) = request.extensions().get::<Session>()
            && !innermost.is(&session)
        {
            let shown = session.shown_inside(innermost);
            request.extensions_mut().insert(shown);
        }
        Admission::Shared(session)
    }

    /// The answer to a refused request.
    pub(crate) fn refuse<B>(&self, kind: RejectionKind, client: &Client) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        if kind == RejectionKind::Misconfigured {
            report::misconfigured(self.config.cookie.name());
        }
        let rejection = Rejection::new(kind, client, &self.config.challenge);
        let mut response = self.rejection.response(&rejection);
        rejection.complete(&mut response);
        response
    }

    /// Answers in this mount's way what an extractor of ours has refused.
    pub(crate) fn answer_extractor<B>(&self, response: &mut Response<B>, session: &Session)
    where
        R: RejectionResponse<B>,
    {
        if response.extensions().is_empty() {
            return;
        }
        if let Some(Unanswered(kind)) = response.extensions_mut().remove() {
            *response = self.refuse(kind, session.client());
        }
    }

    /// Releases the head: makes of the response what the commit leaves of it, with the cookie and
    /// the headers about caching that go with it.
    pub(crate) fn release<B>(
        &self,
        response: &mut Response<B>,
        client: &Client,
        verdict: Verdict,
        closed: Closed,
    ) where
        R: RejectionResponse<B>,
    {
        match verdict {
            Verdict::Kept => {}
            Verdict::Refused => *response = self.refuse(RejectionKind::Unauthenticated, client),
            Verdict::Failed => *response = self.refuse(RejectionKind::CommitFailed, client),
        }
        let Closed { cookie, accessed } = closed;
        let headers = response.headers_mut();
        let cookie = match cookie {
            CookieToSend::Nothing => None,
            CookieToSend::Set(token, term) => Some(self.config.cookie.set(&token, term)),
            CookieToSend::Removal => {
                if self.config.clear_site_data {
                    headers::clear_site_data(headers);
                }
                Some(self.config.cookie.removal())
            }
        };
        if let Some(cookie) = cookie {
            self.append_cookie(headers, cookie);
            headers::forbid_storing(headers);
        }
        if accessed {
            headers::depends_on_cookie(headers);
        }
    }

    /// Beside the handler's own cookies, but instead of one that the handler gave our name: a
    /// browser must not get two (RFC 6265bis, section 4.1.1).
    fn append_cookie(&self, headers: &mut HeaderMap, cookie: HeaderValue) {
        let name = self.config.cookie.name().as_bytes();
        let is_ours = |value: &HeaderValue| {
            let set = value.as_bytes().split(|&byte| byte == b'=').next();
            set.is_some_and(|set| set.trim_ascii() == name)
        };
        if headers.get_all(SET_COOKIE).iter().any(is_ours) {
            let others: Vec<_> = headers
                .get_all(SET_COOKIE)
                .iter()
                .filter(|value| !is_ours(value))
                .cloned()
                .collect();
            headers.remove(SET_COOKIE);
            for other in others {
                headers.append(SET_COOKIE, other);
            }
        }
        headers.append(SET_COOKIE, cookie);
    }
}

/// What the head of a service's response leaves the commit to do.
pub(crate) fn head_of<B>(response: &Response<B>) -> Head {
    let grpc_failed = || {
        let status = response.headers().get(GRPC_STATUS);
        status.is_some_and(|status| matches!(status.as_bytes(), b"2" | b"13" | b"14" | b"15"))
    };
    match response.status() {
        status if status.is_informational() => Head::Cookieless,
        status if status.is_server_error() => Head::Failed,
        StatusCode::OK if grpc_failed() => Head::Failed,
        _ => Head::Open,
    }
}
