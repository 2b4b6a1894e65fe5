//! From the presented tokens to the session they stand for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::state::Standing;
use crate::{
    clock::Timestamp,
    config::Config,
    cookie::Presented,
    error::{StoreError, StoreErrorKind},
    record::Record,
    report,
    store::StoreFuture,
    token::{Proof, SessionKey, SessionToken},
    within::Within,
};

/// How long after a rotation the old token is known as one that raced it.
const SUPERSEDED_FOR: Duration = Duration::from_secs(60);

/// The look-up of a request's tokens.
pub(crate) enum Lookup {
    /// No answer has to be waited for.
    Ready(Result<Standing, StoreError>),
    /// At least one has.
    Pending(PendingLookup),
}

impl Lookup {
    /// Asks the store for what was presented. Without a well-formed token there is nothing to ask.
    pub(crate) fn start(config: &Config, presented: &Presented, now: Timestamp) -> Self {
        let tokens = match presented {
            Presented::One(token) => std::slice::from_ref(token),
            Presented::Two(tokens) => {
                report::duplicate();
                tokens.as_slice()
            }
            Presented::Nothing => &[],
            Presented::Malformed => {
                report::malformed();
                &[]
            }
            Presented::TooMany => {
                report::duplicate();
                &[]
            }
        };
        let mut found = None;
        let mut candidates = Vec::new();
        for token in tokens {
            match Candidate::ask(config, token, now) {
                Ok(standing) => found = Some(combine(found, standing)),
                Err(candidate) => candidates.push(candidate),
            }
        }
        if candidates.is_empty() {
            return Self::Ready(found.unwrap_or(Ok(Standing::Vacant)));
        }
        Self::Pending(PendingLookup { now, not_before: config.not_before, candidates, found })
    }
}

/// The answers that have to be waited for, and what those that were there have come to.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct PendingLookup {
    now: Timestamp,
    not_before: Option<Timestamp>,
    candidates: Vec<Candidate>,
    found: Option<Result<Standing, StoreError>>,
}

impl Future for PendingLookup {
    type Output = Result<Standing, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { now, not_before, candidates, found } = &mut *self;
        candidates.retain_mut(|candidate| match candidate.poll(*now, *not_before, cx) {
            Poll::Pending => true,
            Poll::Ready(standing) => {
                *found = Some(combine(found.take(), standing));
                false
            }
        });
        if !candidates.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(found.take().expect("a look-up is not polled after it is done"))
    }
}

/// One token, for whose record the store has been asked.
struct Candidate {
    key: SessionKey,
    proof: Proof,
    answer: Within<StoreFuture<Option<Record>>>,
}

impl Candidate {
    #[allow(clippy::result_large_err, reason = "it is the one that has to be waited for")]
    fn ask(
        config: &Config,
        token: &SessionToken,
        now: Timestamp,
    ) -> Result<Result<Standing, StoreError>, Self> {
        let (key, proof) = (token.key(), token.proof());
        match config.store.load(key, proof, now).into_ready() {
            Ok(loaded) => Ok(judge(loaded, key, proof, now, config.not_before)),
            Err(pending) => {
                Err(Self { key, proof, answer: Within::new(config.store_timeout, pending) })
            }
        }
    }

    fn poll(
        &mut self,
        now: Timestamp,
        not_before: Option<Timestamp>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Standing, StoreError>> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| {
            let loaded = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            judge(loaded, self.key, self.proof, now, not_before)
        })
    }
}

/// What two tokens come to: a store error comes first, then two living sessions, the one that
/// lives, a superseded one. Their order plays no part.
fn combine(
    first: Option<Result<Standing, StoreError>>,
    second: Result<Standing, StoreError>,
) -> Result<Standing, StoreError> {
    let Some(first) = first else { return second };
    Ok(match (first?, second?) {
        (Standing::Live { key: first, .. }, Standing::Live { key: second, .. }) => {
            Standing::Ambiguous([first, second])
        }
        (live @ Standing::Live { .. }, _) | (_, live @ Standing::Live { .. }) => live,
        (Standing::Superseded, _) | (_, Standing::Superseded) => Standing::Superseded,
        (vacant, _) => vacant,
    })
}

/// Decides whether the token is the session's own. This is the one place where that happens.
fn judge(
    loaded: Result<Option<Record>, StoreError>,
    key: SessionKey,
    proof: Proof,
    now: Timestamp,
    not_before: Option<Timestamp>,
) -> Result<Standing, StoreError> {
    let record = match loaded {
        Ok(Some(record)) => record,
        Ok(None) => {
            report::unknown(key);
            return Ok(Standing::Vacant);
        }
        // Refused like a missing one: it can't say whose it is.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            report::corrupt(key, &error);
            return Ok(Standing::Vacant);
        }
        Err(error) => {
            report::store_failed("load", &error);
            return Err(error);
        }
    };
    // A store returns living records only; a mistake there must not let anybody in.
    if !record.is_alive(now) || not_before.is_some_and(|moment| record.started_at() < moment) {
        report::expired(key);
        return Ok(Standing::Vacant);
    }
    // `Proof` compares in constant time.
    if record.proof() == proof {
        return Ok(Standing::Live { key, record });
    }
    let raced_a_rotation =
        record.rotated_at().is_some_and(|moment| now.saturating_since(moment) < SUPERSEDED_FOR);
    if raced_a_rotation {
        report::superseded(key);
        Ok(Standing::Superseded)
    } else {
        report::wrong_secret(key);
        Ok(Standing::Vacant)
    }
}
