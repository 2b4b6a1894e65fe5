//! Points 3, 4 and 5: `update`, and what no write may do.

use serde_json::value::RawValue;

use super::bench::{Bench, Failure, Known, LIFETIME, MINUTE, Outcome, change, proof, same, user};
use crate::{
    clock::Timestamp,
    lifetime::Lifetime,
    store::{Rotated, Updated},
};

/// Every write answers that the session is gone.
async fn all_writes_are_gone(bench: &Bench, known: &Known, now: Timestamp) -> Outcome {
    let write = || change()?.with_field("written", &true).map_err(Failure::from);
    let (key, logins) = (known.key, known.record.logins());
    for expect in [None, Some(known.record.version())] {
        let updated = bench.store.update(key, write()?, logins, expect, now).await?;
        ensure!(matches!(updated, Updated::Gone), "`update` answered {updated:?}, not `Gone`");
    }
    let alive = bench.store.touch(key, logins, now).await?;
    ensure!(!alive, "`touch` answered that the session lives");

    let user = known.record.user().cloned().map_or_else(user, Ok)?;
    for write in [write()?, write()?.with_user(user.clone())] {
        let from = known.record.proof();
        let rotated = bench.store.rotate(key, from, proof()?, write, Some(1), now).await?;
        ensure!(rotated == Rotated::Gone, "`rotate` answered {rotated:?}, not `Gone`");
    }
    bench.has_ended(known, now).await?;
    bench.lists(&user, &[], now).await
}

pub(super) async fn a_missing_session_is_never_created(bench: Bench) -> Outcome {
    let never_stored = Known::new(&change()?, LIFETIME, bench.now)?;
    all_writes_are_gone(&bench, &never_stored, bench.now).await?;

    let user = user()?;
    for destroyed in [bench.anonymous().await?, bench.signed_in(&user, None, bench.now).await?] {
        bench.store.destroy(destroyed.key, None, bench.now).await?;
        all_writes_are_gone(&bench, &destroyed, bench.now).await?;
    }
    Ok(())
}

pub(super) async fn an_expired_session_is_not_changed(bench: Bench) -> Outcome {
    let user = user()?;
    for known in [bench.anonymous().await?, bench.signed_in(&user, None, bench.now).await?] {
        all_writes_are_gone(&bench, &known, known.record.expires_at()).await?;
        // A store may have used the occasion to remove it.
        if let Some(found) = bench.load(&known, bench.now).await? {
            same(&known.record, &found)?;
        }
    }
    Ok(())
}

pub(super) async fn another_login_stops_a_write(bench: Bench) -> Outcome {
    let user = user()?;
    let mut known = bench.anonymous().await?;
    // At the second login it is the same user who logs in again.
    for _ in 0..2 {
        let logins = known.record.logins();
        bench.rotate(&mut known, change()?.with_user(user.clone()), None, bench.now).await?;

        let version = Some(known.record.version());
        for expect in [None, version] {
            let late = change()?.with_field("first", &"late")?;
            let updated = bench.store.update(known.key, late, logins, expect, bench.now).await?;
            ensure!(
                matches!(updated, Updated::Gone),
                "`update` of a request from before the login answered {updated:?}, not `Gone`",
            );
        }
        let alive = bench.store.touch(known.key, logins, bench.now + MINUTE).await?;
        ensure!(!alive, "`touch` of a request from before the login answered that it lives");
        bench.keeps(&known, bench.now).await?;
    }
    Ok(())
}

pub(super) async fn a_rotation_does_not_stop_an_update(bench: Bench) -> Outcome {
    let user = user()?;
    for mut known in [bench.anonymous().await?, bench.signed_in(&user, None, bench.now).await?] {
        bench.rotate(&mut known, change()?, None, bench.now).await?;
        bench.update(&mut known, change()?.with_field("late", &1)?, bench.now).await?;
        bench.keeps(&known, bench.now).await?;
        bench.touch(&mut known, bench.now + MINUTE).await?;
    }
    Ok(())
}

pub(super) async fn a_delta_leaves_the_other_fields(bench: Bench) -> Outcome {
    let mut known = bench.anonymous().await?;
    // Both were made from the record as it was created.
    let (one, other) = (change()?.with_field("one", &1)?, change()?.with_field("other", &2)?);
    bench.update(&mut known, one, bench.now).await?;
    bench.update(&mut known, other, bench.now).await?;
    bench.keeps(&known, bench.now).await?;

    let rotation = change()?.with_field("third", &3)?.without_field("one")?;
    bench.rotate(&mut known, rotation, None, bench.now).await?;
    bench.update(&mut known, change()?, bench.now).await?;
    bench.keeps(&known, bench.now).await
}

pub(super) async fn a_delta_does_all_it_says(bench: Bench) -> Outcome {
    let user = user()?;
    let long = Lifetime::new(3 * 60 * MINUTE, 5 * 60 * MINUTE).until_browser_closes();
    let short = Lifetime::new(10 * MINUTE, 20 * MINUTE).with_touch_interval(5 * MINUTE);
    let mut known = bench.signed_in(&user, None, bench.now).await?;
    for delta in [
        change()?.with_field("a", &1)?.with_field("b", &2)?,
        change()?.with_field("a", &3)?.without_field("b")?.without_field("never there")?,
        change()?.with_label("tablet")?,
        change()?.with_label("")?.with_field("c", &4)?,
        change()?.with_cleared_fields().with_field("d", &5)?.without_field("a")?,
        change()?.with_cleared_fields(),
        change()?.with_field("e", &serde_json::Value::Null)?,
        change()?.with_lifetime(long),
    ] {
        bench.update(&mut known, delta, bench.now + MINUTE).await?;
        bench.keeps(&known, bench.now + MINUTE).await?;
        bench.lists(&user, &[&known], bench.now + MINUTE).await?;
    }
    bench.keeps(&known, bench.now + 2 * 60 * MINUTE).await?;
    bench.lists(&user, &[&known], bench.now + 2 * 60 * MINUTE).await?;

    bench.update(&mut known, change()?.with_lifetime(short), bench.now + MINUTE).await?;
    bench.keeps(&known, bench.now + MINUTE).await?;
    bench.has_ended(&known, bench.now + 11 * MINUTE).await?;
    bench.lists(&user, &[], bench.now + 11 * MINUTE).await
}

pub(super) async fn values_are_kept_to_the_letter(bench: Bench) -> Outcome {
    let deep = format!("{}0{}", "[".repeat(100), "]".repeat(100));
    let long = format!("\"{}\"", "x".repeat(20_000));
    let values = [
        "null",
        "true",
        "-0",
        "0.0",
        "1.0",
        "1e2",
        "1E+2",
        "1e400",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud83e\\udd8a\"",
        "\"\u{1f98a}\"",
        "\"\\/\"",
        "\"/\"",
        "\"'\\\"\\\\;--\"",
        "\"e\u{301} \u{e9}\"",
        "[]",
        "{}",
        "{\"b\":1,\"a\":2}",
        "{\"\":{\"$\":null}}",
        &deep,
        &long,
    ];
    let longest = "n".repeat(255);
    let names = [
        "a",
        "A",
        "a.b",
        "a.b[0]",
        "$",
        "$.a",
        "\"",
        "'",
        "\\",
        "a b",
        " a",
        "a ",
        "%",
        "*",
        "{}",
        "null",
        "0",
        "-",
        "a:b",
        "\u{e9}",
        "e\u{301}",
        "\u{1f98a}",
        "__proto__",
        &longest,
    ];

    let mut all = change()?;
    for (name, value) in names.iter().zip(values.iter().cycle()) {
        all = all.with_field(*name, &RawValue::from_string((*value).to_owned())?)?;
    }
    let mut known = Known::new(&all, LIFETIME, bench.now)?;
    bench.create(&known, None, bench.now).await?;
    bench.keeps(&known, bench.now).await?;

    for (name, value) in names.iter().zip(values.iter().cycle().skip(1)) {
        let delta = change()?.with_field(*name, &RawValue::from_string((*value).to_owned())?)?;
        bench.update(&mut known, delta, bench.now).await?;
    }
    bench.keeps(&known, bench.now).await?;
    for name in names {
        bench.update(&mut known, change()?.without_field(name)?, bench.now).await?;
        bench.keeps(&known, bench.now).await?;
    }
    Ok(())
}

pub(super) async fn another_version_is_a_conflict(bench: Bench) -> Outcome {
    let mut known = bench.anonymous().await?;
    let old = known.record.version();
    let logins = known.record.logins();

    let next = change()?.with_field("first", &2)?;
    known.record.apply(&next, bench.now);
    let updated = bench.store.update(known.key, next, logins, Some(old), bench.now).await?;
    ensure!(
        matches!(updated, Updated::Stored),
        "`update` of the expected version answered {updated:?}, not `Stored`",
    );
    bench.keeps(&known, bench.now).await?;

    for _ in 0..2 {
        let late = change()?.with_field("first", &"late")?.with_cleared_fields();
        let now = bench.now + MINUTE;
        match bench.store.update(known.key, late, logins, Some(old), now).await? {
            Updated::Conflict(None) => {}
            Updated::Conflict(Some(found)) => same(&known.record, &found)?,
            other => {
                return Err(Failure::new(format!(
                    "`update` of another version answered {other:?}, not `Conflict`"
                )));
            }
        }
        bench.keeps(&known, bench.now).await?;
        // The second time it is a rotation that has changed the version.
        bench.rotate(&mut known, change()?, None, bench.now).await?;
    }
    Ok(())
}
