//! Points 8 and 10: `destroy`, `sweep` and the cap.

use super::bench::{
    Bench, Failure, Known, LIFETIME, MINUTE, Outcome, SECOND, before, change, proof, same, user,
};
use crate::{lifetime::Lifetime, store::Rotated, user::UserId};

/// A `destroy` that must answer this.
async fn destroy(bench: &Bench, known: &Known, owner: Option<&UserId>, removed: bool) -> Outcome {
    let answer = bench.store.destroy(known.key, owner.cloned(), bench.now).await?;
    ensure!(answer == removed, "`destroy` answered {answer}, not {removed}");
    Ok(())
}

pub(super) async fn destroy_is_idempotent(bench: Bench) -> Outcome {
    let user = user()?;
    let mut rotated = bench.signed_in(&user, None, bench.now).await?;
    bench.rotate(&mut rotated, change()?, None, bench.now).await?;
    for known in [bench.anonymous().await?, rotated] {
        destroy(&bench, &known, None, true).await?;
        bench.has_ended(&known, bench.now).await?;
        for _ in 0..2 {
            destroy(&bench, &known, None, false).await?;
            bench.has_ended(&known, bench.now).await?;
        }
    }
    bench.lists(&user, &[], bench.now).await?;

    let never_stored = Known::new(&change()?, LIFETIME, bench.now)?;
    destroy(&bench, &never_stored, None, false).await?;
    let expired = bench.anonymous().await?;
    let removed = bench.store.destroy(expired.key, None, expired.record.expires_at()).await?;
    ensure!(!removed, "`destroy` of an expired session answered that it removed a living one");
    Ok(())
}

pub(super) async fn destroy_asks_for_the_owner(bench: Bench) -> Outcome {
    let (alice, bob) = (user()?, user()?);
    let anonymous = bench.anonymous().await?;
    let hers = bench.signed_in(&alice, None, bench.now).await?;
    for known in [&anonymous, &hers] {
        destroy(&bench, known, Some(&bob), false).await?;
        bench.keeps(known, bench.now).await?;
    }
    bench.lists(&alice, &[&hers], bench.now).await?;
    destroy(&bench, &hers, Some(&alice), true).await?;
    bench.has_ended(&hers, bench.now).await?;
    bench.lists(&alice, &[], bench.now).await
}

pub(super) async fn only_the_expired_are_swept(bench: Bench) -> Outcome {
    let user = user()?;
    let alive = [bench.anonymous().await?, bench.signed_in(&user, None, bench.now).await?];

    // They expired in the past: sweeping at a later time could end what others are checking.
    let yesterday = before(bench.now, 24 * 60 * MINUTE);
    let mut expired = Vec::new();
    for _ in 0..3 {
        let known = Known::new(&change()?.with_user(user.clone()), LIFETIME, yesterday)?;
        bench.create(&known, None, yesterday).await?;
        expired.push(known);
    }

    let swept = bench.store.sweep(0, bench.now).await?;
    ensure!(swept == 0, "`sweep` of at most 0 removed {swept}");
    for _ in 0..1000 {
        let swept = bench.store.sweep(2, bench.now).await?;
        ensure!(swept <= 2, "`sweep` of at most 2 removed {swept}");
        if swept == 0 {
            break;
        }
    }
    for known in &expired {
        bench.has_ended(known, bench.now).await?;
        let was_alive = bench.store.destroy(known.key, None, bench.now).await?;
        ensure!(!was_alive, "`destroy` of a swept session answered that it removed a living one");
    }
    for known in &alive {
        bench.keeps(known, bench.now).await?;
    }
    bench.lists(&user, &[&alive[1]], bench.now).await
}

/// Binds one session more, by `create` or by `rotate`.
async fn log_in(
    bench: &Bench,
    user: &UserId,
    by_rotation: bool,
    cap: Option<usize>,
    seconds: u32,
) -> Result<Known, Failure> {
    let now = bench.now + seconds * SECOND;
    if !by_rotation {
        return bench.signed_in(user, cap, now).await;
    }
    let mut known = bench.anonymous().await?;
    bench.rotate(&mut known, change()?.with_user(user.clone()), cap, now).await?;
    Ok(known)
}

pub(super) async fn the_cap_ends_the_oldest(bench: Bench) -> Outcome {
    let now = bench.now + MINUTE;
    for by_rotation in [false, true] {
        let user = user()?;
        let mut devices = Vec::new();
        for seconds in 0..4 {
            devices.push(log_in(&bench, &user, by_rotation, None, seconds).await?);
        }
        // The oldest logs in anew, so that the second is the oldest now.
        let again = change()?.with_user(user.clone());
        bench.rotate(&mut devices[0], again, Some(4), bench.now + 4 * SECOND).await?;
        bench.lists(&user, &devices.iter().collect::<Vec<_>>(), now).await?;

        devices.push(log_in(&bench, &user, by_rotation, Some(4), 5).await?);
        let [first, second, third, fourth, fifth] = &devices[..] else {
            return Err(Failure::new("five sessions were created"));
        };
        bench.has_ended(second, now).await?;
        bench.lists(&user, &[first, third, fourth, fifth], now).await?;

        // A cap that was lowered ends more than one.
        let sixth = log_in(&bench, &user, by_rotation, Some(2), 6).await?;
        bench.lists(&user, &[fifth, &sixth], now).await?;
        for ended in [first, third, fourth] {
            bench.has_ended(ended, now).await?;
        }
        bench.keeps(fifth, now).await?;
        bench.keeps(&sixth, now).await?;

        // Of the same age, it is the one with the lowest key.
        let seventh = log_in(&bench, &user, by_rotation, None, 6).await?;
        let eighth = log_in(&bench, &user, by_rotation, Some(2), 7).await?;
        let newer = if sixth.key < seventh.key { &seventh } else { &sixth };
        bench.lists(&user, &[newer, &eighth], now).await?;
    }
    Ok(())
}

pub(super) async fn the_cap_spares_the_newcomer(bench: Bench) -> Outcome {
    let now = bench.now + MINUTE;
    for by_rotation in [false, true] {
        let user = user()?;
        // Another node's clock is ahead.
        let ahead = log_in(&bench, &user, by_rotation, Some(1), 30).await?;
        bench.keeps(&ahead, now).await?;
        let newcomer = log_in(&bench, &user, by_rotation, Some(1), 0).await?;
        bench.keeps(&newcomer, now).await?;
        bench.has_ended(&ahead, now).await?;
        bench.lists(&user, &[&newcomer], now).await?;
    }
    Ok(())
}

pub(super) async fn the_cap_counts_the_living_of_one_user(bench: Bench) -> Outcome {
    let short = Lifetime::new(10 * MINUTE, 10 * MINUTE);
    let hour_ago = before(bench.now, 60 * MINUTE);
    for by_rotation in [false, true] {
        let (user, other) = (user()?, user()?);
        let others = bench.signed_in(&other, Some(1), bench.now).await?;
        let anonymous = bench.anonymous().await?;
        let expired = Known::new(&change()?.with_user(user.clone()), short, hour_ago)?;
        bench.create(&expired, None, hour_ago).await?;

        let first = log_in(&bench, &user, by_rotation, Some(2), 0).await?;
        let second = log_in(&bench, &user, by_rotation, Some(2), 1).await?;
        let now = bench.now + 2 * SECOND;
        bench.lists(&user, &[&first, &second], now).await?;
        for known in [&others, &anonymous, &first, &second] {
            let Some(found) = bench.load(known, now).await? else {
                return Err(Failure::new("the cap has ended a session that it doesn't count"));
            };
            same(&known.record, &found)?;
        }
    }
    Ok(())
}

pub(super) async fn a_refused_login_ends_nobody(bench: Bench) -> Outcome {
    let (user, other) = (user()?, user()?);
    let devices = [
        bench.signed_in(&user, None, bench.now).await?,
        bench.signed_in(&user, None, bench.now + SECOND).await?,
    ];
    let destroyed = bench.anonymous().await?;
    bench.store.destroy(destroyed.key, None, bench.now).await?;
    let day_ago = before(bench.now, 24 * 60 * MINUTE);
    let expired = Known::new(&change()?, LIFETIME, day_ago)?;
    bench.create(&expired, None, day_ago).await?;
    let mut rotated = bench.anonymous().await?;
    let superseded = rotated.clone();
    bench.rotate(&mut rotated, change()?, None, bench.now).await?;
    let others = bench.signed_in(&other, None, bench.now).await?;

    let now = bench.now + MINUTE;
    for refused in [&destroyed, &expired, &superseded, &others] {
        let (from, login) = (refused.record.proof(), change()?.with_user(user.clone()));
        let answer = bench.store.rotate(refused.key, from, proof()?, login, Some(1), now).await?;
        ensure!(answer == Rotated::Gone, "`rotate` answered {answer:?}, not `Gone`");
        bench.lists(&user, &devices.each_ref(), now).await?;
        for device in &devices {
            bench.keeps(device, now).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_repeated_login_ends_nobody(bench: Bench) -> Outcome {
    let user = user()?;
    let mut known = bench.anonymous().await?;
    let (from, login) = (known.record.proof(), change()?.with_user(user.clone()));
    bench.rotate(&mut known, login.clone(), Some(1), bench.now).await?;

    // Another device has logged in before the first login is delivered again.
    let newer = bench.signed_in(&user, None, bench.now + SECOND).await?;
    let (to, now) = (known.record.proof(), bench.now + MINUTE);
    let answer = bench.store.rotate(known.key, from, to, login, Some(1), now).await?;
    ensure!(answer == Rotated::Stored, "a repeated `rotate` answered {answer:?}, not `Stored`");
    bench.keeps(&newer, now).await?;
    bench.keeps(&known, now).await?;
    bench.lists(&user, &[&known, &newer], now).await
}
