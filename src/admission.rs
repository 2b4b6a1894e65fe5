//! Who is let in.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Uri};

use crate::{
    cookie::Presented,
    error::StoreError,
    rejection::RejectionKind,
    session::{Lookup, PendingLookup, Session, State},
};

/// What a request must bring to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A living session that is bound to a user.
    #[default]
    SignedIn,
    /// A living session, anonymous or not.
    AnySession,
    /// Nothing: every request passes. Without a session its [`Session`] is empty.
    Optional,
}

impl Access {
    /// Whether what a request has of its session is enough: the response depends on it then.
    pub(crate) fn admits(self, state: &mut State) -> bool {
        if self == Self::Optional {
            return true;
        }
        state.accessed = true;
        state.user().is_some() || (self == Self::AnySession && state.live().is_some())
    }
}

/// Decides by method and address.
type AccessFn = dyn Fn(&Method, &Uri) -> Access + Send + Sync;

/// How a mount decides what a request must bring.
#[derive(Clone)]
pub(crate) enum AccessRule {
    Fixed(Access),
    By(Arc<AccessFn>),
}

impl AccessRule {
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Access {
        match self {
            Self::Fixed(access) => *access,
            Self::By(rule) => rule(request.method(), request.uri()),
        }
    }
}

impl fmt::Debug for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(access) => access.fmt(f),
            Self::By(_) => f.write_str("By(<fn>)"),
        }
    }
}

/// What becomes of a request.
pub(crate) enum Admission {
    /// It is let in, with this session, vacant or not.
    Granted(Session),
    /// It is let in, with the session of the mount around, which commits.
    Shared(Session),
    /// It is refused.
    Refused(Refusal),
    /// The store has to be waited for.
    Pending(PendingAdmission),
}

/// A request that is refused.
pub(crate) struct Refusal {
    pub(crate) kind: RejectionKind,
    pub(crate) session: Session,
}

impl Admission {
    /// Looks up what was presented to this session, and decides.
    pub(crate) fn start(session: Session, access: Access, presented: &Presented) -> Self {
        let lookup = match session.presented_at() {
            Some(now) => session.look_up(presented, now),
            None => Lookup::Done(session, Ok(())),
        };
        match lookup {
            Lookup::Done(mut session, found) => match decide(&mut session, access, found) {
                Ok(()) => Self::Granted(session),
                Err(kind) => Self::Refused(Refusal { kind, session }),
            },
            Lookup::Pending(lookup) => Self::Pending(PendingAdmission { access, lookup }),
        }
    }
}

/// The decision, once it is known what the store has.
fn decide(
    session: &mut Session,
    access: Access,
    found: Result<(), StoreError>,
) -> Result<(), RejectionKind> {
    match found {
        Ok(()) if access.admits(session.exclusive().1) => Ok(()),
        Ok(()) => Err(RejectionKind::Unauthenticated),
        Err(_) => Err(RejectionKind::Unavailable),
    }
}

/// A request whose session has to be waited for.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct PendingAdmission {
    access: Access,
    lookup: PendingLookup,
}

impl PendingAdmission {
    pub(crate) fn into_session(self) -> Session {
        self.lookup.into_session()
    }
}

impl Future for PendingAdmission {
    type Output = Result<(), RejectionKind>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { access, lookup } = &mut *self;
        Pin::new(&mut *lookup).poll(cx).map(|found| decide(lookup.session(), *access, found))
    }
}
