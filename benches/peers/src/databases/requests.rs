//! Makes the requests of a case, so many of them at a time.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use anyhow::Result;
use http::{HeaderValue, StatusCode};
use tokio::{runtime::Runtime, spawn};
use tower::Service as _;

use super::{
    Address,
    case::Case,
    traffic::{Counter, Traffic},
};
use crate::{
    handlers::{self, App, Seen, next_number, request, set_cookie},
    peers::{InDatabase, Peer},
};

/// How many sessions there are.
pub(super) const SESSIONS: usize = 3200;

/// So many requests are made one after the other, by each of those that are made at a time.
const IN_A_ROW: usize = 50;

/// What so many requests send and receive is counted.
const COUNTED: usize = 200;

/// A peer in a case, ready to be measured again and again.
pub(super) trait Series {
    /// Nanoseconds a request, over at least this time, once it is warm.
    fn round(&mut self, at_least: Duration, runtime: &Runtime) -> f64;

    /// What one request sends and receives.
    fn traffic(&mut self, counter: &mut Counter, runtime: &Runtime) -> Result<Traffic>;

    /// Removes the sessions.
    fn end(self: Box<Self>, runtime: &Runtime);
}

/// Connects a peer, and checks that the case does what it says.
pub(super) fn start<P: InDatabase>(
    case: Case,
    in_flight: usize,
    address: &Address,
    runtime: &Runtime,
) -> Result<Box<dyn Series>> {
    runtime.block_on(async {
        let peer = P::connect(address).await?;
        Ok(match case {
            Case::Read => {
                series(&peer, peer.mount_for_members(handlers::read::<P>()), case, in_flight).await
            }
            Case::Write => {
                series(&peer, peer.mount_for_members(handlers::write::<P>()), case, in_flight).await
            }
            Case::Rotate => {
                series(&peer, peer.mount_for_members(handlers::rotate::<P>()), case, in_flight)
                    .await
            }
            Case::AnonymousCreate => {
                series(&peer, peer.mount(handlers::write::<P>()), case, in_flight).await
            }
            Case::Login => {
                series(&peer, peer.mount(handlers::log_in::<P>()), case, in_flight).await
            }
            Case::Logout => {
                series(&peer, peer.mount(handlers::log_out::<P>()), case, in_flight).await
            }
        })
    })
}

async fn series<P: Peer>(
    peer: &P,
    service: impl App,
    case: Case,
    in_flight: usize,
) -> Box<dyn Series> {
    let mut requests = Requests {
        case,
        in_flight,
        keeps_sessions: P::KEEPS_SESSIONS,
        service,
        log_in: peer.mount(handlers::log_in::<P>()),
        log_out: peer.mount(handlers::log_out::<P>()),
        sessions: VecDeque::new(),
    };
    if P::KEEPS_SESSIONS {
        requests.check(peer).await;
    }
    // Without a session, few are enough: nobody uses them.
    requests.sessions = requests.log_in(if case.has_session() { SESSIONS } else { 1 }).await.into();
    if case == Case::Read {
        // From now on, a near cache has them.
        let cookies = requests.sessions.iter().cloned().map(Some).collect();
        send(&requests.service, cookies, in_flight).await;
    }
    Box::new(requests)
}

struct Requests<S, I, O> {
    case: Case,
    in_flight: usize,
    keeps_sessions: bool,
    service: S,
    log_in: I,
    log_out: O,
    /// Cookies, the ones first that have not been used for the longest time.
    sessions: VecDeque<HeaderValue>,
}

impl<S: App, I: App, O: App> Requests<S, I, O> {
    /// Panics unless the case does what it says.
    async fn check<P: Peer>(&self, peer: &P) {
        let look = peer.mount(handlers::look::<P>());
        let look = async |cookie: &HeaderValue| -> Seen {
            let response = look.clone().call(request(Some(cookie.clone()))).await;
            let Ok(response) = response;
            response.extensions().get().cloned().expect("the handler was called")
        };
        let user = self.log_in(1).await.remove(0);
        let before = look(&user).await;
        assert!(before.user.is_some(), "{}: the user of the session", P::NAME);

        let cookie = self.case.has_session().then(|| user.clone());
        let (_, answers) = send(&self.service, vec![cookie], self.in_flight).await;
        let new = answers[0].as_ref().map(handlers::cookie);
        let after = look(new.as_ref().unwrap_or(&user)).await;
        // Some set the same cookie again.
        let keeps_token = new.as_ref().is_none_or(|new| *new == user);
        let written = after.written.is_some();
        let is_right = match self.case {
            Case::Read => keeps_token && after == before,
            Case::Write => keeps_token && after.user == before.user && written,
            Case::Rotate => !keeps_token && after == before && look(&user).await == Seen::default(),
            Case::AnonymousCreate => new.is_some() && after.user.is_none() && written,
            Case::Login => new.is_some() && after.user.is_some() && after.user != before.user,
            Case::Logout => look(&user).await == Seen::default(),
        };
        assert!(is_right, "{}, {}: {before:?} became {after:?}", P::NAME, self.case.name());
        // With a replaced token, one isn't let log out.
        let user = (self.case != Case::Rotate).then_some(user);
        send(&self.log_out, vec![user, new], 1).await;
    }

    /// Cookies of so many visitors who have just logged in.
    async fn log_in(&self, count: usize) -> Vec<HeaderValue> {
        let (_, answers) = send(&self.log_in, vec![None; count], self.in_flight).await;
        let made_up = || HeaderValue::try_from(format!("session={:064}", next_number()));
        let cookie = |answer: Option<HeaderValue>| match answer {
            Some(line) => handlers::cookie(&line),
            None => {
                assert!(!self.keeps_sessions, "a login sets a cookie");
                made_up().expect("digits")
            }
        };
        answers.into_iter().map(cookie).collect()
    }

    /// The cookies of so many requests.
    fn take(&mut self, count: usize) -> Vec<Option<HeaderValue>> {
        match self.case.has_session() {
            true => self.sessions.drain(..count).map(Some).collect(),
            false => vec![None; count],
        }
    }

    /// Makes as many sessions usable again, or removes as many, as the requests have used up or
    /// created.
    async fn settle(&mut self, cookies: Vec<Option<HeaderValue>>, answers: Vec<Answer>) {
        let new = answers.into_iter().map(|line| line.as_ref().map(handlers::cookie));
        match self.case {
            Case::Read | Case::Write => self.sessions.extend(cookies.into_iter().flatten()),
            Case::Rotate => {
                let sessions = new.zip(cookies).filter_map(|(new, old)| new.or(old));
                self.sessions.extend(sessions);
            }
            Case::AnonymousCreate | Case::Login => {
                send(&self.log_out, new.collect(), self.in_flight).await;
            }
            Case::Logout => {
                let new = self.log_in(cookies.len()).await;
                self.sessions.extend(new);
            }
        }
    }

    /// What has to be prepared and cleaned up is not measured.
    async fn timed(&mut self, at_least: Duration) -> f64 {
        let batch = IN_A_ROW * self.in_flight;
        let (mut elapsed, mut count) = (Duration::ZERO, 0);
        while elapsed < at_least {
            let cookies = self.take(batch);
            let (duration, answers) = send(&self.service, cookies.clone(), self.in_flight).await;
            self.settle(cookies, answers).await;
            elapsed += duration;
            count += batch;
        }
        elapsed.as_nanos() as f64 / count as f64
    }
}

impl<S: App, I: App, O: App> Series for Requests<S, I, O> {
    fn round(&mut self, at_least: Duration, runtime: &Runtime) -> f64 {
        runtime.block_on(async {
            self.timed(at_least / 10).await;
            self.timed(at_least).await
        })
    }

    fn traffic(&mut self, counter: &mut Counter, runtime: &Runtime) -> Result<Traffic> {
        runtime.block_on(async {
            // Statements are prepared, and scripts loaded.
            self.timed(Duration::from_nanos(1)).await;
            let cookies = self.take(COUNTED);
            let sending = send(&self.service, cookies.clone(), self.in_flight);
            let (traffic, (_, answers)) = counter.count(sending).await?;
            self.settle(cookies, answers).await;
            Ok(traffic / COUNTED)
        })
    }

    fn end(self: Box<Self>, runtime: &Runtime) {
        let sessions = self.sessions.into_iter().map(Some).collect();
        runtime.block_on(send(&self.log_out, sessions, self.in_flight));
    }
}

/// The `Set-Cookie` of a response.
type Answer = Option<HeaderValue>;

/// Makes requests with these cookies, so many at a time, and answers how long all took.
async fn send(
    service: &impl App,
    mut cookies: Vec<Option<HeaderValue>>,
    in_flight: usize,
) -> (Duration, Vec<Answer>) {
    let each = cookies.len().div_ceil(in_flight);
    let mut parts = Vec::with_capacity(in_flight);
    while !cookies.is_empty() {
        let rest = cookies.split_off(each.min(cookies.len()));
        parts.push(mem::replace(&mut cookies, rest));
    }
    let start = Instant::now();
    let clients: Vec<_> =
        parts.into_iter().map(|part| spawn(client(service.clone(), part))).collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.expect("it has not panicked"));
    }
    (start.elapsed(), answers)
}

/// Makes requests one after the other.
async fn client(mut service: impl App, cookies: Vec<Option<HeaderValue>>) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(cookies.len());
    for cookie in cookies {
        let Ok(response) = service.call(request(cookie)).await;
        assert_eq!(response.status(), StatusCode::OK, "the store answers, and the session lives");
        answers.push(set_cookie(response));
    }
    answers
}
