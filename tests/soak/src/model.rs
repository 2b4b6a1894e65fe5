//! What is known of the site's sessions: from it follows what a request has to be answered.
//!
//! What may end a session takes time, and so does a request. One that was sent when the other had been
//! answered must be refused; one that was answered before the other was sent must be let in; in between,
//! both are right.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// For how long the site may still work on a request whose connection was cut.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(30);

/// How many of a session's requests.
const REMEMBERED: usize = 64;

const BURIED_AFTER: Duration = Duration::from_secs(20);

/// Clocks are read at both ends.
const MARGIN: Duration = Duration::from_millis(100);

mod effect;
mod tell;
#[cfg(test)]
mod tests;

pub(crate) use effect::Verdict;
use effect::{Ending, effect, worse};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndingId(usize);

/// What is about to end.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Token(TokenId),
    Session(SessionId),
    /// Whatever session has this key.
    Key(String),
    Others {
        account: usize,
        but: SessionId,
    },
}

#[derive(Debug)]
struct Known {
    /// Whose it is; none for a visitor's.
    account: Option<usize>,
    key: Option<String>,
    /// When it was asked for, and when it was there.
    born: (Instant, Instant),
    /// None if it lives longer than anybody here waits.
    idle: Option<Duration>,
    /// When the latest request that was let in was sent.
    let_in: Instant,
    /// Requests that were let in: when each was answered, and when it was sent. That is activity, at the least;
    /// who looks before the answer may not see it yet.
    activity: VecDeque<(Instant, Instant)>,
    /// Until when there may have been activity.
    active_until: Instant,
    in_flight: usize,
    endings: Vec<EndingId>,
    /// It may be that of a newer login that nobody knows of yet, or ever.
    key_is_passed_on: bool,
    /// Dead for a while: its endings need not be looked at again.
    buried: bool,
}

#[derive(Debug)]
struct Token {
    session: SessionId,
    let_in: Option<Instant>,
    endings: Vec<EndingId>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: Vec<Known>,
    tokens: Vec<Token>,
    endings: Vec<Ending>,
    /// Those that are about more than one token or session.
    wide: Vec<EndingId>,
}

impl Model {
    pub(crate) fn add_session(
        &mut self,
        account: Option<usize>,
        key: Option<String>,
        sent: Instant,
        idle: Option<Duration>,
    ) -> SessionId {
        let now = Instant::now();
        self.sessions.push(Known {
            account,
            key,
            born: (sent, now),
            idle,
            let_in: sent,
            activity: VecDeque::from([(now, sent)]),
            active_until: now,
            in_flight: 0,
            endings: Vec::new(),
            key_is_passed_on: false,
            buried: false,
        });
        SessionId(self.sessions.len() - 1)
    }

    pub(crate) fn add_token(&mut self, session: SessionId) -> TokenId {
        self.tokens.push(Token { session, let_in: None, endings: Vec::new() });
        TokenId(self.tokens.len() - 1)
    }

    pub(crate) fn session(&self, token: TokenId) -> SessionId {
        self.tokens[token.0].session
    }

    pub(crate) fn key(&self, session: SessionId) -> Option<&str> {
        self.sessions[session.0].key.as_deref()
    }

    pub(crate) fn set_key(&mut self, session: SessionId, key: String) {
        self.sessions[session.0].key = Some(key);
    }

    /// A login over this session is about to be sent, or has been answered.
    pub(crate) fn pass_key_on(&mut self, session: SessionId, perhaps: bool) {
        self.sessions[session.0].key_is_passed_on = perhaps;
    }

    /// Whether it lives longer than anybody here waits.
    pub(crate) fn is_remembered(&self, session: SessionId) -> bool {
        self.sessions[session.0].idle.is_none()
    }

    pub(crate) fn is_visitor(&self, token: TokenId) -> bool {
        self.sessions[self.session(token).0].account.is_none()
    }

    /// A request that may end something is about to be sent.
    pub(crate) fn ending(&mut self, target: Target) -> EndingId {
        let id = EndingId(self.endings.len());
        match target {
            Target::Token(token) => self.tokens[token.0].endings.push(id),
            Target::Session(session) => self.sessions[session.0].endings.push(id),
            Target::Key(_) | Target::Others { .. } => self.wide.push(id),
        }
        self.endings.push(Ending { target, started: Instant::now(), settled: None, void: false });
        id
    }

    /// It has been answered.
    pub(crate) fn settle(&mut self, ending: EndingId, surely: bool) {
        self.endings[ending.0].settled = Some((Instant::now(), surely));
    }

    /// A request with this token is over that was to end something: has it surely? None without an answer that
    /// says so.
    pub(crate) fn conclude(&mut self, token: TokenId, ending: EndingId, surely: Option<bool>) {
        match surely {
            Some(surely) => {
                self.lose(token, Duration::ZERO);
                self.settle(ending, surely);
            }
            None => {
                self.lose(token, AFTERMATH);
                self.abandon(ending);
            }
        }
    }

    /// Its connection was cut, or the store may have failed.
    pub(crate) fn abandon(&mut self, ending: EndingId) {
        self.endings[ending.0].settled = Some((Instant::now() + AFTERMATH, false));
    }

    /// It was cut before all of it was sent.
    pub(crate) fn forget(&mut self, ending: EndingId) {
        self.endings[ending.0].void = true;
    }

    /// A request with this token is about to be sent.
    pub(crate) fn begin(&mut self, token: TokenId) -> Instant {
        let session = self.session(token);
        self.sessions[session.0].in_flight += 1;
        Instant::now()
    }

    /// It has been let in or refused: is that right? What it was to end itself is no excuse.
    pub(crate) fn judge(
        &mut self,
        token: TokenId,
        sent: Instant,
        own: &[EndingId],
        let_in: bool,
    ) -> Result<Verdict> {
        let verdict = self.verdict(token, sent, own);
        let session = self.session(token);
        self.finish(session, Instant::now());
        if let_in {
            let session = &mut self.sessions[session.0];
            session.let_in = session.let_in.max(sent);
            session.activity.push_back((Instant::now(), sent));
            if session.activity.len() > REMEMBERED {
                session.activity.pop_front();
            }
            let token = &mut self.tokens[token.0];
            token.let_in = token.let_in.max(Some(sent));
        } else if verdict == Verdict::Either {
            // Refused once, refused for ever.
            let ending = self.ending(Target::Token(token));
            self.settle(ending, true);
        }
        match (verdict, let_in) {
            (Verdict::In, false) => {
                bail!("refused, although nothing has ended {}", self.tell(token))
            }
            (Verdict::Out, true) => {
                bail!("let in, although something has ended {}", self.tell(token))
            }
            _ => Ok(verdict),
        }
    }

    /// Its connection was cut, or its answer says nothing of the session.
    pub(crate) fn lose(&mut self, token: TokenId, aftermath: Duration) {
        let session = self.session(token);
        self.finish(session, Instant::now() + aftermath);
    }

    fn finish(&mut self, session: SessionId, until: Instant) {
        let session = &mut self.sessions[session.0];
        session.in_flight -= 1;
        session.active_until = session.active_until.max(until);
    }

    /// Of an answer that has just arrived, to a request with this token.
    pub(crate) fn verdict(&self, token: TokenId, sent: Instant, own: &[EndingId]) -> Verdict {
        let Token { session, let_in, endings } = &self.tokens[token.0];
        let mut verdict = self.verdict_of_session(*session, sent, 1, own);
        for ending in endings.iter().filter(|ending| !own.contains(ending)) {
            verdict = worse(verdict, effect(&self.endings[ending.0], sent, *let_in, true));
        }
        verdict
    }

    /// Of a session that is being looked at since `sent`, in `requests` with a token of it.
    pub(crate) fn verdict_of_session(
        &self,
        id: SessionId,
        sent: Instant,
        requests: usize,
        own: &[EndingId],
    ) -> Verdict {
        let session = &self.sessions[id.0];
        if session.buried {
            return Verdict::Out;
        }
        let mut verdict = if session.born.1 > sent { Verdict::Either } else { Verdict::In };
        for (ending, surely) in self.endings_of(id, own) {
            verdict = worse(verdict, effect(ending, sent, Some(session.let_in), surely));
        }
        let Some(idle) = session.idle else { return verdict };
        if session.in_flight <= requests && sent > session.active_until + idle + MARGIN {
            Verdict::Out
        } else if Instant::now() + MARGIN > session.seen(sent) + idle {
            worse(verdict, Verdict::Either)
        } else {
            verdict
        }
    }

    /// What may end a session, and whether that surely ends it when it happens.
    fn endings_of<'a>(
        &'a self,
        id: SessionId,
        but: &'a [EndingId],
    ) -> impl Iterator<Item = (&'a Ending, bool)> {
        let session = &self.sessions[id.0];
        let (asked, there) = session.born;
        let others = |ending: &&EndingId| !but.contains(ending);
        let own = session.endings.iter().filter(others);
        let own = own.map(|ending| (&self.endings[ending.0], true));
        let wide = self.wide.iter().filter(others).map(|ending| &self.endings[ending.0]);
        let wide = wide.filter(move |ending| {
            let came_later = ending.settled.is_some_and(|(settled, _)| settled <= asked);
            !came_later
                && !ending.void
                && match &ending.target {
                    Target::Key(key) => session.key.as_ref() == Some(key),
                    Target::Others { account, but } => {
                        session.account == Some(*account) && *but != id
                    }
                    Target::Token(_) | Target::Session(_) => false,
                }
        });
        own.chain(wide.map(move |ending| (ending, there <= ending.started)))
    }

    /// The end of a session by which streams that are open under it must have ended as well.
    pub(crate) fn end_of_session(&self, id: SessionId) -> Option<Instant> {
        let let_in = self.sessions[id.0].let_in;
        let sure = |(ending, surely): (&Ending, bool)| match ending.settled {
            Some((settled, true)) if surely && settled > let_in && !ending.void => Some(settled),
            _ => None,
        };
        self.endings_of(id, &[]).filter_map(sure).min()
    }

    /// When it expires at the latest, if nothing is in flight.
    pub(crate) fn expiry(&self, id: SessionId) -> Option<Instant> {
        let session = &self.sessions[id.0];
        session.idle.filter(|_| session.in_flight == 0).map(|idle| session.active_until + idle)
    }

    /// The keys of an account's sessions that live, and of those that don't, since `sent`.
    pub(crate) fn keys(
        &mut self,
        account: usize,
        sent: Instant,
    ) -> (HashSet<String>, HashSet<String>) {
        let (mut living, mut possible, mut dead) = (HashSet::new(), HashSet::new(), HashSet::new());
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if session.buried || session.account != Some(account) {
                continue;
            }
            let key = session.key.clone();
            let verdict = self.verdict_of_session(SessionId(index), sent, 0, &[]);
            // Until then it is looked for in the lists.
            let long_ago = sent.checked_sub(BURIED_AFTER).unwrap_or(sent);
            if verdict == Verdict::Out
                && self.verdict_of_session(SessionId(index), long_ago, 0, &[]) == Verdict::Out
            {
                self.sessions[index].buried = true;
            }
            let Some(key) = key else { continue };
            match verdict {
                _ if self.sessions[index].key_is_passed_on => possible.insert(key),
                Verdict::In => living.insert(key),
                Verdict::Out => dead.insert(key),
                Verdict::Either => possible.insert(key),
            };
        }
        // A login keeps the key: it is that of an older session, too.
        dead.retain(|key| !living.contains(key) && !possible.contains(key));
        living.retain(|key| !possible.contains(key));
        (living, dead)
    }

    /// Whether a session has this key, looked for since `sent`.
    pub(crate) fn verdict_of_key(&self, key: &str, sent: Instant, own: &[EndingId]) -> Verdict {
        let mut verdict = Verdict::Out;
        for (index, session) in self.sessions.iter().enumerate() {
            if !session.buried && session.key.as_deref() == Some(key) {
                match self.verdict_of_session(SessionId(index), sent, 0, own) {
                    Verdict::In => return Verdict::In,
                    Verdict::Out if !session.key_is_passed_on => {}
                    Verdict::Either | Verdict::Out => verdict = Verdict::Either,
                }
            }
        }
        verdict
    }

    pub(crate) fn alive(&self) -> usize {
        let now = Instant::now();
        let all = 0..self.sessions.len();
        all.filter(|id| self.verdict_of_session(SessionId(*id), now, 0, &[]) != Verdict::Out)
            .count()
    }
}

impl Known {
    /// The latest activity that whoever looks since then has to know of.
    fn seen(&self, since: Instant) -> Instant {
        let answered = self.activity.iter().filter(|(answered, _)| *answered <= since);
        answered.map(|(_, sent)| *sent).max().unwrap_or(self.born.0)
    }
}
