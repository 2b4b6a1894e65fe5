//! Stores that break the contract, one way each.

mod rotate;
mod update;

use std::sync::Arc;

use tower_wristband::{
    SessionKey, SessionSummary, StoreError, StoreErrorKind, Timestamp, UserId,
    store::{Change, Proof, Record, RecordParts, Rotated, SessionStore, StoreFuture, Updated},
};

use super::CustomStore;

/// What a careless author may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Defect {
    None,
    OverwritesTakenKeys,
    LosesTheLabel,
    LoadsTheExpired,
    LoadsByProof,
    UpdateCreates,
    UpdateIgnoresLogins,
    TouchIgnoresLogins,
    UpdateStopsAtRotation,
    UpdatesTheExpired,
    RotatesTheExpired,
    TouchesTheExpired,
    WritesWholeRecords,
    WritesFieldByField,
    RewritesJson,
    IgnoresExpect,
    WritesOnConflict,
    RotatesByDeleteAndCreate,
    RotatesFromAnyProof,
    RepeatsRotations,
    RotationRestartsLifetime,
    BindsAnotherUser,
    TouchMovesBack,
    TouchChangesTheVersion,
    DestroyRepeatsItsAnswer,
    IgnoresTheOwner,
    UpdatesAcrossDestroy,
    SweepsMoreThanAllowed,
    ListsFromTheStart,
    ListsInOrderOfAge,
    EndsTheException,
    KeepsNone,
    MissesTheBound,
    IgnoresTheCap,
    CapSparesOne,
    CapEndsTheNewcomer,
    CapsRefusedLogins,
    CapsRepeatedLogins,
    RotatesInTwoSteps,
    FailsItsCheck,
}

impl Defect {
    /// Each with the point that it breaks.
    pub(crate) const ALL: &[(Self, u8)] = &[
        (Self::OverwritesTakenKeys, 1),
        (Self::LosesTheLabel, 2),
        (Self::LoadsTheExpired, 2),
        (Self::LoadsByProof, 2),
        (Self::UpdateCreates, 3),
        (Self::UpdateIgnoresLogins, 3),
        (Self::TouchIgnoresLogins, 3),
        (Self::UpdateStopsAtRotation, 3),
        (Self::UpdatesTheExpired, 3),
        (Self::RotatesTheExpired, 3),
        (Self::TouchesTheExpired, 3),
        (Self::WritesWholeRecords, 4),
        (Self::WritesFieldByField, 4),
        (Self::RewritesJson, 4),
        (Self::IgnoresExpect, 5),
        (Self::WritesOnConflict, 5),
        (Self::RotatesByDeleteAndCreate, 6),
        (Self::RotatesFromAnyProof, 6),
        (Self::RepeatsRotations, 6),
        (Self::RotationRestartsLifetime, 6),
        (Self::BindsAnotherUser, 6),
        (Self::TouchMovesBack, 7),
        (Self::TouchChangesTheVersion, 7),
        (Self::DestroyRepeatsItsAnswer, 8),
        (Self::IgnoresTheOwner, 8),
        (Self::UpdatesAcrossDestroy, 8),
        (Self::SweepsMoreThanAllowed, 8),
        (Self::ListsFromTheStart, 9),
        (Self::ListsInOrderOfAge, 9),
        (Self::EndsTheException, 9),
        (Self::KeepsNone, 9),
        (Self::MissesTheBound, 9),
        (Self::IgnoresTheCap, 10),
        (Self::CapSparesOne, 10),
        (Self::CapEndsTheNewcomer, 10),
        (Self::CapsRefusedLogins, 10),
        (Self::CapsRepeatedLogins, 10),
        (Self::RotatesInTwoSteps, 11),
        (Self::FailsItsCheck, 12),
    ];
}

/// A careful store around which one operation is careless.
pub(crate) struct Careless {
    inner: Arc<CustomStore>,
    defect: Defect,
}

impl Careless {
    pub(crate) fn new(defect: Defect) -> Self {
        Self { inner: Arc::default(), defect }
    }
}

/// The answer of the careful store, which is always there.
fn answer<T>(future: StoreFuture<T>) -> T {
    future.into_ready().unwrap().unwrap()
}

/// The record as it is stored, alive or not.
fn peek(store: &CustomStore, key: SessionKey) -> Option<Record> {
    let rows = store.0.lock().unwrap();
    rows.get(&key).map(|(_, blob)| Record::decode(blob).unwrap())
}

fn poke(store: &CustomStore, key: SessionKey, record: &Record) {
    let row = (record.user().cloned(), record.encode());
    store.0.lock().unwrap().insert(key, row);
}

/// The record of other parts.
fn rebuilt(parts: RecordParts<'_>) -> Record {
    Record::from_parts(parts).unwrap()
}

impl SessionStore for Careless {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        match self.defect {
            Defect::LoadsTheExpired => StoreFuture::ok(peek(&self.inner, key)),
            Defect::LoadsByProof => {
                let found = answer(self.inner.load(key, proof, now));
                StoreFuture::ok(found.filter(|record| record.proof() == proof))
            }
            _ => self.inner.load(key, proof, now),
        }
    }

    fn create(
        &self,
        key: SessionKey,
        mut record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        let cap = match self.defect {
            Defect::OverwritesTakenKeys => {
                answer(self.inner.destroy(key, None, now));
                cap
            }
            Defect::LosesTheLabel => {
                record = rebuilt(RecordParts { label: None, ..record.parts() });
                cap
            }
            Defect::IgnoresTheCap => None,
            Defect::CapSparesOne => cap.map(|cap| cap + 1),
            Defect::CapEndsTheNewcomer => {
                let (true, Some(cap), Some(user)) =
                    (peek(&self.inner, key).is_none(), cap, record.user().cloned())
                else {
                    return self.inner.create(key, record, cap, now);
                };
                answer(self.inner.create(key, record, None, now));
                answer(self.inner.destroy_user(user, None, cap, now));
                return StoreFuture::ok(());
            }
            _ => cap,
        };
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
        self.update_carelessly(key, change, logins, expect, now)
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
        self.rotate_carelessly(key, from, to, change, cap, now)
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let before = peek(&self.inner, key);
        match (self.defect, before) {
            (Defect::TouchIgnoresLogins, Some(record)) => {
                return self.inner.touch(key, record.logins(), now);
            }
            (Defect::TouchMovesBack, Some(record)) if record.logins() == logins => {
                let seen = rebuilt(RecordParts { last_seen_at: now, ..record.parts() });
                let alive = record.is_alive(now);
                if alive {
                    poke(&self.inner, key, &seen);
                }
                return StoreFuture::ok(alive);
            }
            (Defect::TouchesTheExpired, Some(record)) if !record.is_alive(now) => {
                let seen = rebuilt(RecordParts { last_seen_at: now, ..record.parts() });
                poke(&self.inner, key, &seen);
                return StoreFuture::ok(false);
            }
            (Defect::TouchChangesTheVersion, Some(_)) => {
                let alive = answer(self.inner.touch(key, logins, now));
                if alive {
                    answer(self.inner.update(key, Change::new(1), logins, None, now));
                }
                return StoreFuture::ok(alive);
            }
            _ => {}
        }
        self.inner.touch(key, logins, now)
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        match self.defect {
            Defect::DestroyRepeatsItsAnswer if owner.is_none() => {
                answer(self.inner.destroy(key, owner, now));
                StoreFuture::ok(true)
            }
            Defect::IgnoresTheOwner => self.inner.destroy(key, None, now),
            _ => self.inner.destroy(key, owner, now),
        }
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        match self.defect {
            Defect::ListsFromTheStart => self.inner.list(user, None, limit, now),
            Defect::ListsInOrderOfAge => {
                let mut page = answer(self.inner.list(user, after, limit, now));
                // Pages of one user's few sessions only: earlier points don't look at the order.
                if page.len() > 6 {
                    page.sort_by_key(SessionSummary::authenticated_at);
                }
                StoreFuture::ok(page)
            }
            _ => self.inner.list(user, after, limit, now),
        }
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        match self.defect {
            Defect::EndsTheException => self.inner.destroy_user(user, None, keep_newest, now),
            Defect::KeepsNone => self.inner.destroy_user(user, except, 0, now),
            _ => self.inner.destroy_user(user, except, keep_newest, now),
        }
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        match self.defect {
            Defect::SweepsMoreThanAllowed => self.inner.sweep(usize::MAX, now),
            _ => self.inner.sweep(limit, now),
        }
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        match self.defect {
            Defect::FailsItsCheck => {
                StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Unavailable)))
            }
            _ => self.inner.check(now),
        }
    }
}
