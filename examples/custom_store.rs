//! A session store of one's own, and the proof that it keeps the contract.
//!
//! It changes blobs under a lock. In a database, a transaction takes the lock's place, and a method
//! returns `StoreFuture::boxed(async move { … })`.
#![cfg_attr(rustfmt, rustfmt::skip)] // A method's head takes one line.
use std::{collections::HashMap, sync::Mutex};
use tower_wristband::{Timestamp, UserId, store::*, testing::contract};

/// Whose the record is, since ending a session must not need to decode it; and the encoded record.
type Rows = HashMap<SessionKey, (Option<UserId>, Vec<u8>)>;

#[derive(Default)]
pub(crate) struct CustomStore(pub(crate) Mutex<Rows>);

fn living(rows: &Rows, key: SessionKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
    let record = rows.get(&key).map(|(_, blob)| Record::decode(blob)).transpose()?;
    Ok(record.filter(|record| record.is_alive(now)))
}
/// The user's living sessions, oldest first. One that can't be decoded is skipped.
fn sessions(rows: &Rows, user: &UserId, now: Timestamp) -> Vec<SessionSummary> {
    let theirs = rows.iter().filter(|(_, (owner, _))| owner.as_ref() == Some(user));
    let living = theirs.filter_map(|(key, _)| Some(living(rows, *key, now).ok()??.summary(*key)));
    let mut sessions: Vec<_> = living.collect();
    sessions.sort_by_key(|session| (session.authenticated_at(), session.key()));
    sessions
}
fn end_oldest(rows: &mut Rows, user: &UserId, but: Option<SessionKey>, keep: usize, now: Timestamp) -> usize {
    let mut ending = sessions(rows, user, now);
    ending.retain(|session| Some(session.key()) != but);
    ending.truncate(ending.len().saturating_sub(keep));
    ending.iter().filter_map(|session| rows.remove(&session.key())).count()
}
fn put(rows: &mut Rows, key: SessionKey, record: &Record, cap: Option<usize>, now: Timestamp) {
    rows.insert(key, (record.user().cloned(), record.encode()));
    if let (Some(cap), Some(user)) = (cap, record.user()) {
        end_oldest(rows, user, Some(key), cap.saturating_sub(1), now);
    }
}
impl CustomStore {
    fn with<T>(&self, run: impl FnOnce(&mut Rows) -> Result<T, StoreError>) -> StoreFuture<T> {
        StoreFuture::ready(run(&mut self.0.lock().expect("nothing panics under the lock")))
    }
    /// Changes a living record; the cap is for a change that binds it to a user.
    fn change<T>(&self, key: SessionKey, cap: Option<usize>, now: Timestamp, change: impl FnOnce(Option<&mut Record>) -> T) -> StoreFuture<T> {
        self.with(|rows| {
            let Some(mut record) = living(rows, key, now)? else { return Ok(change(None)) };
            let (logins, answer) = (record.logins(), change(Some(&mut record)));
            put(rows, key, &record, cap.filter(|_| record.logins() > logins), now);
            Ok(answer)
        })
    }
}
impl SessionStore for CustomStore {
    fn load(&self, key: SessionKey, _: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        self.with(|rows| living(rows, key, now))
    }
    fn create(&self, key: SessionKey, record: Record, cap: Option<usize>, now: Timestamp) -> StoreFuture<()> {
        self.with(|rows| match rows.contains_key(&key) {
            true => Err(StoreError::new(StoreErrorKind::Collision)),
            false => { put(rows, key, &record, cap, now); Ok(()) }
        })
    }
    fn update(&self, key: SessionKey, change: Change, logins: u32, expect: Option<u64>, now: Timestamp) -> StoreFuture<Updated> {
        self.change(key, None, now, |record| match record.filter(|record| record.logins() == logins) {
            Some(record) if expect.is_some_and(|version| version != record.version()) => Updated::Conflict(None),
            Some(record) => { record.apply(&change, now); Updated::Stored }
            None => Updated::Gone,
        })
    }
    fn rotate(&self, key: SessionKey, from: Proof, to: Proof, change: Change, cap: Option<usize>, now: Timestamp) -> StoreFuture<Rotated> {
        self.change(key, cap, now, |record| match (record, change.parts().user) {
            (Some(record), _) if record.proof() == to => Rotated::Stored,
            (Some(record), _) if record.proof() != from => Rotated::Gone,
            (Some(record), Some(user)) if record.user().is_some_and(|owner| owner != user) => Rotated::Gone,
            (Some(record), _) => { record.rotate(to, &change, now); Rotated::Stored }
            (None, _) => Rotated::Gone,
        })
    }
    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.change(key, None, now, |record| record.filter(|it| it.logins() == logins).map(|it| it.touch(now)).is_some())
    }
    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.with(|rows| {
            let was_living = matches!(living(rows, key, now), Ok(Some(_)));
            let is_theirs = rows.get(&key).is_some_and(|(user, _)| owner.is_none() || *user == owner);
            Ok(is_theirs && rows.remove(&key).is_some() && was_living)
        })
    }
    fn list(&self, user: UserId, after: Option<SessionKey>, limit: usize, now: Timestamp) -> StoreFuture<Vec<SessionSummary>> {
        self.with(|rows| {
            let mut page = sessions(rows, &user, now);
            page.retain(|session| Some(session.key()) > after);
            page.sort_by_key(SessionSummary::key);
            page.truncate(limit);
            Ok(page)
        })
    }
    fn destroy_user(&self, user: UserId, except: Option<SessionKey>, keep_newest: usize, now: Timestamp) -> StoreFuture<usize> {
        self.with(|rows| {
            let ended = end_oldest(rows, &user, except, keep_newest, now);
            // What can't be decoded ends as well.
            rows.retain(|key, (owner, blob)| owner.as_ref() != Some(&user) || Some(*key) == except || Record::decode(blob).is_ok());
            Ok(ended)
        })
    }
    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.with(|rows| {
            let expired = |blob: &[u8]| Record::decode(blob).is_ok_and(|record| !record.is_alive(now));
            Ok(rows.extract_if(|_, (_, blob)| expired(blob)).take(limit).count())
        })
    }
    fn check(&self, _: Timestamp) -> StoreFuture<()> { StoreFuture::ok(()) }
}

#[tokio::main]
async fn main() -> Result<(), contract::Violation> {
    contract::check_all(CustomStore::default()).await?;
    println!("all {} checks of the store contract have passed", contract::CHECKS.len());
    Ok(())
}
