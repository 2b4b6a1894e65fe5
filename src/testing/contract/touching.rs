//! Point 7: `touch`.

use super::bench::{
    Bench, Failure, Known, MILLISECOND, MINUTE, Outcome, SECOND, before, change, user,
};
use crate::lifetime::Lifetime;

pub(super) async fn touch_only_moves_last_seen(bench: Bench) -> Outcome {
    let user = user()?;
    let mut known = Known::new(
        &change()?.with_user(user.clone()).with_label("phone")?.with_field("first", &1)?,
        super::bench::LIFETIME,
        bench.now,
    )?;
    bench.create(&known, None, bench.now).await?;

    bench.touch(&mut known, bench.now + MINUTE).await?;
    bench.keeps(&known, bench.now + MINUTE).await?;
    for earlier in [bench.now + MINUTE, bench.now + SECOND, before(bench.now, MINUTE)] {
        bench.touch(&mut known, earlier).await?;
        bench.keeps(&known, bench.now + MINUTE).await?;
    }
    bench.lists(&user, &[&known], bench.now + MINUTE).await
}

pub(super) async fn touch_ends_at_the_absolute_deadline(bench: Bench) -> Outcome {
    let lifetime = Lifetime::new(60 * MINUTE, 90 * MINUTE);
    let mut known = Known::new(&change()?, lifetime, bench.now)?;
    bench.create(&known, None, bench.now).await?;

    let deadline = bench.now + lifetime.absolute();
    bench.touch(&mut known, bench.now + 50 * MINUTE).await?;
    bench.touch(&mut known, bench.now + (lifetime.absolute() - MILLISECOND)).await?;
    bench.keeps(&known, bench.now + (lifetime.absolute() - MILLISECOND)).await?;
    bench.has_ended(&known, deadline).await?;
    let alive = bench.store.touch(known.key, known.record.logins(), deadline).await?;
    ensure!(!alive, "`touch` at the absolute deadline answered that the session lives");
    bench.has_ended(&known, deadline).await
}
