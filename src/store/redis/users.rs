//! All sessions of a user: the index, which holds hints, and what goes by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::join_all;
use redis::Value;

use super::{
    RedisStore,
    error::{store_error, unexpected},
    format::{self, Entry, Member},
    reply,
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    record::{Record, SessionSummary},
    report,
    token::SessionKey,
    user::UserId,
};

/// How many sessions are asked for, or ended, at a time.
pub(super) const BATCH: usize = 128;

/// How many members of an index the server is asked for at a time.
const CHUNK: usize = 1000;

/// A page of a list is filled from at most so many keys at a time, and from some more than it
/// needs: some may have expired.
const MOST_CANDIDATES: usize = 4000;
const SPARE_CANDIDATES: usize = 100;

/// What the hints of one session have led to.
pub(super) struct Seen {
    key: SessionKey,
    hints: Vec<Entry>,
    found: Found,
}

enum Found {
    /// The user's living session.
    Living(Box<Record>),
    /// Something that can't be decoded here.
    Unreadable(StoreError),
    Nothing,
}

impl Found {
    fn of(user: &UserId, answer: &Value, now: Timestamp) -> Self {
        match format::head(answer) {
            Ok(Some(record)) if record.is_alive(now) && record.user() == Some(user) => {
                Self::Living(Box::new(record))
            }
            Ok(_) => Self::Nothing,
            Err(error) => Self::Unreadable(error),
        }
    }
}

impl Seen {
    /// The living session, and the hint of the last login on it: others are left of logins before,
    /// or belong to one that is to come.
    pub(super) fn login(&self) -> Option<(Entry, &Record)> {
        let Found::Living(record) = &self.found else { return None };
        let last = Entry::new(self.key, record.started_at());
        self.hints.contains(&last).then_some((last, record))
    }
}

/// The newest sessions by authentication time, then key.
pub(super) struct Newest {
    most: usize,
    kept: BTreeSet<(Timestamp, SessionKey)>,
    /// The same by the key.
    started: HashMap<SessionKey, Timestamp>,
}

impl Newest {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: BTreeSet::new(), started: HashMap::new() }
    }

    /// Takes a session in, and answers the login that is too many.
    pub(super) fn push(&mut self, record: &Record, key: SessionKey) -> Option<Entry> {
        // Seen again after another login, it is still one session.
        if let Some(before) = self.started.insert(key, record.started_at()) {
            self.kept.remove(&(before, key));
        }
        self.kept.insert((record.started_at(), key));
        if self.kept.len() <= self.most {
            return None;
        }
        let (started, oldest) = self.kept.pop_first()?;
        self.started.remove(&oldest);
        Some(Entry::new(oldest, started))
    }
}

impl RedisStore {
    /// Removes members from the index: of sessions that the caller itself has ended.
    pub(super) async fn forget(
        &self,
        user: &UserId,
        members: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.index(user));
        for member in members {
            command.arg(member);
        }
        self.link.send(&command).await.map(drop).map_err(store_error)
    }

    /// Looks at the records that hints lead to, at each once, in the order of their keys.
    pub(super) async fn look(
        &self,
        user: &UserId,
        hints: impl Iterator<Item = Entry>,
        now: Timestamp,
    ) -> Result<Vec<Seen>, StoreError> {
        let mut of_session = BTreeMap::<SessionKey, Vec<Entry>>::new();
        for hint in hints {
            of_session.entry(hint.key).or_default().push(hint);
        }
        let looking = of_session.into_iter().map(|(key, hints)| async move {
            let found = match self.ask_for_record(key).await {
                Ok(answer) => Found::of(user, &answer, now),
                // A key of another type.
                Err(error) if error.kind() == StoreErrorKind::Corrupt => Found::Unreadable(error),
                Err(error) => return Err(error),
            };
            Ok(Seen { key, hints, found })
        });
        join_all(looking).await.into_iter().collect()
    }

    /// Ends sessions if they are the user's, those with a login only as long as it is the last one
    /// on them, and takes them out of the index, with the hints that led to them. Answers how many
    /// were alive.
    pub(super) async fn end(
        &self,
        user: &UserId,
        sessions: impl IntoIterator<Item = (SessionKey, Option<Entry>)>,
        hints: &[Entry],
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let ending = sessions.into_iter().map(|(key, login)| async move {
            (key, self.remove_record(key, Some(user), login, now).await)
        });
        let (mut alive, mut forgotten, mut failed) = (0, Vec::new(), None);
        let mut removed = BTreeSet::new();
        for (key, answer) in join_all(ending).await {
            match answer {
                Ok(Some(found)) => {
                    alive += usize::from(found.was_alive);
                    forgotten.extend(found.indexed.into_iter().flat_map(|(_, e)| e.members()));
                    removed.insert(key);
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        let led = hints.iter().filter(|entry| removed.contains(&entry.key));
        forgotten.extend(led.flat_map(|entry| entry.members()));
        if !forgotten.is_empty() {
            // The sessions have ended, whatever becomes of the hints.
            _ = self.forget(user, forgotten).await;
        }
        failed.map_or(Ok(alive), Err)
    }

    pub(super) async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut newest = Newest::new(keep_newest);
        let (mut ended, mut is_first) = (0, true);
        loop {
            let (ended_now, was_one_answer) =
                self.end_once(&user, except, &mut newest, now).await?;
            ended += ended_now;
            // Where to go on means nothing to another server, which may have taken over: so all is
            // seen when it was seen once more and nothing was found.
            if was_one_answer || (ended_now == 0 && !is_first) {
                return Ok(ended);
            }
            is_first = false;
        }
    }

    /// Goes through the index of the user. Answers how many living sessions it has ended, and
    /// whether the server told all at once.
    async fn end_once(
        &self,
        user: &UserId,
        except: Option<SessionKey>,
        newest: &mut Newest,
        now: Timestamp,
    ) -> Result<(usize, bool), StoreError> {
        let (mut cursor, mut ended, mut answers) = (Vec::from(*b"0"), 0, 0);
        loop {
            let mut others;
            answers += 1;
            (cursor, others) = self.scan(user, &cursor).await?;
            others.retain(|entry| Some(entry.key) != except);
            for batch in others.chunks(BATCH) {
                let mut ending = BTreeSet::new();
                if newest.most == 0 {
                    ending.extend(batch.iter().map(|entry| entry.key));
                } else {
                    for Seen { key, found, .. } in
                        self.look(user, batch.iter().copied(), now).await?
                    {
                        match found {
                            Found::Living(record) => {
                                ending.extend(newest.push(&record, key).map(|login| login.key));
                            }
                            // Nobody can say that it is one of the newest.
                            Found::Unreadable(_) => _ = ending.insert(key),
                            Found::Nothing => {}
                        }
                    }
                }
                // Whatever the last login on them is.
                let ending = ending.into_iter().map(|key| (key, None));
                ended += self.end(user, ending, batch, now).await?;
            }
            if cursor == b"0" {
                return Ok((ended, answers == 1));
            }
        }
    }

    pub(super) async fn list_sessions(
        &self,
        user: UserId,
        mut after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, StoreError> {
        let mut page = Vec::new();
        let mut most = limit.saturating_add(SPARE_CANDIDATES).min(MOST_CANDIDATES);
        while page.len() < limit {
            let (candidates, are_all) = self.lowest_keys(&user, after, most).await?;
            for batch in candidates.chunks(BATCH) {
                for Seen { key, found, .. } in self.look(&user, batch.iter().copied(), now).await? {
                    match found {
                        Found::Living(record) => page.push(record.summary(key)),
                        Found::Unreadable(error) => report::corrupt(key, &error),
                        Found::Nothing => {}
                    }
                }
                if page.len() >= limit {
                    break;
                }
            }
            if are_all {
                break;
            }
            after = candidates.last().map(|entry| entry.key);
            // Many hints lead to sessions that have ended: fewer looks at the whole index.
            most = MOST_CANDIDATES;
        }
        page.truncate(limit);
        Ok(page)
    }

    /// Of the index, the lowest keys behind `after` in their order; and whether there are no
    /// others.
    async fn lowest_keys(
        &self,
        user: &UserId,
        after: Option<SessionKey>,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        let mut lowest = BTreeMap::new();
        let mut are_all = true;
        // Where to go on means nothing to another server, which may take over in between: so all is
        // gone through twice then. Which server of a Cluster has the index can't be told.
        for _ in 0..2 {
            let (server, mut cursor, mut answers) = (self.link.server(), Vec::from(*b"0"), 0);
            loop {
                let entries;
                answers += 1;
                (cursor, entries) = self.scan(user, &cursor).await?;
                for entry in entries {
                    if Some(entry.key) > after {
                        lowest.insert(entry.key, entry);
                    }
                    if lowest.len() > most {
                        lowest.pop_last();
                        are_all = false;
                    }
                }
                if cursor == b"0" {
                    break;
                }
            }
            if answers == 1 || (server.is_some() && server == self.link.server()) {
                break;
            }
        }
        Ok((lowest.into_values().collect(), are_all))
    }

    /// Some members of the index, and where to go on; zero at the beginning and at the end. A
    /// member that is there all the while is found, perhaps twice.
    pub(super) async fn scan(
        &self,
        user: &UserId,
        cursor: &[u8],
    ) -> Result<(Vec<u8>, Vec<Entry>), StoreError> {
        let mut command = redis::cmd("ZSCAN");
        command.arg(self.index(user)).arg(cursor).arg("COUNT").arg(CHUNK);
        let answer = self.link.send(&command).await.map_err(store_error)?;
        let Some([cursor, members]) = reply::list(&answer) else { return Err(unexpected()) };
        let cursor = reply::bytes(cursor).ok_or_else(unexpected)?;
        let members = reply::pairs(members).ok_or_else(unexpected)?;
        let members = members.into_iter().filter_map(|(member, _)| Member::read(member));
        let hints = members.filter(|member| !member.is_mark).map(|member| member.entry);
        Ok((cursor.into(), hints.collect()))
    }
}
