//! A memory store that notes everything it is given, as a thief of the database would find it.

use std::sync::{Arc, Mutex};

use tower_wristband::{
    Lifetime, MemoryStore, SessionKey, Timestamp, UserId,
    store::{Change, Proof, Record, Rotated, SessionStore, SessionSummary, StoreFuture, Updated},
};

#[derive(Clone, Default)]
pub struct RecordingStore {
    inner: MemoryStore,
    dump: Arc<Mutex<Vec<u8>>>,
}

impl RecordingStore {
    /// All bytes that it was ever given.
    pub fn dump(&self) -> Vec<u8> {
        self.dump.lock().unwrap().clone()
    }

    fn note(&self, parts: &[&[u8]]) {
        let mut dump = self.dump.lock().unwrap();
        for part in parts {
            dump.extend_from_slice(part);
            dump.push(b'\n');
        }
    }

    /// Both as bytes and as text.
    fn note_key(&self, key: SessionKey) {
        self.note(&[key.as_bytes(), key.to_string().as_bytes()]);
    }

    fn note_record(&self, record: &Record) {
        self.note(&[&record.encode(), record.proof().as_bytes(), format!("{record:?}").as_bytes()]);
    }

    fn note_change(&self, change: &Change) {
        let mut record =
            Record::new(Proof::from_bytes([0; 32]), Lifetime::AAL2, Timestamp::from_unix_millis(0));
        record.apply(change, Timestamp::from_unix_millis(0));
        self.note(&[&record.encode(), format!("{change:?}").as_bytes()]);
    }
}

impl SessionStore for RecordingStore {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        self.note_key(key);
        self.note(&[proof.as_bytes()]);
        self.inner.load(key, proof, now)
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        self.note_key(key);
        self.note_record(&record);
        self.inner.create(key, record, cap, now)
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.note_key(key);
        self.note_change(&change);
        self.inner.update(key, change, logins, expect, now)
    }

    fn rotate(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        self.note_key(key);
        self.note(&[from.as_bytes(), to.as_bytes()]);
        self.note_change(&change);
        self.inner.rotate(key, from, to, change, cap, now)
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.note_key(key);
        self.inner.touch(key, logins, now)
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.note_key(key);
        self.inner.destroy(key, owner, now)
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.inner.list(user, after, limit, now)
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        self.inner.destroy_user(user, except, keep_newest, now)
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.inner.sweep(limit, now)
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.inner.check(now)
    }
}
