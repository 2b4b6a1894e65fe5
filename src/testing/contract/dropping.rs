//! Point 11: futures that are dropped before they have answered.

use std::{future::poll_fn, pin::Pin, task::Poll};

use super::bench::{Bench, Failure, Known, LIFETIME, MINUTE, Outcome, change, proof, same, user};
use crate::{
    store::{Record, SessionSummary, StoreFuture},
    user::UserId,
};

/// How far the futures get before they are dropped. Zero: they are never polled.
const POLLS: std::ops::Range<usize> = 0..5;

/// Drops a future after this many polls, unless it answers before.
async fn give_up<T>(mut future: StoreFuture<T>, polls: usize) {
    for _ in 0..polls {
        let answered = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx).is_ready())).await;
        if answered {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The user's index agrees with what `load` found just before. What is not done may still be done
/// by a server that got the request, so only what is done can be relied on.
async fn is_listed(bench: &Bench, user: &UserId, known: &Known) -> Result<bool, Failure> {
    let listed = bench.list(user, bench.now + MINUTE).await?;
    Ok(listed.iter().map(SessionSummary::key).any(|key| key == known.key))
}

pub(super) async fn a_dropped_create_is_done_or_not(bench: Bench) -> Outcome {
    for polls in POLLS {
        let user = user()?;
        let delta = change()?.with_user(user.clone()).with_field("first", &1)?;
        let known = Known::new(&delta, LIFETIME, bench.now)?;
        give_up(bench.store.create(known.key, known.record.clone(), Some(2), bench.now), polls)
            .await;
        if let Some(found) = bench.load(&known, bench.now).await? {
            same(&known.record, &found)?;
            ensure!(is_listed(&bench, &user, &known).await?, "the session isn't in the index");
        }
    }
    Ok(())
}

/// The store keeps the record as it was before the operation, or as it is after. Answers whether it
/// is as after.
async fn is_one_of(bench: &Bench, before: &Known, after: &Record) -> Result<bool, Failure> {
    let Some(found) = bench.load(before, bench.now + MINUTE).await? else {
        return Err(Failure::new("the session isn't found"));
    };
    if same(&before.record, &found).is_ok() {
        return Ok(false);
    }
    same(after, &found).map(|()| true)
}

pub(super) async fn a_dropped_write_is_done_or_not(bench: Bench) -> Outcome {
    let later = bench.now + MINUTE;
    for polls in POLLS {
        let before = bench.anonymous().await?;
        let (key, logins) = (before.key, before.record.logins());
        let delta = change()?.with_cleared_fields().with_field("a", &1)?.with_label("b")?;
        let mut after = before.record.clone();
        after.apply(&delta, later);
        give_up(bench.store.update(key, delta, logins, None, later), polls).await;
        is_one_of(&bench, &before, &after).await?;

        let before = bench.anonymous().await?;
        let mut after = before.record.clone();
        after.see(later);
        give_up(bench.store.touch(before.key, logins, later), polls).await;
        is_one_of(&bench, &before, &after).await?;

        let (before, user) = (bench.anonymous().await?, user()?);
        let (from, to) = (before.record.proof(), proof()?);
        let delta = change()?.with_user(user.clone()).with_field("a", &1)?;
        let mut after = before.record.clone();
        after.replace_proof(to, &delta, later);
        give_up(bench.store.rotate(before.key, from, to, delta, Some(2), later), polls).await;
        if is_one_of(&bench, &before, &after).await? {
            ensure!(is_listed(&bench, &user, &before).await?, "the session isn't in the index");
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_end_is_done_or_not(bench: Bench) -> Outcome {
    for polls in POLLS {
        let user = user()?;
        let known = bench.signed_in(&user, None, bench.now).await?;
        give_up(bench.store.destroy(known.key, Some(user.clone()), bench.now), polls).await;
        match bench.load(&known, bench.now).await? {
            Some(found) => same(&known.record, &found)?,
            None => ensure!(!is_listed(&bench, &user, &known).await?, "an ended session is listed"),
        }
        bench.store.destroy(known.key, Some(user.clone()), bench.now).await?;
        bench.has_ended(&known, bench.now).await?;
        bench.lists(&user, &[], bench.now).await?;

        let mut devices = Vec::new();
        for _ in 0..3 {
            devices.push(bench.signed_in(&user, None, bench.now).await?);
        }
        give_up(bench.store.destroy_user(user.clone(), None, 0, bench.now), polls).await;
        for known in &devices {
            if let Some(found) = bench.load(known, bench.now).await? {
                same(&known.record, &found)?;
            }
        }
        bench.store.destroy_user(user.clone(), None, 0, bench.now).await?;
        for known in &devices {
            bench.has_ended(known, bench.now).await?;
        }
        bench.lists(&user, &[], bench.now).await?;
    }
    Ok(())
}
