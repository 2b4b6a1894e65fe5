//! tower-sessions with its memory store.

use ::tower_sessions::{MemoryStore, SessionManagerLayer};
use tower::Layer;

use super::{Backlog, InMemory, Peer, versions};
use crate::{executor::Executor, handlers::App};

pub(crate) struct TowerSessions {
    layer: SessionManagerLayer<MemoryStore>,
}

impl Peer for TowerSessions {
    const NAME: &'static str = "tower-sessions";

    fn version() -> String {
        versions::of("tower-sessions")
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    use_of_session!(::tower_sessions::Session);
}

impl InMemory for TowerSessions {
    async fn new() -> Self {
        Self { layer: SessionManagerLayer::new(MemoryStore::default()) }
    }

    fn backlog(_: usize, _: &Executor) -> Result<Backlog<Self>, &'static str> {
        Err("its memory store never removes expired sessions")
    }
}

/// The part of a [`Peer`] that is the same for all versions and stores of tower-sessions.
macro_rules! use_of_session {
    ($session:ty) => {
        const LOADS_BEFORE_LOGOUT: bool = false;

        type Session = $session;
        type User = String;

        async fn user(session: &$session) -> Option<String> {
            session.get("user").await.expect("a text")
        }

        async fn log_in(session: &$session, user: &str) {
            session.cycle_id().await.expect("the store answers");
            session.insert("user", user).await.expect("a text");
        }

        async fn log_out(session: &$session) {
            session.flush().await.expect("the store answers");
        }

        async fn rotate(session: &$session) {
            session.cycle_id().await.expect("the store answers");
        }

        async fn write(session: &$session, value: u64) {
            session.insert("key", value).await.expect("a number");
        }

        async fn written(session: &$session) -> Option<u64> {
            session.get("key").await.expect("a number")
        }
    };
}
pub(crate) use use_of_session;
