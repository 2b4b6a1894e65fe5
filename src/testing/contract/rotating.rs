//! Point 6: `rotate`.

use super::bench::{
    Bench, Failure, Known, MILLISECOND, MINUTE, Outcome, change, proof, same, user,
};
use crate::{
    lifetime::Lifetime,
    store::{Change, Proof, Rotated},
};

pub(super) async fn a_rotation_replaces_the_proof(bench: Bench) -> Outcome {
    let mut known = bench.anonymous().await?;
    let old = known.record.proof();
    let delta = change()?.with_field("second", &2)?.with_label("laptop")?;
    bench.rotate(&mut known, delta, None, bench.now + MINUTE).await?;
    bench.keeps(&known, bench.now + MINUTE).await?;

    // The layer refuses a token whose proof is not the record's.
    if let Some(found) = bench.store.load(known.key, old, bench.now + MINUTE).await? {
        same(&known.record, &found)?;
    }
    Ok(())
}

/// A rotation that must be refused.
async fn is_gone(bench: &Bench, known: &Known, from: Proof, change: Change) -> Outcome {
    let now = bench.now + MINUTE;
    let rotated = bench.store.rotate(known.key, from, proof()?, change, Some(1), now).await?;
    ensure!(rotated == Rotated::Gone, "`rotate` answered {rotated:?}, not `Gone`");
    bench.keeps(known, now).await
}

pub(super) async fn a_rotation_from_another_proof_is_gone(bench: Bench) -> Outcome {
    let user = user()?;
    let other_device = bench.signed_in(&user, None, bench.now).await?;
    let mut known = bench.anonymous().await?;
    for _ in 0..2 {
        let old = known.record.proof();
        is_gone(&bench, &known, proof()?, change()?.with_field("late", &1)?).await?;
        is_gone(&bench, &known, proof()?, change()?.with_user(user.clone())).await?;
        bench.rotate(&mut known, change()?, None, bench.now).await?;
        is_gone(&bench, &known, old, change()?.with_cleared_fields()).await?;
    }
    bench.lists(&user, &[&other_device], bench.now).await
}

pub(super) async fn a_repeated_rotation_is_done_once(bench: Bench) -> Outcome {
    let user = user()?;
    for delta in [change()?.with_field("first", &2)?, change()?.with_user(user.clone())] {
        let mut known = bench.anonymous().await?;
        let from = known.record.proof();
        bench.rotate(&mut known, delta.clone(), Some(1), bench.now).await?;
        for now in [bench.now, bench.now + MINUTE] {
            let (to, delta) = (known.record.proof(), delta.clone());
            let rotated = bench.store.rotate(known.key, from, to, delta, Some(1), now).await?;
            ensure!(
                rotated == Rotated::Stored,
                "a repeated `rotate` answered {rotated:?}, not `Stored`",
            );
            bench.keeps(&known, bench.now + MINUTE).await?;
        }
    }
    Ok(())
}

pub(super) async fn only_a_login_restarts_the_absolute_lifetime(bench: Bench) -> Outcome {
    let lifetime = Lifetime::new(60 * MINUTE, 60 * MINUTE);
    let halfway = bench.now + 30 * MINUTE;
    let user = user()?;
    for rotation in [change()?, change()?.with_user(user.clone())] {
        let is_login = rotation.parts().user.is_some();
        let mut known = Known::new(&change()?, lifetime, bench.now)?;
        bench.create(&known, None, bench.now).await?;
        bench.rotate(&mut known, rotation, None, halfway).await?;
        bench.keeps(&known, halfway).await?;

        let start = if is_login { halfway } else { bench.now };
        let deadline = start + lifetime.absolute();
        bench.keeps(&known, start + (lifetime.absolute() - MILLISECOND)).await?;
        bench.has_ended(&known, deadline).await?;
        ensure!(known.record.created_at() == bench.now, "the creation time has moved");
    }

    // The same user logs in again: the lifetime starts anew once more.
    let mut known = Known::new(&change()?.with_user(user.clone()), lifetime, bench.now)?;
    bench.create(&known, None, bench.now).await?;
    bench.rotate(&mut known, change()?, None, halfway).await?;
    bench.has_ended(&known, bench.now + lifetime.absolute()).await?;
    bench.rotate(&mut known, change()?.with_user(user), None, halfway).await?;
    bench.keeps(&known, bench.now + lifetime.absolute()).await?;
    bench.has_ended(&known, halfway + lifetime.absolute()).await
}

pub(super) async fn a_session_belongs_to_one_user(bench: Bench) -> Outcome {
    let (alice, bob) = (user()?, user()?);
    let hers = bench.signed_in(&alice, None, bench.now).await?;
    let his = bench.signed_in(&bob, None, bench.now).await?;
    is_gone(&bench, &hers, hers.record.proof(), change()?.with_user(bob.clone())).await?;
    bench.lists(&alice, &[&hers], bench.now).await?;
    bench.lists(&bob, &[&his], bench.now).await
}
