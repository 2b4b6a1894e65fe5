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

/// The look-up of a request's tokens, at most two.
pub(crate) struct Lookup {
    now: Timestamp,
    not_before: Option<Timestamp>,
    first: Candidate,
    second: Option<Candidate>,
}

/// One token and what is known of it.
struct Candidate {
    key: SessionKey,
    proof: Proof,
    answer: Answer,
}

enum Answer {
    Awaited(Within<StoreFuture<Option<Record>>>),
    There(Result<Found, StoreError>),
}

/// What a token came to.
enum Found {
    Live(Record),
    Superseded,
    Unknown,
}

impl Lookup {
    /// Asks the store for what was presented. Without a well-formed token there is nothing to ask.
    pub(crate) fn start(config: &Config, presented: &Presented, now: Timestamp) -> Option<Self> {
        let candidate = |token: &SessionToken| Candidate::ask(config, token, now);
        let (first, second) = match presented {
            Presented::Nothing => return None,
            Presented::Malformed => {
                report::malformed();
                return None;
            }
            Presented::TooMany => {
                report::duplicate();
                return None;
            }
            Presented::One(token) => (candidate(token), None),
            Presented::Two(first, second) => {
                report::duplicate();
                (candidate(first), Some(candidate(second)))
            }
        };
        Some(Self { now, not_before: config.not_before, first, second })
    }

    /// The outcome, if no answer has to be waited for; otherwise the look-up back.
    #[allow(clippy::result_large_err, reason = "it goes on into the future that waits for it")]
    pub(crate) fn into_ready(self) -> Result<Result<Standing, StoreError>, Self> {
        let awaited = |candidate: &Candidate| matches!(candidate.answer, Answer::Awaited(_));
        if awaited(&self.first) || self.second.as_ref().is_some_and(awaited) {
            return Err(self);
        }
        Ok(self.conclude())
    }

    /// A store error comes first, then two live sessions, the one live, a superseded one; the order of
    /// the cookies plays no part.
    fn conclude(self) -> Result<Standing, StoreError> {
        let (key, found) = self.first.conclude()?;
        let Some(second) = self.second else {
            return Ok(match found {
                Found::Live(record) => Standing::Live { key, record },
                Found::Superseded => Standing::Superseded,
                Found::Unknown => Standing::Vacant,
            });
        };
        let (second_key, second_found) = second.conclude()?;
        Ok(match (found, second_found) {
            (Found::Live(_), Found::Live(_)) => Standing::Ambiguous([key, second_key]),
            (Found::Live(record), _) => Standing::Live { key, record },
            (_, Found::Live(record)) => Standing::Live { key: second_key, record },
            (Found::Superseded, _) | (_, Found::Superseded) => Standing::Superseded,
            (Found::Unknown, Found::Unknown) => Standing::Vacant,
        })
    }
}

impl Future for Lookup {
    type Output = Result<Standing, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (now, not_before) = (this.now, this.not_before);
        let first_is_there = this.first.poll(now, not_before, cx);
        let second_is_there =
            this.second.as_mut().is_none_or(|second| second.poll(now, not_before, cx));
        if !(first_is_there && second_is_there) {
            return Poll::Pending;
        }
        let taken = Self {
            now,
            not_before,
            first: this.first.take(),
            second: this.second.as_mut().map(Candidate::take),
        };
        Poll::Ready(taken.conclude())
    }
}

impl Candidate {
    fn ask(config: &Config, token: &SessionToken, now: Timestamp) -> Self {
        let (key, proof) = (token.key(), token.proof());
        let answer = match config.store.load(key, proof, now).into_ready() {
            Ok(loaded) => Answer::There(judge(loaded, key, proof, now, config.not_before)),
            Err(pending) => Answer::Awaited(Within::new(config.store_timeout, pending)),
        };
        Self { key, proof, answer }
    }

    /// Whether the answer is there.
    fn poll(
        &mut self,
        now: Timestamp,
        not_before: Option<Timestamp>,
        cx: &mut Context<'_>,
    ) -> bool {
        if let Answer::Awaited(future) = &mut self.answer {
            let loaded = match Pin::new(future).poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(loaded)) => loaded,
                Poll::Ready(Err(_elapsed)) => Err(StoreError::new(StoreErrorKind::Timeout)),
            };
            self.answer = Answer::There(judge(loaded, self.key, self.proof, now, not_before));
        }
        true
    }

    /// Moves the candidate out of a future that has completed.
    fn take(&mut self) -> Self {
        let spent = Answer::There(Ok(Found::Unknown));
        Self {
            key: self.key,
            proof: self.proof,
            answer: std::mem::replace(&mut self.answer, spent),
        }
    }

    fn conclude(self) -> Result<(SessionKey, Found), StoreError> {
        match self.answer {
            Answer::There(found) => found.map(|found| (self.key, found)),
            Answer::Awaited(_) => Err(StoreError::new(StoreErrorKind::Other)),
        }
    }
}

/// Decides whether the token is the session's own. This is the one place where that happens.
fn judge(
    loaded: Result<Option<Record>, StoreError>,
    key: SessionKey,
    proof: Proof,
    now: Timestamp,
    not_before: Option<Timestamp>,
) -> Result<Found, StoreError> {
    let record = match loaded {
        Ok(Some(record)) => record,
        Ok(None) => {
            report::unknown(key);
            return Ok(Found::Unknown);
        }
        // Refused like a missing one: it can't say whose it is.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            report::corrupt(key, &error);
            return Ok(Found::Unknown);
        }
        Err(error) => {
            report::store_failed("load", &error);
            return Err(error);
        }
    };
    // A store returns living records only; a mistake there must not let anybody in.
    if !record.is_alive(now) || not_before.is_some_and(|moment| record.started_at() < moment) {
        report::expired(key);
        return Ok(Found::Unknown);
    }
    // `Proof` compares in constant time.
    if record.proof() == proof {
        return Ok(Found::Live(record));
    }
    let raced_a_rotation =
        record.rotated_at().is_some_and(|moment| now.saturating_since(moment) < SUPERSEDED_FOR);
    if raced_a_rotation {
        report::superseded(key);
        Ok(Found::Superseded)
    } else {
        report::wrong_secret(key);
        Ok(Found::Unknown)
    }
}
