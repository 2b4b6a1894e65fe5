//! Logins: they are announced in the index, and then see to the cap.

use std::collections::BTreeSet;

use futures_util::future::join;
use redis::Value;

use super::{
    RedisStore,
    error::{store_error, unexpected},
    format::{Entry, Member},
    reply,
    script::{ANNOUNCE, SETTLE},
    users::{BATCH, Newest, Seen},
};
use crate::{clock::Timestamp, error::StoreError, report, token::SessionKey, user::UserId};

/// What the index has said when a login was announced.
#[derive(Default)]
pub(super) struct Index {
    hints: Vec<Entry>,
    /// Those that have settled.
    marks: BTreeSet<Entry>,
    /// There are too many of them to be answered at once.
    is_long: bool,
}

impl Index {
    fn read(members: &[u8]) -> Self {
        let mut index = Self { is_long: members == b"*", ..Self::default() };
        for member in Member::read_all(members) {
            if member.is_mark {
                index.marks.insert(member.entry);
            } else {
                index.hints.push(member.entry);
            }
        }
        index
    }

    /// The hints of other sessions than this.
    pub(super) fn others(&self, key: SessionKey) -> impl Iterator<Item = Entry> {
        self.hints.iter().filter(move |entry| entry.key != key).copied()
    }
}

impl RedisStore {
    /// Writes a hint into the index, before the record. Answers what is in it if the cap may
    /// have no room for another session.
    pub(super) async fn announce(
        &self,
        user: &UserId,
        entry: Entry,
        deadline: Timestamp,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<Index, StoreError> {
        let now = now.as_unix_millis().to_string();
        let deadline = deadline.as_unix_millis().to_string();
        let cap = cap.map(|cap| cap.max(1).to_string()).unwrap_or_default();
        let arguments = [now.as_bytes(), &entry.bytes(), deadline.as_bytes(), cap.as_bytes()];
        let answer = ANNOUNCE.run(&self.link, &self.index(user), &arguments).await;
        let answer = answer.map_err(store_error)?;
        Ok(Index::read(reply::bytes(&answer).ok_or_else(unexpected)?))
    }

    /// Ends the oldest of the user's sessions beyond the cap, but never the one just bound. It is
    /// stored by then, and stands if this fails: a client that was told otherwise would be without
    /// a session that it has.
    pub(super) async fn enforce(
        &self,
        login: Option<(UserId, Entry)>,
        cap: Option<usize>,
        index: &Index,
        others: Result<Vec<Seen>, StoreError>,
        now: Timestamp,
    ) {
        let (Some((user, own)), Some(cap)) = (login, cap.map(|cap| cap.max(1))) else { return };
        if let Err(error) = self.end_oldest(&user, own, cap, index, others, now).await {
            report::store_failed("enforce_cap", &error);
        }
    }

    async fn end_oldest(
        &self,
        user: &UserId,
        own: Entry,
        cap: usize,
        index: &Index,
        others: Result<Vec<Seen>, StoreError>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if index.is_long {
            self.settle_stored(user, own.key, now).await?;
        }
        let mut newest = Newest::new(cap - 1);
        let (mut stored, mut too_many) = (Vec::new(), Vec::new());
        for seen in &others? {
            match seen.login() {
                Some((login, record)) if index.marks.contains(&login) => {
                    too_many.extend(newest.push(record, login.key));
                }
                Some((login, _)) => stored.push(login),
                None => {}
            }
        }
        stored.push(own);
        // Those can end already: whoever settles meanwhile is one more.
        let ending = self.end_logins(user, too_many, now);
        let (settled, ended) = join(self.settle(user, &stored, cap), ending).await;
        ended?;
        let rest: Vec<Entry> = Member::read_all(&settled?)
            .map(|member| member.entry)
            .filter(|entry| entry.key != own.key && !index.marks.contains(entry))
            .collect();
        for batch in rest.chunks(BATCH) {
            let mut too_many = Vec::new();
            for seen in self.look(user, batch.iter().copied(), now).await? {
                if let Some((login, record)) = seen.login() {
                    too_many.extend(newest.push(record, login.key));
                }
            }
            self.end_logins(user, too_many, now).await?;
        }
        Ok(())
    }

    /// Ends sessions unless there was another login on them meanwhile: that one is newer than the
    /// caller's, and sees to the cap itself.
    async fn end_logins(
        &self,
        user: &UserId,
        logins: Vec<Entry>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let logins = logins.into_iter().map(|entry| (entry.key, Some(entry)));
        self.end(user, logins, &[], now).await
    }

    /// Settles all logins that are stored, a batch at a time.
    async fn settle_stored(
        &self,
        user: &UserId,
        except: SessionKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut cursor = Vec::from(*b"0");
        loop {
            let mut others;
            (cursor, others) = self.scan(user, &cursor).await?;
            others.retain(|entry| entry.key != except);
            for batch in others.chunks(BATCH) {
                let seen = self.look(user, batch.iter().copied(), now).await?;
                let stored = seen.iter().filter_map(Seen::login);
                let stored: Vec<Entry> = stored.map(|(login, _)| login).collect();
                if !stored.is_empty() {
                    self.settle(user, &stored, usize::MAX).await?;
                }
            }
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// Settles logins that were found to be stored, and the caller's behind them. Answers all that
    /// have settled before, if they may be too many.
    async fn settle(
        &self,
        user: &UserId,
        entries: &[Entry],
        cap: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let cap = cap.to_string();
        let entries: Vec<_> = entries.iter().map(|entry| entry.bytes()).collect();
        let arguments: Vec<&[u8]> =
            [cap.as_bytes()].into_iter().chain(entries.iter().map(|entry| &entry[..])).collect();
        let answer = SETTLE.run(&self.link, &self.index(user), &arguments).await;
        match answer.map_err(store_error)? {
            Value::BulkString(settled) => Ok(settled),
            _ => Err(unexpected()),
        }
    }
}
