//! A store that keeps each part of a record in a column of its own, with the public API alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tower_wristband::{
    Lifetime, SessionKey as Key, SessionSummary, StoreError, StoreErrorKind, Timestamp, UserId,
    store::{
        Change, ChangeParts, Proof, Record, RecordParts, Rotated, SessionStore, StoreFuture,
        Updated,
    },
    testing::contract,
};

/// The values of the rows that have one.
type Column<T> = BTreeMap<Key, T>;

/// Two tables: the sessions, times in milliseconds and durations in seconds; and their fields.
#[derive(Default)]
struct Columns {
    version: Column<u64>,
    proof: Column<[u8; 32]>,
    rotated_at: Column<u64>,
    logins: Column<u32>,
    user: Column<String>,
    label: Column<String>,
    created_at: Column<u64>,
    authenticated_at: Column<u64>,
    last_seen_at: Column<u64>,
    idle: Column<u64>,
    absolute: Column<u64>,
    touch_interval: Column<u64>,
    until_browser_closes: Column<bool>,
    fields: BTreeMap<(Key, String), String>,
}

impl Columns {
    fn insert(&mut self, key: Key, record: &Record) {
        let RecordParts {
            version,
            proof,
            rotated_at,
            logins,
            user,
            label,
            created_at,
            authenticated_at,
            last_seen_at,
            lifetime,
            fields,
        } = record.parts();
        let millis = Timestamp::as_unix_millis;
        self.version.insert(key, version);
        self.proof.insert(key, *proof.as_bytes());
        self.rotated_at.extend(rotated_at.map(|at| (key, millis(at))));
        self.logins.insert(key, logins);
        self.user.extend(user.map(|user| (key, user.to_owned())));
        self.label.extend(label.map(|label| (key, label.to_owned())));
        self.created_at.insert(key, millis(created_at));
        self.authenticated_at.extend(authenticated_at.map(|at| (key, millis(at))));
        self.last_seen_at.insert(key, millis(last_seen_at));
        self.set_lifetime(key, lifetime);
        for (name, json) in fields {
            self.fields.insert((key, name.to_owned()), json.to_owned());
        }
    }

    fn set_lifetime(&mut self, key: Key, lifetime: Lifetime) {
        self.idle.insert(key, lifetime.idle().as_secs());
        self.absolute.insert(key, lifetime.absolute().as_secs());
        self.touch_interval.insert(key, lifetime.touch_interval().as_secs());
        self.until_browser_closes.insert(key, lifetime.ends_with_browser());
    }

    /// The record without its fields.
    fn parts(&self, key: Key) -> RecordParts<'_> {
        let at = |millis: &u64| Timestamp::from_unix_millis(*millis);
        let seconds = |column: &Column<u64>| Duration::from_secs(column[&key]);
        let mut lifetime = Lifetime::new(seconds(&self.idle), seconds(&self.absolute))
            .with_touch_interval(seconds(&self.touch_interval));
        if self.until_browser_closes[&key] {
            lifetime = lifetime.until_browser_closes();
        }
        RecordParts {
            version: self.version[&key],
            proof: Proof::from_bytes(self.proof[&key]),
            rotated_at: self.rotated_at.get(&key).map(at),
            logins: self.logins[&key],
            user: self.user.get(&key).map(String::as_str),
            label: self.label.get(&key).map(String::as_str),
            created_at: at(&self.created_at[&key]),
            authenticated_at: self.authenticated_at.get(&key).map(at),
            last_seen_at: at(&self.last_seen_at[&key]),
            lifetime,
            fields: Vec::new(),
        }
    }

    fn record(&self, key: Key) -> Result<Record, StoreError> {
        let fields =
            self.fields.range((key, String::new())..).take_while(|((of, _), _)| *of == key);
        let fields = fields.map(|((_, name), json)| (name.as_str(), json.as_str())).collect();
        Record::from_parts(RecordParts { fields, ..self.parts(key) })
    }

    fn absolute_deadline(&self, key: Key) -> u64 {
        let start = self.authenticated_at.get(&key).unwrap_or(&self.created_at[&key]);
        start + 1000 * self.absolute[&key]
    }

    fn is_alive(&self, key: Key, now: u64) -> bool {
        self.version.contains_key(&key)
            && now < self.absolute_deadline(key)
            && now < self.last_seen_at[&key] + 1000 * self.idle[&key]
    }

    fn may_bind(&self, key: Key, user: Option<&UserId>) -> bool {
        let owner = self.user.get(&key).map(String::as_str);
        owner.is_none() || user.is_none() || owner == user.map(UserId::as_str)
    }

    fn see(&mut self, key: Key, now: u64) {
        let now = now.min(self.absolute_deadline(key));
        self.last_seen_at.entry(key).and_modify(|seen| *seen = now.max(*seen));
    }

    /// Writes what the delta names, and nothing else.
    fn apply(&mut self, key: Key, change: &Change, now: u64) {
        let ChangeParts { version, user, label, lifetime, clears_fields, fields } = change.parts();
        self.version.insert(key, version);
        if let Some(user) = user {
            self.user.insert(key, user.to_string());
            self.authenticated_at.insert(key, now);
            *self.logins.entry(key).or_default() += 1;
        }
        if let Some(label) = label {
            self.label.insert(key, label.to_owned());
        }
        if let Some(lifetime) = lifetime {
            self.set_lifetime(key, lifetime);
        }
        if clears_fields {
            self.fields.retain(|(of, _), _| *of != key);
        }
        for (name, json) in fields {
            let at = (key, name.to_owned());
            match json {
                Some(json) => self.fields.insert(at, json.to_owned()),
                None => self.fields.remove(&at),
            };
        }
        self.see(key, now);
    }

    fn delete(&mut self, key: Key) {
        let Self {
            version,
            proof,
            rotated_at,
            logins,
            user,
            label,
            created_at,
            authenticated_at,
            last_seen_at,
            idle,
            absolute,
            touch_interval,
            until_browser_closes,
            fields,
        } = self;
        for column in [
            version,
            rotated_at,
            created_at,
            authenticated_at,
            last_seen_at,
            idle,
            absolute,
            touch_interval,
        ] {
            column.remove(&key);
        }
        proof.remove(&key);
        logins.remove(&key);
        user.remove(&key);
        label.remove(&key);
        until_browser_closes.remove(&key);
        fields.retain(|(of, _), _| *of != key);
    }

    fn of_user(&self, user: &UserId, now: u64) -> impl Iterator<Item = Key> {
        let theirs = self.user.iter().filter(move |(_, owner)| *owner == user.as_str());
        theirs.map(|(key, _)| *key).filter(move |key| self.is_alive(*key, now))
    }

    fn end_oldest(&mut self, user: &UserId, but: Option<Key>, keep: usize, now: u64) -> usize {
        let others = self.of_user(user, now).filter(|key| Some(*key) != but);
        let mut ending: Vec<_> = others.map(|key| (self.authenticated_at[&key], key)).collect();
        ending.sort_unstable();
        ending.truncate(ending.len().saturating_sub(keep));
        for (_, key) in &ending {
            self.delete(*key);
        }
        ending.len()
    }

    fn enforce(&mut self, cap: Option<usize>, user: Option<&UserId>, key: Key, now: u64) {
        if let (Some(cap), Some(user)) = (cap, user) {
            self.end_oldest(user, Some(key), cap.saturating_sub(1), now);
        }
    }
}

#[derive(Default)]
struct ColumnsStore(Mutex<Columns>);

impl ColumnsStore {
    fn columns(&self) -> MutexGuard<'_, Columns> {
        self.0.lock().unwrap()
    }
}

impl SessionStore for ColumnsStore {
    fn load(&self, key: Key, _: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        let columns = self.columns();
        let alive = columns.is_alive(key, now.as_unix_millis());
        StoreFuture::ready(alive.then(|| columns.record(key)).transpose())
    }

    fn create(
        &self,
        key: Key,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        let mut columns = self.columns();
        if columns.version.contains_key(&key) {
            return StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Collision)));
        }
        columns.insert(key, &record);
        columns.enforce(cap, record.user(), key, now.as_unix_millis());
        StoreFuture::ok(())
    }

    fn update(
        &self,
        key: Key,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        let (mut columns, now) = (self.columns(), now.as_unix_millis());
        let is_same = columns.is_alive(key, now) && columns.logins[&key] == logins;
        if !is_same || !columns.may_bind(key, change.parts().user) {
            return StoreFuture::ok(Updated::Gone);
        }
        if expect.is_some_and(|version| version != columns.version[&key]) {
            return StoreFuture::ok(Updated::Conflict(None));
        }
        columns.apply(key, &change, now);
        StoreFuture::ok(Updated::Stored)
    }

    fn rotate(
        &self,
        key: Key,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        let (mut columns, now) = (self.columns(), now.as_unix_millis());
        let user = change.parts().user;
        if !columns.is_alive(key, now) {
            return StoreFuture::ok(Rotated::Gone);
        }
        let proof = Proof::from_bytes(columns.proof[&key]);
        if proof == to {
            return StoreFuture::ok(Rotated::Stored);
        }
        if proof != from || !columns.may_bind(key, user) {
            return StoreFuture::ok(Rotated::Gone);
        }
        columns.proof.insert(key, *to.as_bytes());
        columns.rotated_at.insert(key, now);
        columns.apply(key, &change, now);
        columns.enforce(cap, user, key, now);
        StoreFuture::ok(Rotated::Stored)
    }

    fn touch(&self, key: Key, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let (mut columns, now) = (self.columns(), now.as_unix_millis());
        let is_same = columns.is_alive(key, now) && columns.logins[&key] == logins;
        if is_same {
            columns.see(key, now);
        }
        StoreFuture::ok(is_same)
    }

    fn destroy(&self, key: Key, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        let mut columns = self.columns();
        let user = columns.user.get(&key).map(String::as_str);
        if owner.as_ref().is_some_and(|owner| user != Some(owner.as_str())) {
            return StoreFuture::ok(false);
        }
        let was_alive = columns.is_alive(key, now.as_unix_millis());
        columns.delete(key);
        StoreFuture::ok(was_alive)
    }

    fn list(
        &self,
        user: UserId,
        after: Option<Key>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        let columns = self.columns();
        let keys = columns.of_user(&user, now.as_unix_millis()).filter(|key| Some(*key) > after);
        // No fields are read for it.
        let summaries = keys.filter_map(|key| {
            let record = Record::from_parts(columns.parts(key)).ok()?;
            Some(record.summary(key))
        });
        StoreFuture::ok(summaries.take(limit).collect())
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<Key>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        let now = now.as_unix_millis();
        StoreFuture::ok(self.columns().end_oldest(&user, except, keep_newest, now))
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        let (mut columns, now) = (self.columns(), now.as_unix_millis());
        let expired = columns.version.keys().filter(|key| !columns.is_alive(**key, now));
        let expired: Vec<_> = expired.take(limit).copied().collect();
        for key in &expired {
            columns.delete(*key);
        }
        StoreFuture::ok(expired.len())
    }

    fn check(&self, _: Timestamp) -> StoreFuture<()> {
        StoreFuture::ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_columns_keeps_the_contract() {
    contract::check_all(ColumnsStore::default()).await.unwrap();
}
