//! What a request has of its session, and what it wants changed.

use smol_str::SmolStr;

use super::{
    pending::Pending,
    plan::{Head, Situation, Standing as PlanStanding},
};
use crate::{
    clock::Timestamp,
    record::Record,
    token::{SessionKey, SessionToken},
    user::UserId,
};

/// What the request's cookie came to.
#[derive(Default)]
pub(crate) enum Standing {
    /// No living session.
    #[default]
    Vacant,
    /// This session, as it was last seen in the store.
    Live { key: SessionKey, record: Record },
    /// The token has just been replaced by a rotation.
    Superseded,
    /// Two living sessions.
    Ambiguous([SessionKey; 2]),
}

impl Standing {
    /// What two tokens come to: two living sessions, the one that lives, a superseded one. Their
    /// order plays no part.
    #[inline]
    pub(crate) fn add(&mut self, other: Self) {
        match (&*self, &other) {
            (Self::Live { key, .. }, Self::Live { key: other, .. }) => {
                *self = Self::Ambiguous([*key, *other]);
            }
            (Self::Vacant, _) | (_, Self::Live { .. }) => *self = other,
            _ => {}
        }
    }
}

/// A token that is in the store.
pub(crate) struct Issued {
    pub(crate) token: SessionToken,
    /// Until when the browser keeps it; without, until it is closed.
    pub(crate) until: Option<Timestamp>,
}

impl Issued {
    pub(crate) fn new(token: SessionToken, record: &Record) -> Box<Self> {
        let ends_with_browser = record.lifetime().ends_with_browser();
        let until = (!ends_with_browser).then(|| record.absolute_deadline());
        Box::new(Self { token, until })
    }
}

/// The state behind a handle.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) standing: Standing,
    pub(crate) pending: Pending,
    /// Sessions that the pending login leaves behind: they end when it is stored.
    pub(crate) left_behind: Vec<SessionKey>,
    /// Sessions that a stored login has left behind: they are to end now.
    pub(crate) to_end: Vec<SessionKey>,
    /// What the client is to be given.
    pub(crate) issued: Option<Box<Issued>>,
    /// A rotation was wished for and has not come about: another may hold the token that it was to
    /// make worthless.
    pub(crate) rotation_missed: bool,
    /// The session was ended by this request.
    pub(crate) logged_out: bool,
    /// Something was read or written: the response depends on the cookie.
    pub(crate) accessed: bool,
    pub(crate) head_sent: bool,
}

impl State {
    pub(crate) fn live(&self) -> Option<(SessionKey, &Record)> {
        match &self.standing {
            Standing::Live { key, record } => Some((*key, record)),
            _ => None,
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.live().map(|(_, record)| record)
    }

    /// The record of the session `key`, unless the handle has meanwhile come to stand for another.
    pub(crate) fn record_mut(&mut self, key: SessionKey) -> Option<&mut Record> {
        match &mut self.standing {
            Standing::Live { key: current, record } if *current == key => Some(record),
            _ => None,
        }
    }

    pub(crate) fn user(&self) -> Option<&UserId> {
        self.pending.login.as_ref().or_else(|| self.record()?.user())
    }

    /// A field as this request sees it.
    pub(crate) fn value(&self, name: &str) -> Option<&SmolStr> {
        match self.pending.fields.get(name) {
            Some(json) => json.as_ref(),
            None if self.pending.clears > 0 => None,
            None => self.record()?.fields.value(name),
        }
    }

    /// Names and values as this request sees them, in bytes.
    pub(crate) fn data_bytes(&self) -> usize {
        let written: usize = self
            .pending
            .fields
            .iter()
            .filter_map(|(name, json)| Some(name.as_str().len() + json.as_ref()?.len()))
            .sum();
        let kept: usize = match self.record() {
            Some(record) if self.pending.clears == 0 => record
                .fields()
                .filter(|(name, _)| !self.pending.fields.contains_key(*name))
                .map(|(name, json)| name.len() + json.len())
                .sum(),
            _ => 0,
        };
        written + kept
    }

    /// Wishes to bind `user`. Whatever belongs to another user is left behind.
    pub(crate) fn log_in(&mut self, user: UserId) {
        let is_others = self.user().is_some_and(|current| *current != user);
        match &self.standing {
            Standing::Live { key, .. } if is_others => {
                self.left_behind.push(*key);
                self.start_afresh();
            }
            Standing::Ambiguous(keys) => {
                self.left_behind.extend(*keys);
                self.start_afresh();
            }
            Standing::Superseded => self.standing = Standing::Vacant,
            _ if is_others => self.start_afresh(),
            _ => {}
        }
        self.pending.login = Some(user);
    }

    /// Leaves a session behind that a clone of the handle has logged somebody else in on since the
    /// pending login was wished for.
    pub(crate) fn leave_others_session(&mut self) {
        if let (Some(login), Some((key, record))) = (&self.pending.login, self.live())
            && record.user().is_some_and(|user| user != login)
        {
            self.left_behind.push(key);
            self.standing = Standing::Vacant;
        }
    }

    /// A login is in the store that leaves these behind. What another login has left since stays.
    pub(crate) fn login_is_stored(&mut self, leaves: &[SessionKey]) {
        self.to_end.extend(self.left_behind.extract_if(.., |key| leaves.contains(key)));
    }

    /// Forgets what a commit has dealt with. What a login that is not stored was to leave behind
    /// lives on.
    pub(crate) fn retire(&mut self, dealt_with: &Pending) {
        self.pending.retire(dealt_with);
        if self.pending.login.is_none() {
            self.left_behind.clear();
        }
    }

    /// Without a session and without wishes.
    pub(crate) fn start_afresh(&mut self) {
        self.standing = Standing::Vacant;
        self.pending = self.pending.afresh();
        self.rotation_missed = false;
    }

    #[inline]
    pub(crate) fn situation(&self, head: Head, presented_at: Option<Timestamp>) -> Situation {
        let pending = &self.pending;
        Situation {
            standing: match self.standing {
                Standing::Vacant => PlanStanding::Vacant,
                Standing::Live { .. } => PlanStanding::Live,
                Standing::Superseded => PlanStanding::Superseded,
                Standing::Ambiguous(_) => PlanStanding::Ambiguous,
            },
            head,
            login: pending.login.is_some(),
            same_user: pending.login.is_some()
                && self.record().and_then(Record::user) == pending.login.as_ref(),
            rotate: pending.rotate,
            content: pending.has_content(),
            change: pending.wants_change(),
            touch: self.record().zip(presented_at).is_some_and(|(record, now)| {
                record.lifetime().touch_is_due(record.last_seen_at(), now)
            }),
            ends: self.to_end.len() + self.left_behind.len(),
        }
    }
}
