//! The service without a layer.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use super::{Backlog, Peer, versions};
use crate::{executor::Executor, handlers::App};

pub(crate) struct Bare;

pub(crate) struct NoSession;

impl FromRequestParts<()> for NoSession {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, (): &()) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl Peer for Bare {
    const NAME: &'static str = "bare";
    const KEEPS_SESSIONS: bool = false;

    type Session = NoSession;
    type User = &'static str;

    /// That of the services.
    fn version() -> String {
        format!("tower {}", versions::of("tower"))
    }

    async fn new() -> Self {
        Self
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        inner
    }

    async fn user(_: &NoSession) -> Option<&'static str> {
        None
    }

    async fn log_in(_: &NoSession, _: &str) {}

    async fn log_out(_: &NoSession) {}

    async fn rotate(_: &NoSession) {}

    async fn write(_: &NoSession, _: u64) {}

    async fn written(_: &NoSession) -> Option<u64> {
        None
    }

    fn backlog(_: usize, _: &Executor) -> Result<Backlog<Self>, &'static str> {
        Err("it keeps no sessions")
    }
}
