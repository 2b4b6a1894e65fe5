//! The service without a layer.

use std::convert::Infallible;

use anyhow::Result;
use axum_core::extract::FromRequestParts;
use http::request::Parts;

use super::{Backlog, InDatabase, InMemory, Peer, versions};
use crate::{databases::Address, executor::Executor, handlers::App};

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

    /// That of the services.
    fn version() -> String {
        format!("tower {}", versions::of("tower"))
    }

    fn mount<S: App>(&self, inner: S) -> impl App + use<S> {
        inner
    }

    use_of_no_session!();
}

impl InMemory for Bare {
    async fn new() -> Self {
        Self
    }

    fn backlog(_: usize, _: &Executor) -> Result<Backlog<Self>, &'static str> {
        Err("it keeps no sessions")
    }
}

impl InDatabase for Bare {
    async fn connect(_: &Address) -> Result<Self> {
        Ok(Self)
    }
}

/// The part of a [`Peer`] that is the same wherever there are no sessions.
macro_rules! use_of_no_session {
    () => {
        const KEEPS_SESSIONS: bool = false;

        type Session = crate::peers::bare::NoSession;
        type User = &'static str;

        async fn user(_: &Self::Session) -> Option<&'static str> {
            None
        }

        async fn log_in(_: &Self::Session, _: &str) {}

        async fn log_out(_: &Self::Session) {}

        async fn rotate(_: &Self::Session) {}

        async fn write(_: &Self::Session, _: u64) {}

        async fn written(_: &Self::Session) -> Option<u64> {
            None
        }
    };
}
pub(super) use use_of_no_session;
