//! Stores that break the contract, one way each.

use std::sync::Arc;

use tower_wristband::{
    SessionKey, SessionSummary, StoreError, StoreErrorKind, Timestamp, UserId,
    store::{Change, Proof, Record, Rotated, SessionStore, StoreFuture, Updated},
};

use super::CustomStore;

/// What a careless author may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Defect {
    None,
    OverwritesTakenKeys,
    LosesTheLabel,
    LoadsTheExpired,
    LoadsByProof,
    UpdateCreates,
    UpdateIgnoresLogins,
    TouchIgnoresLogins,
    UpdateStopsAtRotation,
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
    RotatesInTwoSteps,
    FailsItsCheck,
}

impl Defect {
    /// Each with the point that it breaks.
    pub(super) const ALL: &[(Self, u8)] = &[
        (Self::OverwritesTakenKeys, 1),
        (Self::LosesTheLabel, 2),
        (Self::LoadsTheExpired, 2),
        (Self::LoadsByProof, 2),
        (Self::UpdateCreates, 3),
        (Self::UpdateIgnoresLogins, 3),
        (Self::TouchIgnoresLogins, 3),
        (Self::UpdateStopsAtRotation, 3),
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
        (Self::RotatesInTwoSteps, 11),
        (Self::FailsItsCheck, 12),
    ];
}

/// A careful store around which one operation is careless.
pub(super) struct Careless {
    inner: Arc<CustomStore>,
    defect: Defect,
}

impl Careless {
    pub(super) fn new(defect: Defect) -> Self {
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

/// The record with one member of its blob replaced.
fn with_member(record: &Record, member: &str, value: impl Into<serde_json::Value>) -> Record {
    let mut blob: serde_json::Value = serde_json::from_slice(&record.encode()).unwrap();
    blob[member] = value.into();
    Record::decode(&serde_json::to_vec(&blob).unwrap()).unwrap()
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
                record = with_member(&record, "label", serde_json::Value::Null);
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
        mut logins: u32,
        mut expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        let inner = Arc::clone(&self.inner);
        let careful = |change| self.inner.update(key, change, logins, expect, now);
        match self.defect {
            Defect::UpdateCreates => match answer(careful(change.clone())) {
                Updated::Gone if peek(&inner, key).is_none() => {
                    let proof = Proof::from_bytes([0; 32]);
                    let mut record = Record::new(proof, tower_wristband::Lifetime::AAL2, now);
                    record.apply(&change, now);
                    poke(&inner, key, &record);
                    return StoreFuture::ok(Updated::Stored);
                }
                updated => return StoreFuture::ok(updated),
            },
            Defect::UpdateIgnoresLogins => {
                logins = peek(&inner, key).map_or(logins, |record| record.logins());
            }
            Defect::UpdateStopsAtRotation
                if peek(&inner, key).is_some_and(|record| record.rotated_at().is_some()) =>
            {
                return StoreFuture::ok(Updated::Gone);
            }
            Defect::WritesWholeRecords if expect.is_none() => {
                let Some(mut record) = peek(&inner, key) else { return careful(change) };
                if !record.is_alive(now) || record.logins() != logins {
                    return StoreFuture::ok(Updated::Gone);
                }
                return StoreFuture::boxed(async move {
                    tokio::task::yield_now().await;
                    record.apply(&change, now);
                    poke(&inner, key, &record);
                    Ok(Updated::Stored)
                });
            }
            // The check and the write are two steps.
            Defect::UpdatesAcrossDestroy if expect.is_none() => {
                if !matches!(answer(careful(Change::new(1))), Updated::Stored) {
                    return StoreFuture::ok(Updated::Gone);
                }
                return StoreFuture::boxed(async move {
                    let before = peek(&inner, key);
                    tokio::task::yield_now().await;
                    let Some(mut record) = peek(&inner, key).or(before) else {
                        return Ok(Updated::Gone);
                    };
                    record.apply(&change, now);
                    poke(&inner, key, &record);
                    Ok(Updated::Stored)
                });
            }
            Defect::WritesFieldByField => {
                let fields: Vec<_> = change
                    .parts()
                    .fields
                    .filter_map(|(name, json)| Some((name.to_owned(), json?.to_owned())))
                    .collect();
                if fields.len() == 2 {
                    return StoreFuture::boxed(async move {
                        for (name, json) in fields {
                            let json = serde_json::value::RawValue::from_string(json).unwrap();
                            let half = Change::new(change.parts().version);
                            let half = half.with_field(&name, &json).unwrap();
                            inner.update(key, half, logins, expect, now).await?;
                            tokio::task::yield_now().await;
                        }
                        Ok(Updated::Stored)
                    });
                }
            }
            Defect::RewritesJson => {
                let mut rewritten = Change::new(change.parts().version);
                for (name, json) in change.parts().fields {
                    if let Some(value) = json.and_then(|json| serde_json::from_str(json).ok()) {
                        let value: serde_json::Value = value;
                        rewritten = rewritten.with_field(name, &value).unwrap();
                    }
                }
                let mut is_plain = change.parts().fields.all(|(_, json)| json.is_some());
                is_plain &= !change.parts().clears_fields && change.parts().label.is_none();
                if is_plain && change.parts().lifetime.is_none() {
                    return careful(rewritten);
                }
            }
            Defect::IgnoresExpect => expect = None,
            Defect::WritesOnConflict => {
                let updated = answer(careful(change.clone()));
                if let Updated::Conflict(_) = updated {
                    answer(inner.update(key, change, logins, None, now));
                }
                return StoreFuture::ok(updated);
            }
            _ => {}
        }
        self.inner.update(key, change, logins, expect, now)
    }

    fn rotate(
        &self,
        key: SessionKey,
        mut from: Proof,
        to: Proof,
        change: Change,
        mut cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        let inner = Arc::clone(&self.inner);
        let before = peek(&inner, key).filter(|record| record.is_alive(now));
        let is_regular = before.as_ref().is_some_and(|record| record.proof() == from);
        match (self.defect, before) {
            (Defect::RotatesByDeleteAndCreate, Some(mut record)) if is_regular => {
                record.rotate(record.proof(), to, &change, now);
                return StoreFuture::boxed(async move {
                    inner.destroy(key, None, now).await?;
                    tokio::task::yield_now().await;
                    inner.create(key, record, cap, now).await?;
                    Ok(Rotated::Stored)
                });
            }
            (Defect::RotatesFromAnyProof, Some(record)) => from = record.proof(),
            (Defect::RepeatsRotations, Some(mut record)) if record.proof() == to => {
                record.rotate(record.proof(), to, &change, now);
                poke(&inner, key, &record);
            }
            (Defect::RotationRestartsLifetime, Some(record)) if is_regular => {
                let start = with_member(&record, "created_at", now.as_unix_millis());
                if record.user().is_none() {
                    poke(&inner, key, &start);
                }
            }
            (Defect::BindsAnotherUser, Some(mut record)) if is_regular => {
                record.rotate(record.proof(), to, &change, now);
                poke(&inner, key, &record);
                cap = cap.filter(|_| change.parts().user.is_some());
                if let (Some(cap), Some(user)) = (cap, record.user().cloned()) {
                    answer(inner.destroy_user(user, Some(key), cap - 1, now));
                }
                return StoreFuture::ok(Rotated::Stored);
            }
            (Defect::MissesTheBound, Some(_)) if change.parts().user.is_some() => {
                let rotated = answer(inner.rotate(key, from, to, change, cap, now));
                if is_regular
                    && rotated == Rotated::Stored
                    && let Some((owner, _)) = inner.0.lock().unwrap().get_mut(&key)
                {
                    *owner = None;
                }
                return StoreFuture::ok(rotated);
            }
            (Defect::RotatesInTwoSteps, Some(mut record))
                if is_regular && record.user().is_none() =>
            {
                return StoreFuture::boxed(async move {
                    let plain = Change::new(change.parts().version);
                    inner.rotate(key, from, to, plain, None, now).await?;
                    tokio::task::yield_now().await;
                    record.rotate(record.proof(), to, &change, now);
                    poke(&inner, key, &record);
                    if let (Some(cap), Some(user)) = (cap, record.user().cloned()) {
                        inner.destroy_user(user, Some(key), cap - 1, now).await?;
                    }
                    Ok(Rotated::Stored)
                });
            }
            (Defect::IgnoresTheCap, _) => cap = None,
            (Defect::CapSparesOne, _) => cap = cap.map(|cap| cap + 1),
            _ => {}
        }
        self.inner.rotate(key, from, to, change, cap, now)
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let before = peek(&self.inner, key);
        match (self.defect, before) {
            (Defect::TouchIgnoresLogins, Some(record)) => {
                return self.inner.touch(key, record.logins(), now);
            }
            (Defect::TouchMovesBack, Some(record)) if record.logins() == logins => {
                let seen = with_member(&record, "last_seen_at", now.as_unix_millis());
                let alive = record.is_alive(now);
                if alive {
                    poke(&self.inner, key, &seen);
                }
                return StoreFuture::ok(alive);
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
