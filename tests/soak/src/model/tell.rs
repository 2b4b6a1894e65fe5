//! What is known, in words: for those who look for a fault.

use std::fmt;

use super::{Ending, Model, SessionId, TokenId};
use crate::browser::ACCOUNTS;

impl Model {
    pub(crate) fn tell(&self, token: TokenId) -> String {
        let own = self.tokens[token.0].endings.iter().map(|ending| &self.endings[ending.0]);
        let own: Vec<_> = own.map(ToString::to_string).collect();
        format!("{token:?} {own:?} of {}", self.tell_of_session(self.session(token)))
    }

    pub(crate) fn tell_of_key(&self, key: &str) -> String {
        let all = (0..self.sessions.len()).map(SessionId);
        let of_key = all.filter(|id| self.key(*id) == Some(key));
        of_key.map(|id| self.tell_of_session(id)).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn tell_of_session(&self, id: SessionId) -> String {
        let session = &self.sessions[id.0];
        let endings: Vec<_> =
            self.endings_of(id, &[]).map(|(ending, _)| ending.to_string()).collect();
        format!(
            "{id:?} ({:?}, {:?} old, idle for {:?} of {:?}) {endings:?}",
            session.account.map(|account| ACCOUNTS[account].0),
            session.born.1.elapsed(),
            session.let_in.elapsed(),
            session.idle,
        )
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.settled {
            _ if self.void => "not at all".to_owned(),
            None => "not yet".to_owned(),
            Some((at, surely)) => {
                format!("{:?} ago, {}", at.elapsed(), if surely { "surely" } else { "perhaps" })
            }
        };
        write!(f, "{:?}, asked {:?} ago, done {how}", self.target, self.started.elapsed())
    }
}
