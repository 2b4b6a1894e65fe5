//! A session store of one's own in about 100 lines, and the proof that it keeps the contract.
//!
//! It changes encoded records under a lock. In a database, a transaction or a compare-and-swap takes the
//! lock's place, and a method returns `StoreFuture::boxed(async move { … })`.
//!
//! `cargo run --example custom_store`

use std::{collections::BTreeMap, sync::Mutex};

use tower_wristband::{
    Timestamp as Time, UserId as User,
    store::{
        Change, Proof, Record, Rotated, SessionKey as Key, SessionStore, SessionSummary as Summary,
        StoreError, StoreErrorKind, StoreFuture as Answer, Updated,
    },
    testing::contract,
};

/// Whose the record is, since ending a session must not need to decode it; and the encoded record.
type Rows = BTreeMap<Key, (Option<User>, Vec<u8>)>;

#[derive(Default)]
pub(crate) struct CustomStore(pub(crate) Mutex<Rows>);

fn living(rows: &Rows, key: Key, now: Time) -> Result<Option<Record>, StoreError> {
    let record = rows.get(&key).map(|(_, blob)| Record::decode(blob)).transpose()?;
    Ok(record.filter(|record| record.is_alive(now)))
}

/// The user's living sessions in the order of their keys. One that can't be decoded is skipped.
fn sessions(rows: &Rows, user: &User, now: Time) -> impl Iterator<Item = Summary> {
    let theirs = rows.iter().filter(|(_, (owner, _))| owner.as_ref() == Some(user));
    theirs.filter_map(move |(key, _)| Some(living(rows, *key, now).ok()??.summary(*key)))
}

/// Ends the user's oldest sessions but one, until so many others are left.
fn end_oldest(rows: &mut Rows, user: &User, but: Option<Key>, keep: usize, now: Time) -> usize {
    let mut ending: Vec<_> = sessions(rows, user, now).collect();
    ending.retain(|session| Some(session.key()) != but);
    ending.sort_by_key(|session| (session.authenticated_at(), session.key()));
    ending.truncate(ending.len().saturating_sub(keep));
    ending.iter().filter_map(|session| rows.remove(&session.key())).count()
}

fn put(rows: &mut Rows, key: Key, record: &Record, cap: Option<usize>, now: Time) {
    rows.insert(key, (record.user().cloned(), record.encode()));
    if let (Some(cap), Some(user)) = (cap, record.user()) {
        end_oldest(rows, user, Some(key), cap.saturating_sub(1), now);
    }
}

impl CustomStore {
    fn with<T>(&self, run: impl FnOnce(&mut Rows) -> Result<T, StoreError>) -> Answer<T> {
        Answer::ready(run(&mut self.0.lock().expect("nothing panics under the lock")))
    }

    /// Changes a living record. The record knows what the contract allows.
    fn change<T, F>(&self, key: Key, cap: Option<usize>, now: Time, gone: T, change: F) -> Answer<T>
    where
        F: FnOnce(&mut Record) -> T,
    {
        self.with(|rows| {
            let Some(mut record) = living(rows, key, now)? else { return Ok(gone) };
            let (logins, answer) = (record.logins(), change(&mut record));
            // The cap is for what has bound the session to a user, not for what was refused.
            put(rows, key, &record, cap.filter(|_| record.logins() > logins), now);
            Ok(answer)
        })
    }
}

impl SessionStore for CustomStore {
    fn load(&self, key: Key, _: Proof, now: Time) -> Answer<Option<Record>> {
        self.with(|rows| living(rows, key, now))
    }

    fn create(&self, key: Key, record: Record, cap: Option<usize>, now: Time) -> Answer<()> {
        self.with(|rows| {
            if rows.contains_key(&key) {
                return Err(StoreError::new(StoreErrorKind::Collision));
            }
            put(rows, key, &record, cap, now);
            Ok(())
        })
    }

    fn update(
        &self,
        key: Key,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Time,
    ) -> Answer<Updated> {
        self.change(key, None, now, Updated::Gone, |it| it.update(&change, logins, expect, now))
    }

    fn rotate(
        &self,
        key: Key,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Time,
    ) -> Answer<Rotated> {
        self.change(key, cap, now, Rotated::Gone, |it| it.rotate(from, to, &change, now))
    }

    fn touch(&self, key: Key, logins: u32, now: Time) -> Answer<bool> {
        self.change(key, None, now, false, |it| it.touch(logins, now))
    }

    fn destroy(&self, key: Key, owner: Option<User>, now: Time) -> Answer<bool> {
        self.with(|rows| {
            let was_living = matches!(living(rows, key, now), Ok(Some(_)));
            let is_theirs =
                rows.get(&key).is_some_and(|(user, _)| owner.is_none() || *user == owner);
            Ok(is_theirs && rows.remove(&key).is_some() && was_living)
        })
    }

    fn list(
        &self,
        user: User,
        after: Option<Key>,
        limit: usize,
        now: Time,
    ) -> Answer<Vec<Summary>> {
        self.with(|rows| {
            let behind = sessions(rows, &user, now).filter(|it| Some(it.key()) > after);
            Ok(behind.take(limit).collect())
        })
    }

    fn destroy_user(&self, user: User, but: Option<Key>, keep: usize, now: Time) -> Answer<usize> {
        self.with(|rows| {
            let ended = end_oldest(rows, &user, but, keep, now);
            // What can't be decoded ends as well.
            rows.retain(|key, (owner, blob)| {
                owner.as_ref() != Some(&user) || Some(*key) == but || Record::decode(blob).is_ok()
            });
            Ok(ended)
        })
    }

    fn sweep(&self, limit: usize, now: Time) -> Answer<usize> {
        let expired = |blob: &[u8]| Record::decode(blob).is_ok_and(|record| !record.is_alive(now));
        self.with(|rows| Ok(rows.extract_if(.., |_, (_, blob)| expired(blob)).take(limit).count()))
    }

    fn check(&self, _: Time) -> Answer<()> {
        Answer::ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), contract::Violation> {
    contract::check_all(CustomStore::default()).await?;
    println!("all {} checks of the store contract have passed", contract::CHECKS.len());
    Ok(())
}
