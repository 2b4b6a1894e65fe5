//! The end of a request: what is pending is stored, and the head released.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    Session,
    commit::Commit,
    pending::Pending,
    plan::{Head, Outcome, Plan, Step, Verdict},
    state::{Issued, State},
    turn::Turn,
};
use crate::{error::SessionError, token::SessionToken};

/// What the end of a request comes to.
pub(crate) enum End {
    /// There is nothing to store.
    Closed(Closed),
    /// Something has to be waited for.
    Pending(PendingEnd),
}

/// What a response has to carry for its session.
pub(crate) struct Closed {
    pub(crate) cookie: CookieToSend,
    /// The response depends on the session.
    pub(crate) accessed: bool,
}

pub(crate) enum CookieToSend {
    Nothing,
    /// This token, for this long; without a term until the browser closes.
    Set(SessionToken, Option<Duration>),
    Removal,
}

/// The end of a request that stores something.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct PendingEnd {
    session: Session,
    head: Head,
    stage: Stage,
}

enum Stage {
    /// A clone of the handle is waiting for the store: that comes first.
    Busy(Pin<Box<dyn Future<Output = Result<Turn, SessionError>> + Send>>),
    Commit(Box<Commit>),
}

impl Session {
    /// Commits, or if there is nothing to store, closes.
    pub(crate) fn end(&self, head: Head) -> End {
        if !self.is_busy() {
            let mut state = self.state();
            let plan = Plan::new(state.situation(head, self.presented_at()));
            if plan.step() == Step::Done(Outcome::KEPT) {
                state.pending = Pending::default();
                return End::Closed(self.close_state(&mut state));
            }
        }
        match self.try_turn() {
            Some(turn) => self.end_in_turn(head, turn),
            None => {
                let session = self.clone();
                let turn = Box::pin(async move { session.turn().await });
                self.pending(head, Stage::Busy(turn))
            }
        }
    }

    fn end_in_turn(&self, head: Head, turn: Turn) -> End {
        let mut state = self.state();
        match Commit::begin(self, &mut state, head, turn) {
            Ok(commit) => {
                drop(state);
                self.pending(head, Stage::Commit(commit))
            }
            Err(turn) => {
                state.pending = Pending::default();
                let closed = self.close_state(&mut state);
                // Whoever waits for the turn is woken without the lock.
                drop(state);
                drop(turn);
                End::Closed(closed)
            }
        }
    }

    fn pending(&self, head: Head, stage: Stage) -> End {
        End::Pending(PendingEnd { session: self.clone(), head, stage })
    }

    /// Ends the time in which a cookie can be sent, and says what has to be sent.
    pub(crate) fn close(&self) -> Closed {
        self.close_state(&mut self.state())
    }

    #[inline]
    fn close_state(&self, state: &mut State) -> Closed {
        state.head_sent = true;
        let cookie = match state.issued.take() {
            Some(issued) => {
                // A clone, so that the box wipes its own: what is moved out stays in its memory.
                let Issued { token, until } = &*issued;
                let now = self.config().now();
                CookieToSend::Set(token.clone(), until.map(|until| until.saturating_since(now)))
            }
            None if state.logged_out && self.presented_at().is_some() => CookieToSend::Removal,
            None => CookieToSend::Nothing,
        };
        Closed { cookie, accessed: state.accessed }
    }
}

impl PendingEnd {
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

impl Future for PendingEnd {
    type Output = (Verdict, Closed);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let verdict = match &mut self.stage {
                Stage::Commit(commit) => ready!(Pin::new(commit).poll(cx)).outcome.verdict,
                Stage::Busy(turn) => match ready!(turn.as_mut().poll(cx)) {
                    Ok(turn) => match self.session.end_in_turn(self.head, turn) {
                        End::Closed(closed) => return Poll::Ready((Verdict::Kept, closed)),
                        End::Pending(end) => {
                            *self = end;
                            continue;
                        }
                    },
                    // Nothing was to be stored any more.
                    Err(_) if self.head == Head::Failed => Verdict::Kept,
                    // What the clone is doing may be done or not.
                    Err(_) => Verdict::Failed,
                },
            };
            return Poll::Ready((verdict, self.session.close()));
        }
    }
}
