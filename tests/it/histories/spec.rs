//! What a store does, one operation after the other: written from the contract, and with nothing of
//! the crate's.

use std::collections::BTreeMap;

use stateright::semantics::SequentialSpec;

/// Which of a history's users.
pub type User = usize;
pub type Fields = BTreeMap<&'static str, u64>;

/// A session as it is stored. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub version: u64,
    pub proof: u64,
    pub rotated_at: Option<u64>,
    pub logins: u32,
    pub user: Option<User>,
    pub label: Option<u8>,
    pub created_at: u64,
    pub authenticated_at: Option<u64>,
    pub last_seen_at: u64,
    pub fields: Fields,
}

/// A line of a page of devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub label: Option<u8>,
    pub created_at: u64,
    pub authenticated_at: u64,
    pub last_seen_at: u64,
}

/// A delta.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub version: u64,
    pub user: Option<User>,
    pub label: Option<u8>,
    pub clears: bool,
    pub fields: Vec<(&'static str, Option<u64>)>,
}

impl Stored {
    fn apply(&mut self, delta: &Delta, now: u64) {
        self.version = delta.version;
        if delta.user.is_some() {
            self.user = delta.user;
            self.authenticated_at = Some(now);
            self.logins += 1;
        }
        self.label = delta.label.or(self.label);
        if delta.clears {
            self.fields.clear();
        }
        for (name, value) in &delta.fields {
            match value {
                Some(value) => self.fields.insert(name, *value),
                None => self.fields.remove(name),
            };
        }
        self.last_seen_at = self.last_seen_at.max(now);
    }

    /// A session belongs to one user in its life.
    fn may_bind(&self, delta: &Delta) -> bool {
        self.user.is_none() || delta.user.is_none() || self.user == delta.user
    }

    fn line(&self) -> Line {
        Line {
            label: self.label,
            created_at: self.created_at,
            authenticated_at: self.authenticated_at.expect("it is on a user's page"),
            last_seen_at: self.last_seen_at,
        }
    }
}

/// An operation on one session, or what an operation on a user's sessions does to one.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Create { proof: u64, delta: Delta, now: u64 },
    Load,
    Update { delta: Delta, logins: u32, expect: Option<u64>, now: u64 },
    Rotate { from: u64, to: u64, delta: Delta, now: u64 },
    Touch { logins: u32, now: u64 },
    Destroy { owner: Option<User> },
    List { user: User },
    DestroyUser { user: User },
}

impl Op {
    /// Whether it can't change anything: without it, a history is no less linearizable.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Load | Self::List { .. })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Created,
    Collision,
    Loaded(Option<Stored>),
    Written,
    Gone,
    /// With the session as it is, where the store has it at hand.
    Conflict(Option<Stored>),
    Alive(bool),
    Removed(bool),
    Listed(Option<Line>),
    /// How many it removed says nothing of one session.
    Ended,
}

#[derive(Clone, Debug, Default)]
pub struct Session {
    stored: Option<Stored>,
    /// What was removed may stay unavailable for a while, so that a `create` that is delivered
    /// twice does not bring it back.
    was_there: bool,
}

impl Session {
    fn same(&mut self, logins: u32) -> Option<&mut Stored> {
        self.stored.as_mut().filter(|stored| stored.logins == logins)
    }

    fn end(&mut self) -> bool {
        self.stored.take().is_some()
    }
}

impl SequentialSpec for Session {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match *op {
            Op::Create { .. } if self.stored.is_some() => Answer::Collision,
            Op::Create { proof, ref delta, now } => {
                let mut stored = Stored {
                    version: 0,
                    proof,
                    rotated_at: None,
                    logins: 0,
                    user: None,
                    label: None,
                    created_at: now,
                    authenticated_at: None,
                    last_seen_at: now,
                    fields: Fields::new(),
                };
                stored.apply(delta, now);
                self.stored = Some(stored);
                self.was_there = true;
                Answer::Created
            }
            Op::Load => Answer::Loaded(self.stored.clone()),
            Op::Update { ref delta, logins, expect, now } => match self.same(logins) {
                Some(stored) if stored.may_bind(delta) => {
                    if expect.is_some_and(|version| version != stored.version) {
                        return Answer::Conflict(Some(stored.clone()));
                    }
                    stored.apply(delta, now);
                    Answer::Written
                }
                _ => Answer::Gone,
            },
            Op::Rotate { from, to, ref delta, now } => match &mut self.stored {
                Some(stored) if stored.proof == to => Answer::Written,
                Some(stored) if stored.proof == from && stored.may_bind(delta) => {
                    stored.proof = to;
                    stored.rotated_at = Some(now);
                    stored.apply(delta, now);
                    Answer::Written
                }
                _ => Answer::Gone,
            },
            Op::Touch { logins, now } => Answer::Alive(match self.same(logins) {
                Some(stored) => {
                    stored.last_seen_at = stored.last_seen_at.max(now);
                    true
                }
                None => false,
            }),
            Op::Destroy { owner } => {
                let user = self.stored.as_ref().and_then(|stored| stored.user);
                Answer::Removed((owner.is_none() || owner == user) && self.end())
            }
            Op::List { user } => {
                let theirs = self.stored.as_ref().filter(|stored| stored.user == Some(user));
                Answer::Listed(theirs.map(Stored::line))
            }
            Op::DestroyUser { user } => {
                if self.stored.as_ref().is_some_and(|stored| stored.user == Some(user)) {
                    self.end();
                }
                Answer::Ended
            }
        }
    }

    fn is_valid_step(&mut self, op: &Op, answer: &Answer) -> bool {
        if matches!(op, Op::Create { .. }) && *answer == Answer::Collision {
            return self.was_there;
        }
        match (self.invoke(op), answer) {
            (Answer::Conflict(_), Answer::Conflict(None)) => true,
            (expected, answer) => expected == *answer,
        }
    }
}
