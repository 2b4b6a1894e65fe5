//! axum_session without a database.

use ::axum_session::{Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use tower::Layer;

use super::{Backlog, InMemory, Peer, versions};
use crate::{executor::Executor, handlers::App};

pub(crate) struct AxumSession {
    layer: SessionLayer<SessionNullPool>,
}

impl Peer for AxumSession {
    const NAME: &'static str = "axum_session";

    type Session = Session<SessionNullPool>;
    type User = String;

    fn version() -> String {
        versions::of("axum_session")
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    async fn user(session: &Self::Session) -> Option<String> {
        session.get("user")
    }

    async fn log_in(session: &Self::Session, user: &str) {
        session.renew();
        session.set("user", user);
    }

    async fn log_out(session: &Self::Session) {
        session.destroy();
    }

    async fn rotate(session: &Self::Session) {
        session.renew();
    }

    async fn write(session: &Self::Session, value: u64) {
        session.set("key", value);
    }

    async fn written(session: &Self::Session) -> Option<u64> {
        session.get("key")
    }
}

impl InMemory for AxumSession {
    async fn new() -> Self {
        let store = SessionStore::new(None, SessionConfig::default()).await;
        Self { layer: SessionLayer::new(store.expect("there is no database that could fail")) }
    }

    fn backlog(_: usize, _: &Executor) -> Result<Backlog<Self>, &'static str> {
        Err("its clean-up first runs an hour after the start, and nothing can start it sooner")
    }
}
