//! What many do at the same time, for several points.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::task::yield_now;

use super::bench::{
    Bench, Failure, Known, LIFETIME, Outcome, SECOND, change, proof, same, together, user,
};
use crate::store::{Proof, Rotated, StoreErrorKind, Updated};

/// How many take part.
const RACERS: u32 = 12;
/// How often each does what it does.
const ROUNDS: u32 = 20;

/// A task among others of another kind.
type Task = Pin<Box<dyn Future<Output = Outcome> + Send>>;

pub(super) async fn one_of_many_creates_wins(bench: Bench) -> Outcome {
    for _ in 0..ROUNDS {
        let first = Known::new(&change()?, LIFETIME, bench.now)?;
        let created = together((0..RACERS).map(|racer| {
            let (bench, key) = (bench.clone(), first.key);
            async move {
                let mut racer =
                    Known::new(&change()?.with_field("racer", &racer)?, LIFETIME, bench.now)?;
                racer.key = key;
                match bench.store.create(key, racer.record.clone(), None, bench.now).await {
                    Ok(()) => Ok(Some(racer)),
                    Err(error) if error.kind() == StoreErrorKind::Collision => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
        }))
        .await?;
        let winners: Vec<_> = created.into_iter().flatten().collect();
        ensure!(winners.len() == 1, "{} concurrent creates of a key were stored", winners.len());
        bench.keeps(&winners[0], bench.now).await?;
    }
    Ok(())
}

pub(super) async fn concurrent_deltas_are_all_kept(bench: Bench) -> Outcome {
    let known = bench.anonymous().await?;
    let written = together((0..RACERS).map(|racer| {
        let (bench, key, logins) = (bench.clone(), known.key, known.record.logins());
        async move {
            let name = format!("racer {racer}");
            for round in 1..=ROUNDS {
                let delta = change()?.with_field(&name, &round)?;
                let updated = bench.store.update(key, delta, logins, None, bench.now).await?;
                ensure!(matches!(updated, Updated::Stored), "`update` answered {updated:?}");
                yield_now().await;
            }
            Ok(name)
        }
    }))
    .await?;

    let Some(found) = bench.load(&known, bench.now).await? else {
        return Err(Failure::new("a living session isn't found"));
    };
    for name in written {
        ensure!(
            found.field(&name) == Some(ROUNDS.to_string().as_str()),
            "the last of {ROUNDS} writes of a field is lost: it is {:?}",
            found.field(&name),
        );
    }
    ensure!(found.field("first") == Some("1"), "a field that nobody wrote is lost");
    Ok(())
}

pub(super) async fn half_a_delta_is_never_seen(bench: Bench) -> Outcome {
    let known = bench.anonymous().await?;
    let written = Arc::new(AtomicBool::new(false));
    let writer: Task = Box::pin({
        let (bench, known, written) = (bench.clone(), known.clone(), Arc::clone(&written));
        async move {
            let logins = known.record.logins();
            for round in 0..ROUNDS * 3 {
                let delta = change()?.with_field("left", &round)?.with_field("right", &round)?;
                bench.store.update(known.key, delta, logins, None, bench.now).await?;
                yield_now().await;
            }
            written.store(true, Ordering::SeqCst);
            Ok(())
        }
    });
    let readers = (0..3).map(|_| -> Task {
        let (bench, known, written) = (bench.clone(), known.clone(), Arc::clone(&written));
        Box::pin(async move {
            while !written.load(Ordering::SeqCst) {
                let Some(found) = bench.load(&known, bench.now).await? else {
                    return Err(Failure::new("a session that is being written isn't found"));
                };
                let (left, right) = (found.field("left"), found.field("right"));
                ensure!(left == right, "half a delta is seen: {left:?} and {right:?}");
                yield_now().await;
            }
            Ok(())
        })
    });
    together(readers.chain([writer])).await.map(|_| ())
}

pub(super) async fn concurrent_increments_are_all_counted(bench: Bench) -> Outcome {
    const INCREMENTS: u32 = 5;
    let known = bench.anonymous().await?;
    together((0..RACERS).map(|_| {
        let (bench, known) = (bench.clone(), known.clone());
        async move {
            let mut stored = 0;
            while stored < INCREMENTS {
                let Some(found) = bench.load(&known, bench.now).await? else {
                    return Err(Failure::new("a session that is being written isn't found"));
                };
                let count: u32 = found.field("first").map_or(Ok(0), str::parse)?;
                let delta = change()?.with_field("first", &(count + 1))?;
                let (logins, version) = (found.logins(), Some(found.version()));
                match bench.store.update(known.key, delta, logins, version, bench.now).await? {
                    Updated::Stored => stored += 1,
                    Updated::Conflict(_) => {}
                    Updated::Gone => return Err(Failure::new("`update` answered `Gone`")),
                }
                yield_now().await;
            }
            Ok(())
        }
    }))
    .await?;

    let expected = (1 + RACERS * INCREMENTS).to_string();
    let found = bench.load(&known, bench.now).await?;
    let count = found.as_ref().and_then(|found| found.field("first"));
    ensure!(count == Some(expected.as_str()), "increments are lost: {count:?}, not {expected}");
    Ok(())
}

pub(super) async fn one_of_many_rotations_wins(bench: Bench) -> Outcome {
    for _ in 0..ROUNDS {
        let known = bench.anonymous().await?;
        let rotated = together((0..RACERS).map(|racer| {
            let (bench, mut known) = (bench.clone(), known.clone());
            async move {
                let (from, to) = (known.record.proof(), proof()?);
                let delta = change()?.with_field("racer", &racer)?;
                known.record.replace_proof(to, &delta, bench.now);
                let rotated =
                    bench.store.rotate(known.key, from, to, delta, None, bench.now).await?;
                Ok((rotated == Rotated::Stored).then_some(known))
            }
        }))
        .await?;
        let winners: Vec<_> = rotated.into_iter().flatten().collect();
        ensure!(winners.len() == 1, "{} concurrent rotations were stored", winners.len());
        bench.keeps(&winners[0], bench.now).await?;
    }
    Ok(())
}

pub(super) async fn a_rotating_session_is_always_found(bench: Bench) -> Outcome {
    let known = bench.anonymous().await?;
    let mut proofs = vec![known.record.proof()];
    for _ in 0..ROUNDS * 3 {
        proofs.push(proof()?);
    }
    let proofs: Arc<[Proof]> = proofs.into();
    // How many rotations have returned.
    let done = Arc::new(AtomicUsize::new(0));
    let rotator: Task = Box::pin({
        let (bench, key, proofs, done) =
            (bench.clone(), known.key, Arc::clone(&proofs), Arc::clone(&done));
        async move {
            for (round, step) in proofs.windows(2).enumerate() {
                if round % 2 == 0 {
                    // A runtime of one thread wakes tasks back and forth: were all rounds of the
                    // same number of turns, readers could miss the same state every time.
                    yield_now().await;
                }
                let (from, to) = (step[0], step[1]);
                let rotated = bench.store.rotate(key, from, to, change()?, None, bench.now).await?;
                ensure!(rotated == Rotated::Stored, "`rotate` answered {rotated:?}");
                done.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
            Ok(())
        }
    });
    let readers = (0..3).map(|_| -> Task {
        let (bench, known) = (bench.clone(), known.clone());
        let (proofs, done) = (Arc::clone(&proofs), Arc::clone(&done));
        Box::pin(async move {
            loop {
                let oldest = done.load(Ordering::SeqCst);
                let Some(found) = bench.load(&known, bench.now).await? else {
                    return Err(Failure::new("a session isn't found while it rotates"));
                };
                let lives = proofs[oldest..].contains(&found.proof());
                ensure!(lives, "an old proof is found after its rotation");
                if oldest + 1 == proofs.len() {
                    return Ok(());
                }
                yield_now().await;
            }
        })
    });
    together(readers.chain([rotator])).await.map(|_| ())
}

/// How sessions are ended while others write to them.
#[derive(Clone, Copy)]
enum End {
    Destroy,
    DestroyUser,
}

pub(super) async fn nothing_brings_a_destroyed_session_back(bench: Bench) -> Outcome {
    for _ in 0..ROUNDS {
        end_while_written(&bench, End::Destroy).await?;
    }
    Ok(())
}

pub(super) async fn destroy_user_ends_what_is_being_written(bench: Bench) -> Outcome {
    for _ in 0..ROUNDS {
        end_while_written(&bench, End::DestroyUser).await?;
    }
    Ok(())
}

/// What one writer does over and over.
#[derive(Clone, Copy)]
enum Write {
    Update,
    Rotate,
    Touch,
}

async fn end_while_written(bench: &Bench, end: End) -> Outcome {
    let user = user()?;
    let first = bench.signed_in(&user, None, bench.now).await?;
    let second = bench.signed_in(&user, None, bench.now).await?;
    // How many writers have written, and whether the sessions have ended.
    let writing = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));

    let mut tasks: Vec<Task> = Vec::new();
    for known in [&first, &second] {
        for write in [Write::Update, Write::Rotate, Write::Touch] {
            let (bench, known) = (bench.clone(), known.clone());
            let (writing, ended) = (Arc::clone(&writing), Arc::clone(&ended));
            tasks.push(Box::pin(write_until_gone(bench, known, write, writing, ended)));
        }
    }
    let writers = tasks.len();
    tasks.push(Box::pin({
        let (bench, user, sessions) =
            (bench.clone(), user.clone(), [first.clone(), second.clone()]);
        async move {
            while writing.load(Ordering::SeqCst) < writers {
                yield_now().await;
            }
            match end {
                End::Destroy => {
                    for known in &sessions {
                        bench.store.destroy(known.key, None, bench.now).await?;
                    }
                }
                End::DestroyUser => {
                    bench.store.destroy_user(user, None, 0, bench.now).await?;
                }
            }
            ended.store(true, Ordering::SeqCst);
            for _ in 0..ROUNDS {
                for known in &sessions {
                    bench.has_ended(known, bench.now).await?;
                }
                yield_now().await;
            }
            Ok(())
        }
    }));
    together(tasks).await?;

    for known in [&first, &second] {
        bench.has_ended(known, bench.now).await?;
    }
    bench.lists(&user, &[], bench.now).await
}

async fn write_until_gone(
    bench: Bench,
    known: Known,
    write: Write,
    writing: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
) -> Outcome {
    let (key, logins, now) = (known.key, known.record.logins(), bench.now);
    let mut from = known.record.proof();
    let mut first = true;
    loop {
        let has_ended = ended.load(Ordering::SeqCst);
        let done = match write {
            Write::Update => {
                let delta = change()?.with_field("written", &true)?;
                let updated = bench.store.update(key, delta, logins, None, now).await?;
                matches!(updated, Updated::Stored)
            }
            Write::Rotate => {
                let to = proof()?;
                let rotated = bench.store.rotate(key, from, to, change()?, Some(2), now).await?;
                from = to;
                rotated == Rotated::Stored
            }
            Write::Touch => bench.store.touch(key, logins, now).await?,
        };
        ensure!(!(has_ended && done), "a write to a session that has ended was stored");
        if std::mem::take(&mut first) {
            ensure!(done, "a write to a living session was `Gone`");
            writing.fetch_add(1, Ordering::SeqCst);
        }
        if !done {
            return Ok(());
        }
        yield_now().await;
    }
}

pub(super) async fn concurrent_logins_settle_within_the_cap(bench: Bench) -> Outcome {
    const CAP: usize = 3;
    for _ in 0..ROUNDS {
        let user = user()?;
        let logins = together((0..RACERS).map(|racer| {
            let (bench, user) = (bench.clone(), user.clone());
            async move {
                let now = bench.now + racer * SECOND;
                if racer % 2 == 0 {
                    return bench.signed_in(&user, Some(CAP), now).await;
                }
                let mut known = bench.anonymous().await?;
                bench.rotate(&mut known, change()?.with_user(user), Some(CAP), now).await?;
                Ok(known)
            }
        }))
        .await?;

        let now = bench.now + RACERS * SECOND;
        let mut alive = Vec::new();
        for known in &logins {
            if let Some(found) = bench.load(known, now).await? {
                same(&known.record, &found)?;
                alive.push(known);
            }
        }
        ensure!(!alive.is_empty(), "the cap of {CAP} has ended all sessions");
        ensure!(alive.len() <= CAP, "{} sessions are alive with a cap of {CAP}", alive.len());
        bench.lists(&user, &alive, now).await?;
    }
    Ok(())
}
