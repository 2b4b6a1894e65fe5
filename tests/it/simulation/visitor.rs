//! Visitors, who send random requests to a node, and write down what they were answered.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_wristband::{
    Access, Lifetime, Session, SessionError, SessionErrorKind, SessionLayer, UserId,
    internals::parse_token, testing,
};

use super::{
    caps::{self, CAPPED},
    history::{Answer, Done, History, Life, Purge, Token, Visit},
    machine::Clocks,
    plan::{Moment, ms},
    streams::{Follower, IDLE, Stream, Subject},
};
use crate::random::Random;

/// How many sessions there are at least.
const LIVING: usize = 5;
/// Of how many sessions the visitors remember the tokens, also when those have ended.
const REMEMBERED: usize = 9;
const USERS: usize = 4;

type App = BoxCloneSyncService<Request<String>, Response<String>, Infallible>;

/// The service of a node.
fn app(layer: &SessionLayer) -> App {
    let layer = layer.with_access_by(|_, uri| match uri.path() {
        "/login" | "/brief" => Access::Optional,
        _ => Access::SignedIn,
    });
    BoxCloneSyncService::new(layer.layer(service_fn(async |request: Request<String>| {
        let session = Session::of(request.extensions()).expect("the layer is there").clone();
        let answer = handle(&session, &request).await;
        Ok(match answer {
            Ok(value) => {
                let mut response = Response::new(value.to_string());
                response.extensions_mut().insert(session);
                response
            }
            Err(error) => {
                let mut response = Response::new(error.to_string());
                *response.status_mut() = match error.kind() {
                    SessionErrorKind::Gone => StatusCode::GONE,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                response
            }
        })
    })))
}

async fn handle(session: &Session, request: &Request<String>) -> Result<u64, SessionError> {
    match request.uri().path() {
        "/login" => session.log_in(request.body().as_str())?,
        "/brief" => {
            session.log_in(request.body().as_str())?;
            session.set_lifetime(Lifetime::new(IDLE, Duration::from_secs(3_600)))?;
        }
        "/rotate" => session.rotate()?,
        "/logout" => session.log_out().await?,
        "/write" => {
            let written = session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).await?;
            return Ok(written.expect("it was written"));
        }
        _ => return Ok(session.get("n")?.unwrap_or(0)),
    }
    Ok(0)
}

/// The layers of a node, on one cache.
pub struct Layers {
    pub main: SessionLayer,
    /// That of those who may have few sessions.
    pub capped: SessionLayer,
}

pub struct Visitor {
    node: usize,
    clocks: Arc<Clocks>,
    layer: SessionLayer,
    app: App,
    capped: App,
    history: Arc<Mutex<History>>,
    random: Random,
}

/// A session and one of its tokens.
#[derive(Clone, Copy)]
struct Held {
    session: usize,
    token: usize,
}

impl Visitor {
    pub fn new(
        node: usize,
        clocks: &Arc<Clocks>,
        layers: &Layers,
        history: &Arc<Mutex<History>>,
        seed: u64,
    ) -> Self {
        Self {
            node,
            clocks: Arc::clone(clocks),
            layer: layers.main.clone(),
            app: app(&layers.main),
            capped: app(&layers.capped),
            history: Arc::clone(history),
            random: Random(seed),
        }
    }

    /// Sends requests until then.
    pub async fn visit(mut self, until: Moment) {
        while self.clocks.truth() < until {
            sleep(ms(20 + self.random.next() % 250)).await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        if self.clocks.plan.caps && self.random.below(10) == 0 {
            return self.act_on_capped().await;
        }
        let living = self.known(false, |life| life.may_end.is_none());
        if living.is_empty() || living.len() < LIVING && self.random.below(4) == 0 {
            return self.log_in().await;
        }
        let held = living[self.random.below(living.len())];
        match self.random.below(200) {
            0..12 => self.write(held).await,
            12..16 => self.rotate(held).await,
            16..18 => self.log_out(held).await,
            18..21 => self.revoke(held).await,
            21 if self.clocks.plan.purges => self.revoke_user(held).await,
            22..60 => self.read_any(false).await,
            60..64 => self.open(held).await,
            64..70 if self.clocks.plan.expiry => self.open_brief().await,
            _ => self.read(held).await,
        }
    }

    /// Several nodes log in the same few users.
    async fn act_on_capped(&mut self) {
        let known = self.known(true, |_| true);
        match self.random.below(8) {
            _ if known.is_empty() => self.log_in_capped().await,
            0 | 1 => self.log_in_capped().await,
            2 => {
                let held = known[self.random.below(known.len())];
                self.open(held).await;
            }
            _ => self.read_any(true).await,
        }
    }

    /// The sessions that this node may know of, each with its latest token.
    fn known(&self, is_capped: bool, is_such: impl Fn(&Life) -> bool) -> Vec<Held> {
        let now = self.clocks.truth();
        let history = self.history();
        let lives = history.lives.iter().enumerate().rev();
        let remembered = lives.filter(|(_, life)| CAPPED.contains(&life.user) == is_capped);
        let latest = |(session, life): (usize, &Life)| {
            let token = life.tokens.iter().rposition(|token| token.got.at <= now);
            token.filter(|_| is_such(life)).map(|token| Held { session, token })
        };
        let mut known: Vec<_> = remembered.take(REMEMBERED).filter_map(latest).collect();
        known.reverse();
        known
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    fn done(&self) -> Done {
        Done { node: self.node, at: self.clocks.truth() }
    }

    /// Also with a token that has been replaced, or of a session that has ended.
    async fn read_any(&mut self, is_capped: bool) {
        let known = self.known(is_capped, |_| true);
        let mut held = known[self.random.below(known.len())];
        if self.random.below(2) == 0 {
            held.token = self.random.below(held.token + 1);
        }
        self.read(held).await;
    }

    async fn read(&self, held: Held) {
        let (mut visit, response) = self.ask("/read", held).await;
        if let Answer::Admitted(seen) = &mut visit.answer {
            *seen = Some(response.body().parse().expect("a number"));
        }
        self.history().visits.push(visit);
    }

    async fn write(&self, held: Held) {
        let (visit, response) = self.ask("/write", held).await;
        if let Answer::Admitted(_) = visit.answer {
            let value = response.body().parse().expect("a number");
            let done = self.done();
            self.history().lives[held.session].writes.push((value, done));
        }
        self.history().visits.push(visit);
    }

    async fn rotate(&self, held: Held) {
        let begin = self.clocks.truth();
        {
            let tokens = &mut self.history().lives[held.session].tokens;
            let token = &mut tokens[held.token];
            if token.may_end.is_some() {
                return;
            }
            token.may_end = Some(begin);
        }
        let (visit, response) = self.ask("/rotate", held).await;
        if let Some(cookie) = testing::cookie_from(&response) {
            let token = Token { cookie, got: self.done(), may_end: None };
            self.history().lives[held.session].tokens.push(token);
        }
        self.history().visits.push(visit);
    }

    async fn log_out(&self, held: Held) {
        self.may_end(|session, _| session == held.session);
        let (visit, _) = self.ask("/logout", held).await;
        self.history().visits.push(visit);
        if let Answer::Admitted(_) = visit.answer {
            self.ended(&[held.session]);
        }
    }

    async fn revoke(&self, held: Held) {
        self.may_end(|session, _| session == held.session);
        let key = self.history().lives[held.session].key;
        if self.layer.sessions().revoke_any(key).await.is_ok() {
            self.ended(&[held.session]);
        }
    }

    async fn revoke_user(&self, held: Held) {
        let user = self.history().lives[held.session].user;
        self.may_end(|_, life| life.user == user);
        let theirs = self.known(false, |life| life.user == user);
        let purge = {
            let purges = &mut self.history().purges;
            purges.push(Purge { user, end: None });
            purges.len() - 1
        };
        let user = UserId::try_from(name(user)).expect("a name");
        if self.layer.sessions().revoke_user(&user).await.is_ok() {
            self.history().purges[purge].end = Some(self.clocks.truth());
            self.ended(&theirs.iter().map(|held| held.session).collect::<Vec<_>>());
        }
    }

    async fn log_in(&mut self) {
        let mut user = self.random.below(USERS);
        // Whose sessions may end at any time is of no use any more.
        while self.history().purges.iter().any(|purge| purge.user == user && purge.end.is_none()) {
            user += USERS;
        }
        self.log_in_at(&self.app, user).await;
    }

    async fn log_in_capped(&mut self) {
        let user = CAPPED.start + self.random.below(CAPPED.len());
        self.log_in_at(&self.capped, user).await;
    }

    async fn log_in_at(&self, app: &App, user: usize) {
        let begin = self.clocks.truth();
        let response = send(app, post("/login", user)).await;
        let Some(cookie) = testing::cookie_from(&response) else { return };
        let wire = cookie.as_bytes().rsplit(|byte| *byte == b'=').next().expect("a value");
        let key = parse_token(wire).expect("a token").key();
        let got = self.done();
        let history = &mut *self.history();
        if CAPPED.contains(&user) {
            caps::logged_in(history, user, got);
        }
        let purges = history.purges.iter().filter(|purge| purge.user == user);
        let mut ends = purges.filter(|purge| purge.end.is_none_or(|end| end >= begin));
        let may_end = ends.next().map(|_| begin);
        let tokens = vec![Token { cookie, got, may_end: None }];
        let (writes, ends) = (Vec::new(), Vec::new());
        history.lives.push(Life { user, key, tokens, writes, ends, may_end });
    }

    /// Opens a stream that waits for the end of a session.
    async fn open(&mut self, held: Held) {
        let (visit, response) = self.ask("/stream", held).await;
        self.history().visits.push(visit);
        if let Answer::Admitted(_) = visit.answer {
            self.follow(Subject::Life(held.session), &response);
        }
    }

    /// The same of a session that nobody else knows, and that expires.
    async fn open_brief(&mut self) {
        let begin = self.clocks.truth();
        let response = send(&self.app, post("/brief", usize::MAX)).await;
        if testing::cookie_from(&response).is_some() {
            let (earliest, latest) = (begin + IDLE, self.clocks.truth() + IDLE);
            self.follow(Subject::Brief { earliest, latest }, &response);
        }
    }

    fn follow(&mut self, subject: Subject, response: &Response<String>) {
        let (node, begin) = (self.node, self.clocks.truth());
        let stream = Stream { node, subject, begin, closed: None, over: None };
        let session = response.extensions().get::<Session>().expect("the handler put it there");
        let random = Random(self.random.next());
        let number = {
            let streams = &mut self.history().streams;
            streams.push(stream);
            streams.len() - 1
        };
        let follower = Follower {
            session: session.clone(),
            clocks: Arc::clone(&self.clocks),
            history: Arc::clone(&self.history),
            stream: number,
            random,
        };
        tokio::spawn(follower.follow(ms(1_000 + self.random.next() % 9_000)));
    }

    /// Sends a request with this token. The answer is not noted yet.
    async fn ask(&self, path: &str, held: Held) -> (Visit, Response<String>) {
        let cookie = self.history().lives[held.session].tokens[held.token].cookie.clone();
        let begin = self.clocks.truth();
        let response = send(&self.app, get(path, cookie)).await;
        let answer = match response.status() {
            StatusCode::OK => Answer::Admitted(None),
            StatusCode::UNAUTHORIZED | StatusCode::GONE => Answer::Refused,
            StatusCode::SERVICE_UNAVAILABLE => Answer::Failed,
            status => panic!("{status}: {}", response.body()),
        };
        let (session, token, end) = (held.session, held.token, self.clocks.truth());
        (Visit { node: self.node, begin, end, session, token, answer }, response)
    }

    fn may_end(&self, is_such: impl Fn(usize, &Life) -> bool) {
        let now = self.clocks.truth();
        for (session, life) in self.history().lives.iter_mut().enumerate() {
            if is_such(session, life) {
                life.may_end = Some(life.may_end.map_or(now, |at: Moment| at.min(now)));
            }
        }
    }

    fn ended(&self, sessions: &[usize]) {
        let done = self.done();
        for session in sessions {
            self.history().lives[*session].ends.push(done);
        }
    }
}

async fn send(app: &App, request: Request<String>) -> Response<String> {
    app.clone().oneshot(request).await.expect("infallible")
}

fn post(path: &str, user: usize) -> Request<String> {
    Request::post(path).body(name(user)).expect("a request")
}

fn get(path: &str, cookie: HeaderValue) -> Request<String> {
    let request = Request::get(path).header(COOKIE, cookie).body(String::new());
    request.expect("a request")
}

pub fn name(user: usize) -> String {
    format!("user-{user}")
}
