//! ruts with its moka store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::ruts::{
    CookieOptions, Session, SessionLayer,
    store::{
        Ttl,
        moka::{MokaStore, MokaStoreBuilder},
    },
};
use tower::Layer;
use tower_cookies::CookieManagerLayer;

use super::{Backlog, CleanUp, InMemory, Peer, versions};
use crate::{executor::Executor, fixture::Fixture, handlers::App};

pub(crate) struct Ruts {
    layer: SessionLayer<MokaStore>,
}

impl Ruts {
    fn over(store: MokaStoreBuilder) -> Self {
        let cookie = CookieOptions::build().name("session").max_age(3600).path("/");
        // Unless told otherwise, it keeps no more than 10,000 sessions.
        let store = store.max_capacity(u64::MAX).build();
        Self { layer: SessionLayer::new(Arc::new(store)).with_cookie_options(cookie) }
    }
}

impl Peer for Ruts {
    const NAME: &'static str = "ruts";

    type Session = Session<MokaStore>;
    type User = String;

    fn version() -> String {
        versions::of("ruts")
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        CookieManagerLayer::new().layer(self.layer.layer(inner))
    }

    async fn user(session: &Self::Session) -> Option<String> {
        session.get("user").await.expect("the store answers")
    }

    async fn log_in(session: &Self::Session, user: &str) {
        session.prepare_regenerate();
        session.set("user", &user, hour(), None).await.expect("the store answers");
    }

    async fn log_out(session: &Self::Session) {
        // Without a session there is nothing to delete.
        if session.id().is_some() {
            session.delete().await.expect("the store answers");
        }
    }

    async fn rotate(session: &Self::Session) {
        session.regenerate().await.expect("the store answers");
    }

    async fn write(session: &Self::Session, value: u64) {
        session.set("key", &value, hour(), None).await.expect("the store answers");
    }

    async fn written(session: &Self::Session) -> Option<u64> {
        session.get("key").await.expect("the store answers")
    }
}

impl InMemory for Ruts {
    async fn new() -> Self {
        Self::over(MokaStoreBuilder::new())
    }

    /// A session is removed when it has not been used for a while, by moka's own clock. Removal is
    /// part of whatever requests come then.
    fn backlog(expired: usize, executor: &Executor) -> Result<Backlog<Self>, &'static str> {
        let idle = super::time_to_fill(expired);
        let peer = Self::over(MokaStoreBuilder::new().time_to_idle(idle));
        let from = Instant::now() + idle;
        Fixture::fill(&peer, expired, executor);
        let until = Instant::now() + idle + Duration::from_secs(1);
        let living = Fixture::fill(&peer, 1000, executor).cookies;
        Ok(Backlog { peer, living, clean_up: CleanUp::InRequests { from, until } })
    }
}

fn hour() -> Ttl {
    Ttl::new(3600).expect("less than the longest")
}
