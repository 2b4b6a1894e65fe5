//! Carries out a [`Plan`]: the store calls of a commit, one after the other.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Session,
    pending::Pending,
    plan::{Answer, Dropped, Head, Outcome, Plan, Step, Verdict},
    state::{Issued, Standing, State},
    turn::Turn,
};
use crate::{
    clock::Timestamp,
    config::Config,
    error::{SessionError, SessionErrorKind, StoreError, StoreErrorKind},
    record::{Change, Record},
    report,
    store::{Rotated, StoreFuture, Updated},
    token::{SessionKey, SessionToken},
    within::Within,
};

/// A commit under way. Dropping it leaves each of its store calls done or not done; what it was to
/// store is not tried again.
pub(crate) struct Commit {
    plan: Plan,
    wanted: Pending,
    base: Option<(SessionKey, Record)>,
    /// What is to end, in the order of the plan's numbers.
    ends: Vec<SessionKey>,
    now: Timestamp,
    call: Option<Call>,
    error: Option<SessionError>,
    finished: bool,
    // Last, so that it is given back when a store call that is cancelled is over.
    turn: Turn,
}

/// What a commit came to.
pub(crate) struct Committed {
    pub(crate) outcome: Outcome,
    /// What failed, if the verdict is [`Verdict::Failed`].
    pub(crate) error: Option<SessionError>,
}

impl Session {
    /// What a commit came to, for a caller who waits for the data to be stored.
    pub(super) fn check(&self, committed: Committed) -> Result<(), SessionError> {
        let Committed { outcome, error } = committed;
        let kind = match (outcome.verdict, outcome.dropped) {
            (Verdict::Kept, None) => return Ok(()),
            (Verdict::Failed, _) => match error {
                Some(error) => return Err(error),
                None => SessionErrorKind::Store(StoreErrorKind::Other),
            },
            (Verdict::Refused, _) | (_, Some(Dropped::Gone)) => SessionErrorKind::Gone,
            (_, Some(Dropped::Superseded | Dropped::RotationLost)) => SessionErrorKind::Superseded,
            (_, Some(Dropped::Ambiguous)) => SessionErrorKind::Ambiguous,
            (_, Some(Dropped::Full)) => SessionErrorKind::Store(StoreErrorKind::Full),
            (_, Some(Dropped::Cookieless | Dropped::ServerError)) => return Err(self.cookieless()),
        };
        Err(SessionError::new(kind))
    }
}

/// A store call, with what its success makes of the handle's state.
enum Call {
    Create(Within<StoreFuture<()>>, SessionToken, Box<Record>),
    Update(Within<StoreFuture<Updated>>, Change),
    Rotate(Within<StoreFuture<Rotated>>, SessionToken, Change),
    Touch(Within<StoreFuture<bool>>),
    Look(Within<StoreFuture<Option<Record>>>),
    End(Within<StoreFuture<bool>>, SessionKey),
}

impl Commit {
    /// The commit of what is pending in the session's state; the turn back if there is nothing to
    /// do.
    pub(super) fn begin(
        session: &Session,
        state: &mut State,
        head: Head,
        turn: Turn,
    ) -> Result<Box<Self>, Turn> {
        state.leave_others_session();
        let plan = Plan::new(state.situation(head, session.presented_at()));
        if plan.step() == Step::Done(Outcome::KEPT) {
            return Err(turn);
        }
        // Until it has come about, however this commit ends.
        state.rotation_missed |= state.pending.rotate;
        Ok(Box::new(Self {
            plan,
            wanted: state.pending.clone(),
            base: state.live().map(|(key, record)| (key, record.clone())),
            ends: [&*state.to_end, &*state.left_behind].concat(),
            now: session.config().now(),
            call: None,
            error: None,
            finished: false,
            turn,
        }))
    }

    /// Starts the store call of a step.
    fn start(&self, step: Step) -> Result<Call, SessionError> {
        let config = self.turn.session().config();
        let (store, now) = (&config.store, self.now);
        let cap = self.wanted.login.as_ref().and(config.sessions_per_user);
        let limit = config.store_timeout;
        Ok(match (step, &self.base) {
            (Step::Create, _) => {
                let (token, version) = config.random.token_and_version()?;
                let record = self.new_record(config, &token, version);
                let future = store.create(token.key(), record.clone(), cap, now);
                Call::Create(Within::new(limit, future), token, Box::new(record))
            }
            (Step::Update, Some((key, record))) => {
                let change = self.wanted.to_change(config.random.version()?);
                let future = store.update(*key, change.clone(), record.logins(), None, now);
                Call::Update(Within::new(limit, future), change)
            }
            (Step::Rotate, Some((key, record))) => {
                let (token, version) = config.random.token_and_version()?;
                let token = token.with_key(*key);
                let mut change = self.wanted.to_change_with_login(version);
                if self.wanted.login.is_some() && self.wanted.lifetime.is_none() {
                    // A store that keeps its index apart then knows the deadline beforehand.
                    change = change.with_lifetime(record.lifetime());
                }
                let (from, to) = (record.proof(), token.proof());
                let future = store.rotate(*key, from, to, change.clone(), cap, now);
                Call::Rotate(Within::new(limit, future), token, change)
            }
            (Step::Touch, Some((key, record))) => {
                Call::Touch(Within::new(limit, store.touch(*key, record.logins(), now)))
            }
            (Step::Look, Some((key, record))) => {
                Call::Look(Within::new(limit, store.load(*key, record.proof(), now)))
            }
            (Step::End(index), _) => {
                let key = self.ends[index];
                Call::End(Within::new(limit, store.destroy(key, None, now)), key)
            }
            (Step::Update | Step::Rotate | Step::Touch | Step::Look | Step::Done(_), _) => {
                unreachable!("a plan names these steps only for a session")
            }
        })
    }

    /// The record of a new session: with what this request sees, if the session it had is lost.
    fn new_record(&self, config: &Config, token: &SessionToken, version: u64) -> Record {
        let mut record = Record::new(token.proof(), config.lifetime, self.now);
        if let Some((_, lost)) = &self.base
            && (lost.user().is_none() || lost.user() == self.wanted.login.as_ref())
        {
            record.inherit(lost);
        }
        record.apply(&self.wanted.to_change_with_login(version), self.now);
        record
    }

    /// Waits for the store and brings the handle's state up to date.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(call) = &mut self.call else { return Poll::Ready(Answer::Failed) };
        let answer = match call {
            Call::Create(future, ..) => ready!(poll_store(future, cx)).map(|()| Answer::Done),
            Call::Update(future, _) => {
                ready!(poll_store(future, cx)).map(|updated| match updated {
                    Updated::Stored => Answer::Done,
                    Updated::Gone | Updated::Conflict(_) => Answer::Gone,
                })
            }
            Call::Rotate(future, ..) => {
                ready!(poll_store(future, cx)).map(|rotated| match rotated {
                    Rotated::Stored => Answer::Done,
                    Rotated::Gone => Answer::Gone,
                })
            }
            Call::Touch(future) => ready!(poll_store(future, cx))
                .map(|alive| if alive { Answer::Done } else { Answer::Gone }),
            Call::Look(future) => ready!(poll_store(future, cx)).map(|found| match found {
                Some(_) => Answer::Superseded,
                None if self.base.as_ref().is_some_and(|(_, record)| record.is_alive(self.now)) => {
                    Answer::Revoked
                }
                None => Answer::Expired,
            }),
            Call::End(future, _) => ready!(poll_store(future, cx)).map(|_was_there| Answer::Done),
        };
        if let (Ok(Answer::Done), Some(call)) = (&answer, &self.call) {
            self.settle(call);
        }
        self.call = None;
        Poll::Ready(match answer {
            Ok(answer) => answer,
            Err(error) => {
                let answer = match error.kind() {
                    StoreErrorKind::Collision => Answer::Collision,
                    StoreErrorKind::Full => Answer::Full,
                    _ => Answer::Failed,
                };
                // That a full store takes no visitors is told as a change that was dropped.
                if answer != Answer::Full || self.wanted.login.is_some() {
                    report::store_failed("commit", &error);
                }
                self.error = Some(error.into());
                answer
            }
        })
    }

    /// The session that the request had when the commit began.
    fn key(&self) -> Option<SessionKey> {
        self.base.as_ref().map(|(key, _)| *key)
    }

    /// What a successful call makes of the handle's state. The token is cloned: where it is, it is
    /// wiped, and what is moved out stays in the memory of the commit.
    fn settle(&self, call: &Call) {
        let mut state = self.turn.session().state();
        let key = self.key();
        match call {
            Call::Create(_, token, record) => {
                let key = token.key();
                report::created(key);
                if let Some(user) = &self.wanted.login {
                    report::logged_in(key, user);
                }
                state.login_is_stored(&self.ends);
                state.rotation_missed = false;
                state.issued = Some(Issued::new(token.clone(), record));
                state.standing = Standing::Live { key, record: Record::clone(record) };
            }
            Call::Update(_, change) => {
                if let Some(record) = key.and_then(|key| state.record_mut(key)) {
                    record.apply_unread(change, self.now);
                }
            }
            Call::Rotate(_, token, change) => {
                match &self.wanted.login {
                    Some(user) => report::logged_in(token.key(), user),
                    None => report::rotated(token.key()),
                }
                if self.wanted.login.is_some() {
                    state.login_is_stored(&self.ends);
                }
                state.rotation_missed = false;
                if let Some(record) = state.record_mut(token.key()) {
                    record.replace_proof_unread(token.proof(), change, self.now);
                }
                // It goes out also if the handle has come to stand for another session meanwhile.
                if let Some((_, mut rotated)) = self.base.clone() {
                    rotated.apply(change, self.now);
                    state.issued = Some(Issued::new(token.clone(), &rotated));
                }
            }
            Call::Touch(_) => {
                if let Some(record) = key.and_then(|key| state.record_mut(key)) {
                    record.see(self.now);
                }
            }
            Call::End(_, key) => state.to_end.retain(|other| other != key),
            Call::Look(_) => {}
        }
        drop(state);
        let config = self.turn.session().config();
        match call {
            // Another login is the end for those who wait under the one before.
            Call::Rotate(_, token, _) if self.wanted.login.is_some() => {
                config.watch.look_at(token.key());
            }
            Call::End(_, key) => config.tell_of_end(*key),
            _ => {}
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Committed {
        self.finished = true;
        self.turn.session().state().retire(&self.wanted);
        match (outcome.dropped, self.key()) {
            (Some(Dropped::Gone), Some(key)) => report::gone(key),
            (Some(reason), key) => report::dropped(key, reason),
            (None, _) => {}
        }
        Committed { outcome, error: self.error.take() }
    }
}

impl Future for Commit {
    type Output = Committed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Committed> {
        loop {
            let step = self.plan.step();
            if let Step::Done(outcome) = step {
                return Poll::Ready(self.finish(outcome));
            }
            if self.call.is_none() {
                match self.start(step) {
                    Ok(call) => self.call = Some(call),
                    Err(error) => {
                        report::random_failed(&error);
                        self.error = Some(error);
                        self.plan.answer(Answer::Failed);
                        continue;
                    }
                }
            }
            let answer = ready!(self.poll_call(cx));
            self.plan.answer(answer);
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if !self.finished {
            let wanted = mem::take(&mut self.wanted);
            self.turn.session().state().retire(&wanted);
            if !wanted.is_empty() {
                let reason = "the request was cancelled while they were being stored";
                report::dropped(self.key(), reason);
            }
        }
    }
}

/// A store call with its time limit.
fn poll_store<T>(
    future: &mut Within<StoreFuture<T>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, StoreError>> {
    Pin::new(future).poll(cx).map(|answer| answer.unwrap_or_else(|elapsed| Err(elapsed.into())))
}
