//! From the presented tokens to the session they stand for.

use std::{
    future::Future,
    pin::Pin,
    slice,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    Session,
    state::{Standing, State},
};
use crate::{
    clock::Timestamp,
    config::Config,
    cookie::Presented,
    error::{StoreError, StoreErrorKind},
    record::Record,
    report,
    store::StoreFuture,
    token::{Proof, SessionKey},
    within::Within,
};

/// How long after a rotation the old token is known as one that raced it.
const SUPERSEDED_FOR: Duration = Duration::from_secs(60);

/// The answers that a look-up has to wait for.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct PendingLookup {
    session: Session,
    now: Timestamp,
    candidates: Vec<Candidate>,
}

/// One token, for whose record the store has been asked.
struct Candidate {
    key: SessionKey,
    proof: Proof,
    answer: Within<StoreFuture<Option<Record>>>,
}

/// What a look-up comes to.
pub(crate) enum Lookup {
    /// The session has taken up what the store has, unless that failed.
    Done(Session, Result<(), StoreError>),
    /// The store has to be waited for.
    Pending(PendingLookup),
}

impl Session {
    /// Asks the store for what was presented, and takes up what it comes to. Without a well-formed
    /// token there is nothing to ask.
    pub(crate) fn look_up(mut self, presented: &Presented, now: Timestamp) -> Lookup {
        let tokens = match presented {
            Presented::Nothing => return Lookup::Done(self, Ok(())),
            Presented::One(token) => slice::from_ref(token),
            Presented::Two(tokens) => {
                report::duplicate();
                tokens
            }
            Presented::TooMany => {
                report::duplicate();
                return Lookup::Done(self, Ok(()));
            }
            Presented::Malformed => {
                report::malformed();
                return Lookup::Done(self, Ok(()));
            }
        };
        let (config, state) = self.exclusive();
        let mut candidates = Vec::new();
        for token in tokens {
            let (key, proof) = (token.key(), token.proof());
            match config.store.load(key, proof, now).into_ready() {
                Ok(loaded) => {
                    if let Err(error) = judge(config, state, loaded, key, proof, now) {
                        return Lookup::Done(self, Err(error));
                    }
                }
                Err(pending) => {
                    let answer = Within::new(config.store_timeout, pending);
                    candidates.push(Candidate { key, proof, answer });
                }
            }
        }
        if candidates.is_empty() {
            return Lookup::Done(self, Ok(()));
        }
        Lookup::Pending(PendingLookup { session: self, now, candidates })
    }
}

/// Decides whether the token is the session's own. This is the one place where that happens.
fn judge(
    config: &Config,
    state: &mut State,
    loaded: Result<Option<Record>, StoreError>,
    key: SessionKey,
    proof: Proof,
    now: Timestamp,
) -> Result<(), StoreError> {
    let record = match loaded {
        Ok(Some(record)) => record,
        Ok(None) => {
            report::unknown(key);
            return Ok(());
        }
        // Refused like a missing one: it can't say whose it is.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            report::corrupt(key, &error);
            return Ok(());
        }
        Err(error) => {
            report::store_failed("load", &error);
            return Err(error);
        }
    };
    let is_recalled = config.not_before.is_some_and(|moment| record.started_at() < moment);
    let raced_a_rotation =
        || record.rotated_at().is_some_and(|moment| now.saturating_since(moment) < SUPERSEDED_FOR);
    // A store returns living records only; a mistake there must not let anybody in.
    if !record.is_alive(now) || is_recalled {
        report::expired(key);
    } else if record.proof() == proof {
        // `Proof` compares in constant time.
        state.standing.add(Standing::Live { key, record });
    } else if raced_a_rotation() {
        report::superseded(key);
        state.standing.add(Standing::Superseded);
    } else {
        report::wrong_secret(key);
    }
    Ok(())
}

impl PendingLookup {
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) fn into_session(self) -> Session {
        self.session
    }
}

impl Future for PendingLookup {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { session, now, candidates } = &mut *self;
        let (config, state) = session.exclusive();
        let mut failed = None;
        candidates.retain_mut(|Candidate { key, proof, answer }| {
            let Poll::Ready(answer) = Pin::new(answer).poll(cx) else { return true };
            let loaded = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            failed = judge(config, state, loaded, *key, *proof, *now).err().or(failed.take());
            false
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if candidates.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}
