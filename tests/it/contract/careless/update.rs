//! Careless updates.

use std::sync::Arc;

use tower_wristband::{
    Lifetime, SessionKey, Timestamp,
    store::{Change, Proof, Record, SessionStore, StoreFuture, Updated},
};

use super::{Careless, Defect, answer, peek, poke};

impl Careless {
    pub(super) fn update_carelessly(
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
                    let mut record = Record::new(proof, Lifetime::AAL2, now);
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
            Defect::UpdatesTheExpired => {
                if let Some(mut record) = peek(&inner, key).filter(|record| !record.is_alive(now)) {
                    record.apply(&change, record.last_seen_at());
                    poke(&inner, key, &record);
                }
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
}
