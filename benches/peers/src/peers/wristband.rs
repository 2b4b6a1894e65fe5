//! This crate, with its memory store.

use std::time::Duration;

use tokio::{runtime, time};
use tower_wristband::{Lifetime, MemoryStore, SessionLayer, Sweeper, testing::ManualClock};

use super::{Backlog, CleanUp, InMemory, Peer, versions};
use crate::{executor::Executor, fixture::Fixture};

pub(crate) struct Wristband {
    layer: SessionLayer,
}

impl Peer for Wristband {
    const NAME: &'static str = "tower-wristband";

    fn version() -> String {
        versions::of("tower-wristband")
    }

    use_of_wristband!();
}

impl InMemory for Wristband {
    async fn new() -> Self {
        Self { layer: SessionLayer::new(MemoryStore::new()) }
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

/// The part of a [`Peer`] that is the same for all stores of this crate.
macro_rules! use_of_wristband {
    () => {
        type Session = tower_wristband::Session;
        type User = tower_wristband::UserId;

        fn mount<S: crate::handlers::App>(&self, inner: S) -> impl crate::handlers::App + use<S> {
            tower::Layer::layer(&self.layer.optional(), inner)
        }

        fn mount_for_members<S: crate::handlers::App>(
            &self,
            inner: S,
        ) -> impl crate::handlers::App + use<S> {
            tower::Layer::layer(&self.layer, inner)
        }

        async fn user(session: &Self::Session) -> Option<Self::User> {
            session.user_id()
        }

        async fn log_in(session: &Self::Session, user: &str) {
            session.log_in(user).expect("a user id, before the head");
        }

        async fn log_out(session: &Self::Session) {
            session.log_out().await.expect("the store answers");
        }

        async fn rotate(session: &Self::Session) {
            session.rotate().expect("before the head");
        }

        async fn write(session: &Self::Session, value: u64) {
            session.insert("key", &value).expect("a number");
        }

        async fn written(session: &Self::Session) -> Option<u64> {
            session.get("key").expect("a number")
        }
    };
}
pub(super) use use_of_wristband;
