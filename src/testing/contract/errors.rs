//! Point 12: errors.

use std::sync::Arc;

use super::{
    Violation,
    bench::{Bench, Failure, Outcome, change, proof, user},
};
use crate::store::{Rotated, SessionKey, SessionStore, StoreErrorKind, Updated};

pub(super) async fn a_collision_is_told_from_an_outage(bench: Bench) -> Outcome {
    let known = bench.anonymous().await?;
    match bench.store.create(known.key, known.record, None, bench.now).await {
        Err(error) if error.kind() == StoreErrorKind::Collision => Ok(()),
        other => Err(Failure::new(format!("a second `create` answered {other:?}"))),
    }
}

pub(super) async fn a_working_store_says_so(bench: Bench) -> Outcome {
    Ok(bench.store.check(bench.now).await?)
}

/// How a record is to be damaged for [`damaged_records_are_refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "an author must handle each")]
pub enum Damage {
    /// Nobody can decode it.
    Undecodable,
    /// It is of a format that only a newer release can decode.
    NewerFormat,
}

/// Point 12: a record that can't be decoded is refused, skipped by `list`, never overwritten, and
/// can be ended.
///
/// `damage` changes the stored record of a key behind the store's back. The check is not in
/// [`CHECKS`](super::CHECKS), since only the author of a store knows how to do that.
///
/// # Errors
///
/// The [`Violation`] it finds.
pub async fn damaged_records_are_refused(
    store: Arc<dyn SessionStore>,
    damage: impl AsyncFn(SessionKey, Damage),
) -> Result<(), Violation> {
    let bench = Bench::new(store);
    for (kind, expected) in [
        (Damage::Undecodable, StoreErrorKind::Corrupt),
        (Damage::NewerFormat, StoreErrorKind::Unavailable),
    ] {
        refuses(&bench, &damage, kind, expected)
            .await
            .map_err(|failure| failure.of(12, "damaged_records_are_refused"))?;
    }
    Ok(())
}

async fn refuses(
    bench: &Bench,
    damage: &impl AsyncFn(SessionKey, Damage),
    kind: Damage,
    expected: StoreErrorKind,
) -> Outcome {
    let (user, now) = (user()?, bench.now);
    let intact = bench.signed_in(&user, None, now).await?;
    for by_user in [false, true] {
        let damaged = bench.signed_in(&user, None, now).await?;
        let (key, from) = (damaged.key, damaged.record.proof());
        let logins = damaged.record.logins();
        damage(key, kind).await;

        let updated = bench.store.update(key, change()?, logins, None, now).await;
        ensure!(
            !matches!(updated, Ok(Updated::Stored | Updated::Conflict(_))),
            "`update` of a damaged record: {updated:?}",
        );
        let rotated = bench.store.rotate(key, from, proof()?, change()?, None, now).await;
        ensure!(
            !matches!(rotated, Ok(Rotated::Stored)),
            "`rotate` of a damaged record: {rotated:?}",
        );
        let alive = bench.store.touch(key, logins, now).await;
        ensure!(!matches!(alive, Ok(true)), "`touch` of a damaged record: {alive:?}");
        let created = bench.store.create(key, intact.record.clone(), None, now).await;
        ensure!(created.is_err(), "`create` over a damaged record: {created:?}");

        // It is looked at last: nothing has overwritten it.
        let loaded = bench.store.load(key, from, now).await;
        ensure!(
            matches!(&loaded, Err(error) if error.kind() == expected),
            "`load` of a damaged record ({kind:?}): {loaded:?}, not `{expected:?}`",
        );
        bench.lists(&user, &[&intact], now).await?;

        if by_user {
            bench.store.destroy_user(user.clone(), Some(intact.key), 0, now).await?;
        } else {
            bench.store.destroy(key, None, now).await?;
        }
        bench.has_ended(&damaged, now).await?;
    }
    bench.keeps(&intact, now).await
}
