//! What a session is, without regard to how stores keep it.

use std::collections::BTreeMap;

use tower_wristband::{
    Timestamp,
    store::{Proof, RecordParts},
};

use super::step::{Action, Delta, Step, Term, Version};

/// The data of a session: names and the text of the values.
type Fields = BTreeMap<String, String>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    Gone,
    Conflict,
}

/// Moments are in milliseconds.
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) version: u64,
    pub(super) proof: u8,
    pub(super) logins: u32,
    rotated_at: Option<u64>,
    user: Option<String>,
    label: Option<String>,
    created_at: u64,
    authenticated_at: Option<u64>,
    last_seen_at: u64,
    term: Term,
    fields: Fields,
}

impl Model {
    pub(super) fn new(now: u64, term: Term) -> Self {
        Self {
            now,
            version: 0,
            proof: 0,
            logins: 0,
            rotated_at: None,
            user: None,
            label: None,
            created_at: now,
            authenticated_at: None,
            last_seen_at: now,
            term,
            fields: Fields::new(),
        }
    }

    fn absolute_deadline(&self) -> u64 {
        self.authenticated_at.unwrap_or(self.created_at) + self.term.absolute() * 1000
    }

    pub(super) fn is_alive(&self) -> bool {
        let idle_deadline = self.last_seen_at + self.term.idle() * 1000;
        self.now < idle_deadline.min(self.absolute_deadline())
    }

    pub(super) fn answer(&mut self, step: &Step<'_>, number: u8) -> Answer {
        if !self.is_alive() {
            return Answer::Gone;
        }
        match &step.action {
            Action::Touch | Action::Update(_) | Action::UpdateOf(..) if step.is_stale => {
                return Answer::Gone;
            }
            Action::RotateFromAnother(_) => return Answer::Gone,
            Action::Touch => self.see(),
            Action::Update(delta) | Action::UpdateOf(_, delta) | Action::Rotate(delta)
                if self.is_of_another_user_than(delta) =>
            {
                return Answer::Gone;
            }
            Action::UpdateOf(Version::Another, _) => return Answer::Conflict,
            Action::Update(delta) | Action::UpdateOf(Version::Current, delta) => {
                self.apply(delta, number);
            }
            Action::Rotate(delta) => {
                self.proof = number;
                self.rotated_at = Some(self.now);
                self.apply(delta, number);
            }
        }
        Answer::Stored
    }

    fn is_of_another_user_than(&self, delta: &Delta<'_>) -> bool {
        let owner = self.user.as_deref();
        owner.is_some_and(|owner| delta.user.is_some_and(|user| user.id() != owner))
    }

    fn see(&mut self) {
        self.last_seen_at = self.last_seen_at.max(self.now.min(self.absolute_deadline()));
    }

    fn apply(&mut self, delta: &Delta<'_>, version: u8) {
        self.version = version.into();
        if let Some(user) = delta.user {
            self.user = Some(user.id().to_owned());
            self.authenticated_at = Some(self.now);
            self.logins += 1;
        }
        if let Some(label) = delta.label() {
            self.label = Some(label.to_owned());
        }
        self.term = delta.term.unwrap_or(self.term);
        if delta.clears_fields {
            self.fields.clear();
        }
        for (name, value) in delta.fields.iter().filter(|(name, _)| name.is_valid()) {
            match value {
                Some(value) => self.fields.insert(name.text().to_owned(), value.json().to_string()),
                None => self.fields.remove(name.text()),
            };
        }
        self.see();
    }

    pub(super) fn parts(&self) -> RecordParts<'_> {
        RecordParts {
            version: self.version,
            proof: proof(self.proof),
            rotated_at: self.rotated_at.map(at),
            logins: self.logins,
            user: self.user.as_deref(),
            label: self.label.as_deref(),
            created_at: at(self.created_at),
            authenticated_at: self.authenticated_at.map(at),
            last_seen_at: at(self.last_seen_at),
            lifetime: self.term.lifetime(),
            fields: self.fields.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect(),
        }
    }
}

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

pub(super) fn proof(number: u8) -> Proof {
    Proof::from_bytes([number; 32])
}
