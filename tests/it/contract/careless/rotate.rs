//! Careless rotations.

use std::sync::Arc;

use tower_wristband::{
    SessionKey, Timestamp,
    store::{Change, Proof, Record, RecordParts, Rotated, SessionStore, StoreFuture},
};

use super::{Careless, Defect, answer, peek, poke, rebuilt};

/// The record after a rotation, whether it may be done or not.
fn rotated(mut record: Record, to: Proof, change: &Change, now: Timestamp) -> Record {
    record.apply(change, now);
    rebuilt(RecordParts { proof: to, rotated_at: Some(now), ..record.parts() })
}

impl Careless {
    pub(super) fn rotate_carelessly(
        &self,
        key: SessionKey,
        mut from: Proof,
        to: Proof,
        change: Change,
        mut cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        let inner = Arc::clone(&self.inner);
        let stored = peek(&inner, key);
        if self.defect == Defect::RotatesTheExpired
            && let Some(record) = stored.clone().filter(|record| !record.is_alive(now))
        {
            let seen = record.last_seen_at();
            poke(&inner, key, &rotated(record, to, &change, seen));
        }
        let before = stored.filter(|record| record.is_alive(now));
        let is_regular = before.as_ref().is_some_and(|record| record.proof() == from);
        // What a careful store does only after a login.
        let enforce = |cap: Option<usize>| {
            if let (Some(cap), Some(user)) = (cap, change.parts().user.cloned()) {
                answer(inner.destroy_user(user, Some(key), cap - 1, now));
            }
        };
        match (self.defect, before) {
            (Defect::RotatesByDeleteAndCreate, Some(record))
                if is_regular && record.user().is_none() =>
            {
                return StoreFuture::boxed(async move {
                    inner.destroy(key, None, now).await?;
                    tokio::task::yield_now().await;
                    let record = rotated(record, to, &change, now);
                    inner.create(key, record, cap, now).await?;
                    Ok(Rotated::Stored)
                });
            }
            (Defect::RotatesFromAnyProof, Some(record)) => from = record.proof(),
            (Defect::RepeatsRotations, Some(record)) if record.proof() == to => {
                poke(&inner, key, &rotated(record, to, &change, now));
            }
            (Defect::CapsRefusedLogins, None) => enforce(cap),
            (Defect::CapsRepeatedLogins, Some(record)) if record.proof() == to => enforce(cap),
            (Defect::RotationRestartsLifetime, Some(record))
                if is_regular && record.user().is_none() =>
            {
                poke(&inner, key, &rebuilt(RecordParts { created_at: now, ..record.parts() }));
            }
            (Defect::BindsAnotherUser, Some(record)) if is_regular => {
                poke(&inner, key, &rotated(record, to, &change, now));
                enforce(cap);
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
            (Defect::RotatesInTwoSteps, Some(record)) if is_regular && record.user().is_none() => {
                return StoreFuture::boxed(async move {
                    let plain = Change::new(change.parts().version);
                    inner.rotate(key, from, to, plain, None, now).await?;
                    tokio::task::yield_now().await;
                    let record = rotated(record, to, &change, now);
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
}
