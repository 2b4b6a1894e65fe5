//! The crates that are compared, each mounted and used as its documentation says.

mod axum_session;
mod bare;
pub(crate) mod postgres;
pub(crate) mod redis;
mod ruts;
mod tower_sessions;
mod tower_sessions_moka;
pub(crate) mod versions;
mod wristband;

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::Result;
use axum_core::extract::FromRequestParts;

pub(crate) use self::bare::Bare;
use crate::{
    cases::{Case, Series, start, sweep},
    databases::Address,
    executor::Executor,
    fixture::Cookies,
    handlers::App,
};

/// A crate that keeps sessions, with one of its stores.
pub(crate) trait Peer: Sized + 'static {
    const NAME: &'static str;

    /// Whether there are sessions at all: everywhere but at the bare service.
    const KEEPS_SESSIONS: bool = true;

    /// Whether the session is loaded before it is removed, and not only its key.
    const LOADS_BEFORE_LOGOUT: bool = true;

    type Session: FromRequestParts<()> + Send + Sync;
    type User: Display + Send;

    fn version() -> String;

    /// Puts the layer around a service, so that it is called with and without a session.
    fn mount<S: App>(&self, inner: S) -> impl App + use<Self, S>;

    /// Puts the layer around a service for those who are signed in. What refuses nobody is the
    /// same as [`mount`](Self::mount).
    fn mount_for_members<S: App>(&self, inner: S) -> impl App + use<Self, S> {
        self.mount(inner)
    }

    fn user(session: &Self::Session) -> impl Future<Output = Option<Self::User>> + Send;

    /// Replaces the token if there is one, as the documentation recommends, and binds the user.
    fn log_in(session: &Self::Session, user: &str) -> impl Future<Output = ()> + Send;

    fn log_out(session: &Self::Session) -> impl Future<Output = ()> + Send;

    fn rotate(session: &Self::Session) -> impl Future<Output = ()> + Send;

    fn write(session: &Self::Session, value: u64) -> impl Future<Output = ()> + Send;

    /// What [`write`](Self::write) has written.
    fn written(session: &Self::Session) -> impl Future<Output = Option<u64>> + Send;
}

/// A peer that keeps sessions in memory.
pub(crate) trait InMemory: Peer {
    /// With an empty store, without a bound.
    fn new() -> impl Future<Output = Self>;

    /// A store with so many sessions that are about to expire, and a few that are not; or why
    /// their removal can't be measured.
    fn backlog(expired: usize, executor: &Executor) -> Result<Backlog<Self>, &'static str>;
}

/// A peer that keeps sessions in a database.
pub(crate) trait InDatabase: Peer {
    /// With all connections that there may be, and everything that has to be there.
    fn connect(address: &Address) -> impl Future<Output = Result<Self>>;
}

/// A store with expired sessions.
pub(crate) struct Backlog<P> {
    pub(crate) peer: P,
    pub(crate) living: Cookies,
    pub(crate) clean_up: CleanUp,
}

/// How a peer gets rid of expired sessions.
pub(crate) enum CleanUp {
    /// In the background. The call returns when it is done.
    Background(Box<dyn FnOnce() + Send>),
    /// Requests do it on their way, some time between these moments.
    InRequests { from: Instant, until: Instant },
}

/// How long sessions live that are made to expire: longer than it takes to make them and to measure
/// what is quiet.
fn time_to_fill(sessions: usize) -> Duration {
    sweep::QUIET * 2 + Duration::from_micros(10) * u32::try_from(sessions).unwrap_or(u32::MAX)
}

/// A peer, with its type forgotten: only what is called millions of times needs that.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) version: fn() -> String,
    pub(crate) start: fn(Case, usize, &Executor) -> Vec<Series>,
    pub(crate) read_during_sweep: sweep::Measure,
}

impl Contestant {
    const fn of<P: InMemory>() -> Self {
        Self {
            name: P::NAME,
            version: P::version,
            start: start::<P>,
            read_during_sweep: sweep::measure::<P>,
        }
    }
}

/// What the others are compared with.
pub(crate) const BARE: &str = Bare::NAME;

pub(crate) const CONTESTANTS: [Contestant; 6] = [
    Contestant::of::<Bare>(),
    Contestant::of::<wristband::Wristband>(),
    Contestant::of::<tower_sessions::TowerSessions>(),
    Contestant::of::<tower_sessions_moka::TowerSessionsMoka>(),
    Contestant::of::<axum_session::AxumSession>(),
    Contestant::of::<ruts::Ruts>(),
];
