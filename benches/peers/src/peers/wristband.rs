//! This crate, with its memory store.

use std::time::Duration;

use tokio::{runtime, time};
use tower::Layer;
use tower_wristband::{
    Lifetime, MemoryStore, Session, SessionLayer, Sweeper, UserId, testing::ManualClock,
};

use super::{Backlog, CleanUp, Peer, versions};
use crate::{executor::Executor, fixture::Fixture, handlers::App};

pub(crate) struct Wristband {
    layer: SessionLayer,
}

impl Peer for Wristband {
    const NAME: &'static str = "tower-wristband";

    type Session = Session;
    type User = UserId;

    fn version() -> String {
        versions::of("tower-wristband")
    }

    async fn new() -> Self {
        Self { layer: SessionLayer::new(MemoryStore::new()) }
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.optional().layer(inner)
    }

    fn mount_for_members<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    async fn user(session: &Session) -> Option<UserId> {
        session.user_id()
    }

    async fn log_in(session: &Session, user: &str) {
        session.log_in(user).expect("a user id, before the head");
    }

    async fn log_out(session: &Session) {
        session.log_out().await.expect("the store answers");
    }

    async fn rotate(session: &Session) {
        session.rotate().expect("before the head");
    }

    async fn write(session: &Session, value: u64) {
        session.insert("key", &value).expect("a number");
    }

    async fn written(session: &Session) -> Option<u64> {
        session.get("key").expect("a number")
    }

    /// The clock is moved, and a sweeper does the rest.
    fn backlog(expired: usize, executor: &Executor) -> Result<Backlog<Self>, &'static str> {
        let (store, clock) = (MemoryStore::new(), ManualClock::new());
        let layer = SessionLayer::builder(store.clone()).clock(clock.clone()).build();
        let peer = Self { layer: layer.expect("the defaults are valid") };
        let idle = Lifetime::default().idle();

        Fixture::fill(&peer, expired, executor);
        clock.advance(idle / 2);
        let living = Fixture::fill(&peer, 1000, executor).cookies;
        clock.advance(idle / 2 + Duration::from_secs(1));

        let clean_up = move || {
            let runtime = runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("the system has a thread's worth of resources").block_on(async {
                let _sweeper = Sweeper::builder(store.clone(), idle).clock(clock).spawn();
                while store.len() > 1000 {
                    time::sleep(Duration::from_millis(1)).await;
                }
            });
        };
        Ok(Backlog { peer, living, clean_up: CleanUp::Background(Box::new(clean_up)) })
    }
}
