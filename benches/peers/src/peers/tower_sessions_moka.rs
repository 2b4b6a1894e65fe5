//! tower-sessions with its moka store, which fits an older tower-sessions.

use std::time::{Duration, Instant};

use tower::Layer;
use tower_sessions_0_14::{Expiry, Session, SessionManagerLayer, cookie::time::OffsetDateTime};
use tower_sessions_moka_store::MokaStore;

use super::{Backlog, CleanUp, InMemory, Peer, tower_sessions::use_of_session, versions};
use crate::{executor::Executor, fixture::Fixture, handlers::App};

pub(crate) struct TowerSessionsMoka {
    layer: SessionManagerLayer<MokaStore>,
}

impl TowerSessionsMoka {
    fn over(store: &MokaStore) -> Self {
        Self { layer: SessionManagerLayer::new(store.clone()) }
    }
}

impl Peer for TowerSessionsMoka {
    const NAME: &'static str = "tower-sessions-moka";

    fn version() -> String {
        versions::of_both("tower-sessions-moka-store", "tower-sessions", "tower-sessions-core")
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        self.layer.layer(inner)
    }

    use_of_session!(Session);
}

impl InMemory for TowerSessionsMoka {
    async fn new() -> Self {
        Self::over(&MokaStore::new(None))
    }

    /// moka has a clock of its own, so the sessions really expire, all at once. Their removal is
    /// part of whatever requests come then; moka looks once a second.
    fn backlog(expired: usize, executor: &Executor) -> Result<Backlog<Self>, &'static str> {
        let store = MokaStore::new(None);
        let lifetime = super::time_to_fill(expired);
        let from = Instant::now() + lifetime;
        let expiry = Expiry::AtDateTime(OffsetDateTime::now_utc() + lifetime);

        let dying = Self { layer: Self::over(&store).layer.with_expiry(expiry) };
        Fixture::fill(&dying, expired, executor);
        let peer = Self::over(&store);
        let living = Fixture::fill(&peer, 1000, executor).cookies;
        let until = from + Duration::from_secs(3);
        Ok(Backlog { peer, living, clean_up: CleanUp::InRequests { from, until } })
    }
}
