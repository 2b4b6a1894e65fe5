//! A store with sessions, and the cookies of those who have them.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tower_wristband::testing::cookie_from;

use crate::{
    allocations,
    executor::Executor,
    handlers::{self, Seen, next_number, request, user},
    peers::{InMemory, Peer},
};

/// A peer with so many sessions, each of another user and with nothing else in it.
pub(crate) struct Fixture<P> {
    pub(crate) peer: P,
    pub(crate) cookies: Cookies,
    pub(crate) bytes_per_session: Option<f64>,
    first_user: u64,
}

/// What filling a store has yielded.
pub(crate) struct Filled {
    pub(crate) cookies: Cookies,
    bytes_kept: f64,
    first_user: u64,
}

impl<P: InMemory> Fixture<P> {
    pub(crate) fn new(sessions: usize, executor: &Executor) -> Self {
        let peer = executor.run(P::new());
        let Filled { cookies, bytes_kept, first_user } = Self::fill(&peer, sessions, executor);
        let bytes_per_session = P::KEEPS_SESSIONS.then(|| bytes_kept / sessions as f64);
        Self { peer, cookies, bytes_per_session, first_user }
    }
}

impl<P: Peer> Fixture<P> {
    /// Logs in that many visitors.
    pub(crate) fn fill(peer: &P, sessions: usize, executor: &Executor) -> Filled {
        let mut log_in = peer.mount(handlers::log_in::<P>());
        let mut visitor = || {
            let response = executor.call(&mut log_in, request(None));
            let made_up = || HeaderValue::try_from(format!("session={:064}", next_number()));
            cookie_from(&response).unwrap_or_else(|| {
                assert!(!P::KEEPS_SESSIONS, "{}: a login sets a cookie", P::NAME);
                made_up().expect("digits")
            })
        };

        // Room is made before, so that only the store allocates what stays.
        let (mut bytes, mut ends) =
            (Vec::with_capacity(sessions * LONGEST), Vec::with_capacity(sessions));
        let first_user = next_number() + 1;
        let bytes_kept = allocations::bytes_kept(|| {
            for _ in 0..sessions {
                let cookie = visitor();
                assert!(cookie.len() <= LONGEST, "there is no room for {cookie:?}");
                bytes.extend_from_slice(cookie.as_bytes());
                ends.push(bytes.len());
            }
        });
        Filled { cookies: Cookies { bytes: bytes.into(), ends }, bytes_kept, first_user }
    }

    pub(crate) fn user(&self, index: usize) -> Option<String> {
        P::KEEPS_SESSIONS.then(|| user(self.first_user + index as u64))
    }

    /// What a handler finds behind this cookie.
    pub(crate) fn look(&self, cookie: Option<&HeaderValue>, executor: &Executor) -> Seen {
        let mut look = self.peer.mount(handlers::look::<P>());
        let response = executor.call(&mut look, request(cookie.cloned()));
        assert_eq!(response.status(), StatusCode::OK, "{}", P::NAME);
        response.extensions().get().cloned().expect("the handler was called")
    }

    /// Panics unless the user of the session is behind this cookie.
    pub(crate) fn expect_user(&self, index: usize, cookie: &HeaderValue, executor: &Executor) {
        let seen = self.look(Some(cookie), executor);
        assert_eq!(seen.user, self.user(index), "{}: the user of the session", P::NAME);
    }

    /// Panics unless nobody is behind this cookie.
    pub(crate) fn expect_nobody(&self, cookie: Option<&HeaderValue>, executor: &Executor) {
        let seen = self.look(cookie, executor);
        assert_eq!(seen, Seen::default(), "{}: nobody is signed in", P::NAME);
    }
}

/// The longest cookie of all peers.
const LONGEST: usize = 128;

/// Cookie headers in one piece, as a server has what it has received.
pub(crate) struct Cookies {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Cookies {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn header(&self, index: usize) -> HeaderValue {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let header = HeaderValue::from_maybe_shared(self.bytes.slice(start..self.ends[index]));
        header.expect("it came from a header")
    }

    pub(crate) fn headers(&self) -> Vec<HeaderValue> {
        (0..self.len()).map(|index| self.header(index)).collect()
    }

    /// A copy in random order, in memory too.
    pub(crate) fn shuffled(&self) -> Self {
        let mut headers = self.headers();
        fastrand::shuffle(&mut headers);
        headers.into_iter().collect()
    }
}

impl FromIterator<HeaderValue> for Cookies {
    fn from_iter<T: IntoIterator<Item = HeaderValue>>(headers: T) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for header in headers {
            bytes.extend_from_slice(header.as_bytes());
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }
}
