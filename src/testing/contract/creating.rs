//! Points 1 and 2: `create` and `load`.

use super::bench::{
    Bench, Failure, Known, LIFETIME, MILLISECOND, MINUTE, Outcome, change, proof, same, user,
};
use crate::{lifetime::Lifetime, store::StoreErrorKind};

pub(super) async fn a_taken_key_is_a_collision(bench: Bench) -> Outcome {
    let taken = bench.anonymous().await?;
    let user = user()?;
    let other_device = bench.signed_in(&user, None, bench.now).await?;

    let intruder = Known::new(
        &change()?.with_user(user.clone()).with_field("first", &2)?,
        LIFETIME,
        bench.now,
    )?;
    for cap in [None, Some(1)] {
        let second = bench.store.create(taken.key, intruder.record.clone(), cap, bench.now).await;
        ensure!(
            matches!(&second, Err(error) if error.kind() == StoreErrorKind::Collision),
            "`create` where a record is: {second:?}, not `Collision`",
        );
        bench.keeps(&taken, bench.now).await?;
        bench.keeps(&other_device, bench.now).await?;
        bench.lists(&user, &[&other_device], bench.now).await?;
    }
    Ok(())
}

pub(super) async fn a_record_is_loaded_as_it_was_created(bench: Bench) -> Outcome {
    let full = change()?
        .with_user(user()?)
        .with_label("Firefox on \"Linux\" – \u{1f98a}")?
        .with_field("cart", &[1, 2, 3])?
        .with_field("theme", &"dark")?;
    let session_cookie = Lifetime::AAL3.with_touch_interval(MINUTE).until_browser_closes();
    for (change, lifetime) in
        [(change()?, LIFETIME), (change()?.with_label("")?, Lifetime::AAL1), (full, session_cookie)]
    {
        let known = Known::new(&change, lifetime, bench.now)?;
        bench.has_ended(&known, bench.now).await?;
        bench.create(&known, None, bench.now).await?;
        bench.keeps(&known, bench.now).await?;

        // The proof is for the layer to compare: it has to see the record to say what is wrong.
        let found = bench.store.load(known.key, proof()?, bench.now).await?;
        let Some(found) = found else {
            return Err(Failure::new("`load` with another proof finds nothing"));
        };
        same(&known.record, &found)?;
    }
    Ok(())
}

pub(super) async fn only_the_living_are_loaded(bench: Bench) -> Outcome {
    let lifetime = Lifetime::new(60 * MINUTE, 90 * MINUTE);
    let mut known = Known::new(&change()?, lifetime, bench.now)?;
    bench.create(&known, None, bench.now).await?;
    let idle_deadline = bench.now + lifetime.idle();
    bench.lives(&known, bench.now + (lifetime.idle() - MILLISECOND)).await?;
    bench.has_ended(&known, idle_deadline).await?;

    known = Known::new(&change()?, lifetime, bench.now)?;
    bench.create(&known, None, bench.now).await?;
    bench.touch(&mut known, bench.now + 50 * MINUTE).await?;
    bench.lives(&known, bench.now + (lifetime.absolute() - MILLISECOND)).await?;
    bench.has_ended(&known, bench.now + lifetime.absolute()).await?;

    // A user's session counts from the login, and is found by nobody else's time than `now`.
    known = Known::new(&change()?.with_user(user()?), lifetime, bench.now)?;
    bench.create(&known, None, bench.now).await?;
    bench.lives(&known, bench.now + (lifetime.idle() - MILLISECOND)).await?;
    bench.has_ended(&known, idle_deadline).await
}
