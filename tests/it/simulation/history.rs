//! What was done and seen, and what of it must not have been.

use std::{fmt, time::Duration};

use http::HeaderValue;
use tower_wristband::SessionKey;

use super::{
    caps::CAPPED,
    plan::Moment,
    streams::{Stream, Touch},
};

/// Something that a node was told is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    pub node: usize,
    pub at: Moment,
}

/// A session.
#[derive(Debug)]
pub struct Life {
    pub user: usize,
    pub key: SessionKey,
    pub tokens: Vec<Token>,
    /// What was written, the values of a counter.
    pub writes: Vec<(u64, Done)>,
    pub ends: Vec<Done>,
    /// When somebody first tried to end it.
    pub may_end: Option<Moment>,
}

#[derive(Debug)]
pub struct Token {
    pub cookie: HeaderValue,
    pub got: Done,
    /// When somebody tried to rotate the session that had it.
    pub may_end: Option<Moment>,
}

/// A request that has been answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    pub node: usize,
    pub begin: Moment,
    pub end: Moment,
    pub session: usize,
    pub token: usize,
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With what the counter was, if that was asked for.
    Admitted(Option<u64>),
    Refused,
    /// The store could not be asked.
    Failed,
}

/// All sessions of a user are to be ended.
#[derive(Debug)]
pub struct Purge {
    pub user: usize,
    /// Until when sessions may be ended by it; for ever, if that is not known.
    pub end: Option<Moment>,
}

#[derive(Debug, Default)]
pub struct History {
    pub lives: Vec<Life>,
    pub purges: Vec<Purge>,
    pub visits: Vec<Visit>,
    pub streams: Vec<Stream>,
    pub touches: Vec<Touch>,
    /// The users who had more sessions than they may have.
    pub crowds: Vec<(usize, Moment)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The session had ended.
    Ended,
    /// The token had been replaced by another.
    Superseded,
    /// What had been written was not seen.
    Stale,
    /// The session was alive.
    Refused,
    /// A login that was one too many had ended the session.
    Crowded,
    /// There were more sessions of a user than there may be.
    Uncapped,
    /// A stream was told that its session had ended, and that was alive.
    Cut,
    /// A stream was told too late that its session had ended.
    Late,
    /// A stream was told another reason than there was.
    Misled,
    /// A touch was done after the end, or not done before it.
    Touched,
}

/// What must not have been.
#[derive(Debug)]
pub struct Violation {
    pub kind: Kind,
    pub what: String,
}

impl History {
    /// The first request that was answered wrongly, or user who had too many sessions. What was done on a node is known there at once,
    /// and on others when the bound of those has passed.
    pub fn violation(&self, bound: impl Fn(usize) -> Duration) -> Option<Violation> {
        let visit = self.visits.iter().find_map(|visit| self.wrong(visit, bound(visit.node)));
        visit.or_else(|| {
            let what = format!("{:?}", self.crowds.first()?);
            Some(Violation { kind: Kind::Uncapped, what })
        })
    }

    fn wrong(&self, visit: &Visit, bound: Duration) -> Option<Violation> {
        let life = &self.lives[visit.session];
        let is_known = |done: &Done| {
            let after = if done.node == visit.node { Duration::ZERO } else { bound };
            done.at + after < visit.begin
        };
        let violation = |kind, done: Option<Done>| {
            let done = done.map(|done| (done, visit.begin - done.at));
            Some(Violation { kind, what: format!("{visit:?}, and {done:?} before") })
        };
        let is_capped = CAPPED.contains(&life.user);
        let kind_of_end = if is_capped { Kind::Crowded } else { Kind::Ended };
        match visit.answer {
            Answer::Admitted(seen) => {
                if let Some(end) = life.ends.iter().find(|end| is_known(end)) {
                    return violation(kind_of_end, Some(*end));
                }
                let mut newer = life.tokens[visit.token + 1..].iter().map(|token| token.got);
                if let Some(got) = newer.find(|got| is_known(got)) {
                    return violation(Kind::Superseded, Some(got));
                }
                let mut writes = life.writes.iter();
                let missed = writes
                    .find(|(value, done)| seen.is_some_and(|seen| seen < *value) && is_known(done));
                missed.and_then(|(_, done)| violation(Kind::Stale, Some(*done)))
            }
            Answer::Refused => {
                let is_over = |may_end: Option<Moment>| may_end.is_some_and(|at| at <= visit.end);
                let may = is_over(life.may_end) || is_over(life.tokens[visit.token].may_end);
                if may { None } else { violation(Kind::Refused, None) }
            }
            Answer::Failed => None,
        }
    }

    /// How many requests to this node, that began in this time, were answered so.
    pub fn count(&self, node: usize, from: Moment, is_such: fn(Answer) -> bool) -> usize {
        let such = |visit: &&Visit| visit.node == node && visit.begin >= from;
        self.visits.iter().filter(such).filter(|visit| is_such(visit.answer)).count()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}
