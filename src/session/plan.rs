//! What a commit must do, as a pure state machine: no store, no clock, no cookie.
//!
//! A [`Plan`] is made from the [`Situation`] at the end of a request. It names one [`Step`] after
//! the other, is told each [`Answer`], and comes to one [`Outcome`].

#[cfg(test)]
mod tests;

use std::fmt;

/// A taken key is as likely as a broken generator: a few attempts tell them apart.
const CREATE_ATTEMPTS: u8 = 3;

/// What the request has and wants when its commit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    pub(crate) standing: Standing,
    pub(crate) head: Head,
    /// A user is to be bound.
    pub(crate) login: bool,
    /// The user to be bound is the one that the session belongs to already.
    pub(crate) same_user: bool,
    /// A new token is wanted.
    pub(crate) rotate: bool,
    /// A field is to be written: reason enough for a new session.
    pub(crate) content: bool,
    /// Anything is to be written: fields, the label or the lifetime.
    pub(crate) change: bool,
    /// The request's activity is to be written.
    pub(crate) touch: bool,
    /// How many other sessions are to end, once no login is pending.
    pub(crate) ends: usize,
}

impl Situation {
    fn wants_anything(&self) -> bool {
        self.login || self.rotate || self.change
    }
}

/// What the request's cookie came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No session: a new one may be made.
    Vacant,
    /// A living session.
    Live,
    /// The token has just been replaced: the request has no session, and must not get a cookie.
    Superseded,
    /// Two living sessions: the request has none of them.
    Ambiguous,
}

/// What can still be said to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A cookie can go out, and the response is not an error of the server.
    Open,
    /// A cookie that the client may ignore (1xx), or none at all (the head has been sent).
    Cookieless,
    /// The server failed: what the request wanted is void.
    Failed,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Insert a new session with all that is pending, under a new token.
    Create,
    /// Apply the pending delta to the session.
    Update,
    /// Replace the token and apply the pending delta, binding the user if there is one.
    Rotate,
    /// Write that the session is active.
    Touch,
    /// Load the session, to learn why it couldn't be rotated.
    Look,
    /// End the other session of this number.
    End(usize),
    /// Nothing more.
    Done(Outcome),
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The session is not there any more, or not with this token.
    Gone,
    /// The new key is taken.
    Collision,
    /// There is no room for a new session.
    Full,
    /// The session lives, under another token.
    Superseded,
    /// The session has reached the end of its lifetime.
    Expired,
    /// The session was ended.
    Revoked,
    /// The store or the random generator failed.
    Failed,
}

/// How the response comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As the service made it.
    Kept,
    /// 401: the session was revoked while its user logged in on it.
    Refused,
    /// 503: what the request wanted is not, or not surely, stored.
    Failed,
}

/// Why what the request wanted was not stored although nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The request's token was replaced.
    Superseded,
    /// The request brought two living sessions.
    Ambiguous,
    /// The response is an error of the server.
    ServerError,
    /// The response can't carry a cookie.
    Cookieless,
    /// The session ended meanwhile.
    Gone,
    /// Another holder of the token was faster in replacing it, or the session ended meanwhile.
    RotationLost,
    /// The store has no room for anonymous sessions.
    Full,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "the request's token was replaced by a rotation",
            Self::Ambiguous => "the request brought two living sessions",
            Self::ServerError => "the response is an error of the server",
            Self::Cookieless => "the response can't carry a cookie",
            Self::Gone => "the session has ended",
            Self::RotationLost => "another has replaced the request's token",
            Self::Full => "the store is full",
        })
    }
}

/// The end of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) dropped: Option<Dropped>,
    /// The token that was to be replaced has been replaced by another holder.
    pub(crate) rotation_lost: bool,
}

impl Outcome {
    pub(crate) const KEPT: Self =
        Self { verdict: Verdict::Kept, dropped: None, rotation_lost: false };
}

/// The steps of one commit.
#[derive(Debug)]
pub(crate) struct Plan {
    situation: Situation,
    step: Step,
    outcome: Outcome,
    collisions: u8,
}

impl Plan {
    #[inline]
    pub(crate) fn new(situation: Situation) -> Self {
        let mut plan = Self {
            situation,
            step: Step::Done(Outcome::KEPT),
            outcome: Outcome::KEPT,
            collisions: 0,
        };
        plan.step = plan.first();
        plan
    }

    /// What is to be done now.
    #[inline]
    pub(crate) fn step(&self) -> Step {
        self.step
    }

    #[inline]
    fn first(&mut self) -> Step {
        let wanted = self.situation;
        let cookieless = wanted.head == Head::Cookieless;
        match (wanted.standing, wanted.head) {
            (Standing::Superseded, _) if wanted.wants_anything() => self.drop(Dropped::Superseded),
            (Standing::Ambiguous, _) if wanted.wants_anything() => self.drop(Dropped::Ambiguous),
            (Standing::Superseded | Standing::Ambiguous, _) => self.done(),

            (Standing::Vacant, _) if !wanted.login && !wanted.content => self.done(),
            (Standing::Vacant, Head::Open) => Step::Create,
            (Standing::Vacant, Head::Cookieless) => self.drop(Dropped::Cookieless),
            (Standing::Vacant, Head::Failed) => self.drop(Dropped::ServerError),

            (Standing::Live, Head::Failed) => {
                if wanted.wants_anything() {
                    self.outcome.dropped = Some(Dropped::ServerError);
                }
                self.touch_if_due()
            }
            (Standing::Live, _) if wanted.login || wanted.rotate => {
                if cookieless {
                    self.outcome.dropped = Some(Dropped::Cookieless);
                    self.update_or_touch()
                } else {
                    Step::Rotate
                }
            }
            (Standing::Live, _) => self.update_or_touch(),
        }
    }

    /// Takes in what came of the current step.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.step = match (self.step, answer) {
            (Step::Done(outcome), _) => Step::Done(outcome),

            // The response stays as it is even if its activity could not be written.
            (Step::Touch, _) => self.done(),

            // What is stored stays; that the other session may live on has to be said.
            (Step::End(index), answer) => {
                if answer == Answer::Failed {
                    self.outcome.verdict = Verdict::Failed;
                }
                self.end_others(index + 1)
            }

            // These need neither a new key nor room: a store that says so has failed.
            (Step::Update | Step::Rotate | Step::Look, Answer::Collision | Answer::Full) => {
                self.fail()
            }

            (Step::Create | Step::Rotate, Answer::Done) => self.end_others(0),
            (Step::Update, Answer::Done) => self.done(),

            (Step::Create, Answer::Full) if !self.situation.login => self.drop(Dropped::Full),
            (Step::Create, Answer::Collision) if self.collisions + 1 < CREATE_ATTEMPTS => {
                self.collisions += 1;
                Step::Create
            }

            (Step::Rotate, Answer::Gone) if self.situation.login => Step::Look,
            (Step::Rotate, Answer::Gone) => {
                self.outcome.rotation_lost = true;
                if self.situation.change { Step::Update } else { self.drop(Dropped::RotationLost) }
            }
            (Step::Update, Answer::Gone) => self.drop(Dropped::Gone),

            // The credentials have just been checked: a login survives the end of the session it
            // was made on, unless that was ended to keep this very user out.
            (Step::Look, Answer::Revoked) if self.situation.same_user => {
                self.outcome.verdict = Verdict::Refused;
                self.drop(Dropped::Gone)
            }
            (Step::Look, Answer::Superseded | Answer::Expired | Answer::Revoked) => Step::Create,

            // A failure, or an answer that this step can't have.
            (Step::Create | Step::Update | Step::Rotate | Step::Look, _) => self.fail(),
        };
    }

    #[inline]
    fn update_or_touch(&self) -> Step {
        if self.situation.change { Step::Update } else { self.touch_if_due() }
    }

    #[inline]
    fn touch_if_due(&self) -> Step {
        if self.situation.touch { Step::Touch } else { self.done() }
    }

    #[inline]
    fn end_others(&self, next: usize) -> Step {
        if next < self.situation.ends { Step::End(next) } else { Step::Done(self.outcome) }
    }

    fn drop(&mut self, reason: Dropped) -> Step {
        self.outcome.dropped = Some(reason);
        self.done()
    }

    fn fail(&mut self) -> Step {
        self.outcome.verdict = Verdict::Failed;
        self.done()
    }

    /// Nothing more but to end the sessions that an earlier login has left behind. Those of a login
    /// that is not stored live on.
    #[inline]
    fn done(&self) -> Step {
        if self.situation.login { Step::Done(self.outcome) } else { self.end_others(0) }
    }
}
