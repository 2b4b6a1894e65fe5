//! A session store of one's own in under 100 lines of code, and the proof that it keeps the contract.
//!
//! It changes encoded records under a lock. In a database, a transaction or a compare-and-swap
//! takes the lock's place, and a method returns `StoreFuture::boxed(async move { … })`.
//!
//! `cargo run --example custom_store`

use std::{collections::BTreeMap, sync::Mutex};

use tower_wristband::{
    Timestamp as Time, UserId as User,
    store::{
        Change, Proof, Record, Rotated, SessionKey as Key, SessionStore, SessionSummary as Summary,
        StoreError, StoreErrorKind, StoreFuture as Reply, Updated,
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

/// The keys of all the user's sessions, in their order.
fn keys(rows: &Rows, user: &User) -> impl Iterator<Item = Key> {
    rows.iter().filter(|(_, (owner, _))| owner.as_ref() == Some(user)).map(|(key, _)| *key)
}

/// Ends the user's oldest sessions but one, until so many others are left. First come those that
/// have no start: they have expired, or can't be decoded. Answers how many living ones it ended.
fn end_oldest(rows: &mut Rows, user: &User, but: Option<Key>, keep: usize, now: Time) -> usize {
    let start = |key| Some(living(rows, key, now).ok()??.started_at());
    let others = keys(rows, user).filter(|key| Some(*key) != but);
    let mut ending: Vec<_> = others.map(|key| (start(key), key)).collect();
    ending.sort();
    ending.truncate(ending.len().saturating_sub(keep));
    ending.iter().filter(|(start, key)| rows.remove(key).is_some() && start.is_some()).count()
}

fn put(rows: &mut Rows, key: Key, record: &Record, cap: Option<usize>, now: Time) {
    rows.insert(key, (record.user().cloned(), record.encode()));
    if let (Some(cap), Some(user)) = (cap, record.user()) {
        end_oldest(rows, user, Some(key), cap.saturating_sub(1), now);
    }
}

impl CustomStore {
    fn with<T>(&self, run: impl FnOnce(&mut Rows) -> Result<T, StoreError>) -> Reply<T> {
        Reply::ready(run(&mut self.0.lock().expect("nothing panics under the lock")))
    }

    /// Changes a living record. The record knows what the contract allows.
    fn change<T, F>(&self, key: Key, cap: Option<usize>, now: Time, gone: T, change: F) -> Reply<T>
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
    fn load(&self, key: Key, _: Proof, now: Time) -> Reply<Option<Record>> {
        self.with(|rows| living(rows, key, now))
    }

    fn create(&self, key: Key, record: Record, cap: Option<usize>, now: Time) -> Reply<()> {
        self.with(|rows| {
            let created = (!rows.contains_key(&key)).then(|| put(rows, key, &record, cap, now));
            created.ok_or_else(|| StoreError::new(StoreErrorKind::Collision))
        })
    }

    fn update(
        &self,
        key: Key,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Time,
    ) -> Reply<Updated> {
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
    ) -> Reply<Rotated> {
        self.change(key, cap, now, Rotated::Gone, |it| it.rotate(from, to, &change, now))
    }

    fn touch(&self, key: Key, logins: u32, now: Time) -> Reply<bool> {
        self.change(key, None, now, false, |it| it.touch(logins, now))
    }

    fn destroy(&self, key: Key, owner: Option<User>, now: Time) -> Reply<bool> {
        self.with(|rows| {
            let was_living = matches!(living(rows, key, now), Ok(Some(_)));
            let is_theirs = |(user, _): &mut _| owner.is_none() || *user == owner;
            Ok(rows.extract_if(key..=key, |_, row| is_theirs(row)).count() > 0 && was_living)
        })
    }

    fn list(&self, user: User, after: Option<Key>, limit: usize, now: Time) -> Reply<Vec<Summary>> {
        self.with(|rows| {
            let behind = keys(rows, &user).filter(|key| Some(*key) > after);
            let summary = |key| Some(living(rows, key, now).ok()??.summary(key));
            Ok(behind.filter_map(summary).take(limit).collect())
        })
    }

    fn destroy_user(&self, user: User, but: Option<Key>, keep: usize, now: Time) -> Reply<usize> {
        self.with(|rows| Ok(end_oldest(rows, &user, but, keep, now)))
    }

    fn sweep(&self, limit: usize, now: Time) -> Reply<usize> {
        let expired = |blob: &[u8]| Record::decode(blob).is_ok_and(|record| !record.is_alive(now));
        self.with(|rows| Ok(rows.extract_if(.., |_, (_, blob)| expired(blob)).take(limit).count()))
    }

    fn check(&self, _: Time) -> Reply<()> {
        Reply::ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), contract::Violation> {
    contract::check_all(CustomStore::default()).await?;
    println!("all {} checks of the store contract have passed", contract::CHECKS.len());
    Ok(())
}
