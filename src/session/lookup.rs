//! From the presented tokens to the session they stand for.

use std::{
    future::Future,
    pin::Pin,
    slice,
    task::{Context, Poll},
    time::Duration,
};

use super::{Session, state::Standing};
use crate::{
    clock::Timestamp,
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

impl Session {
    /// Asks the store for what was presented, and takes up what it comes to. Without a well-formed
    /// token there is nothing to ask.
    ///
    /// The future is for the answers that have to be waited for, if there are any.
    ///
    /// # Errors
    ///
    /// What the store failed with.
    pub(crate) fn look_up(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Result<Option<PendingLookup>, StoreError> {
        let tokens = match presented {
            Presented::Nothing => return Ok(None),
            Presented::One(token) => slice::from_ref(token),
            Presented::Two(tokens) => {
                report::duplicate();
                tokens
            }
            Presented::TooMany => {
                report::duplicate();
                return Ok(None);
            }
            Presented::Malformed => {
                report::malformed();
                return Ok(None);
            }
        };
        let config = self.config();
        let mut candidates = Vec::new();
        for token in tokens {
            let (key, proof) = (token.key(), token.proof());
            match config.store.load(key, proof, now).into_ready() {
                Ok(loaded) => self.judge(loaded, key, proof, now)?,
                Err(pending) => {
                    let answer = Within::new(config.store_timeout, pending);
                    candidates.push(Candidate { key, proof, answer });
                }
            }
        }
        if candidates.is_empty() {
            return Ok(None);
        }
        Ok(Some(PendingLookup { session: self.clone(), now, candidates }))
    }

    /// Decides whether the token is the session's own. This is the one place where that happens.
    fn judge(
        &self,
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
        let is_recalled =
            self.config().not_before.is_some_and(|moment| record.started_at() < moment);
        let raced_a_rotation = || {
            record.rotated_at().is_some_and(|moment| now.saturating_since(moment) < SUPERSEDED_FOR)
        };
        // A store returns living records only; a mistake there must not let anybody in.
        if !record.is_alive(now) || is_recalled {
            report::expired(key);
        } else if record.proof() == proof {
            // `Proof` compares in constant time.
            self.state().standing.add(Standing::Live { key, record });
        } else if raced_a_rotation() {
            report::superseded(key);
            self.state().standing.add(Standing::Superseded);
        } else {
            report::wrong_secret(key);
        }
        Ok(())
    }
}

impl PendingLookup {
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn into_session(self) -> Session {
        self.session
    }
}

impl Future for PendingLookup {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { session, now, candidates } = &mut *self;
        let mut failed = None;
        candidates.retain_mut(|Candidate { key, proof, answer }| {
            let Poll::Ready(answer) = Pin::new(answer).poll(cx) else { return true };
            let loaded = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            failed = session.judge(loaded, *key, *proof, *now).err().or(failed.take());
            false
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if candidates.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}
