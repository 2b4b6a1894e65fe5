//! Point 9: `list` and `destroy_user`.

use super::bench::{
    Bench, Failure, Known, LIFETIME, MINUTE, Outcome, SECOND, change, user, user_like,
};
use crate::{
    store::{SessionKey, SessionSummary},
    user::UserId,
};

/// Sessions of the user, each authenticated a second after the other.
async fn devices<const N: usize>(bench: &Bench, user: &UserId) -> Result<[Known; N], Failure> {
    let mut devices = Vec::new();
    let mut now = bench.now;
    for _ in 0..N {
        devices.push(bench.signed_in(user, None, now).await?);
        now = now + SECOND;
    }
    devices.try_into().map_err(|_| Failure::new("as many were created"))
}

pub(super) async fn list_pages_in_key_order(bench: Bench) -> Outcome {
    let user = user()?;
    let devices: [_; 7] = devices(&bench, &user).await?;
    let now = bench.now + MINUTE;
    bench.lists(&user, &devices.each_ref(), now).await?;

    let mut keys = devices.each_ref().map(|known| known.key);
    keys.sort();
    let page = async |after: Option<SessionKey>, limit| -> Result<Vec<SessionKey>, Failure> {
        let page = bench.store.list(user.clone(), after, limit, now).await?;
        Ok(page.iter().map(SessionSummary::key).collect())
    };
    for limit in [0, 1, 2, 3, 7, 8] {
        let (mut after, mut start) = (None, 0);
        loop {
            let end = (start + limit).min(keys.len());
            let found = page(after, limit).await?;
            ensure!(
                found == keys[start..end],
                "`list` of at most {limit} behind {after:?} shows {found:?}, not {:?}",
                &keys[start..end],
            );
            if end == start {
                break;
            }
            (after, start) = (Some(keys[end - 1]), end);
        }
    }

    // A page goes on behind a session that has ended meanwhile.
    bench.store.destroy(keys[2], None, now).await?;
    let found = page(Some(keys[2]), 2).await?;
    ensure!(found == keys[3..5], "`list` behind an ended session shows {found:?}");
    Ok(())
}

pub(super) async fn list_shows_the_living_of_one_user(bench: Bench) -> Outcome {
    let (alice, bob) = (user()?, user()?);
    let [mut seen, mut named, idle, ended] = devices(&bench, &alice).await?;
    let [his] = devices(&bench, &bob).await?;
    bench.anonymous().await?;
    bench.lists(&alice, &[&seen, &named, &idle, &ended], bench.now + MINUTE).await?;

    bench.touch(&mut seen, bench.now + 30 * MINUTE).await?;
    let delta = change()?.with_label("Safari on \"Mac\"")?.with_field("data", &1)?;
    bench.update(&mut named, delta, bench.now + 30 * MINUTE).await?;
    bench.rotate(&mut named, change()?, None, bench.now + 31 * MINUTE).await?;
    bench.store.destroy(ended.key, None, bench.now).await?;
    bench.lists(&alice, &[&seen, &named, &idle], bench.now + 31 * MINUTE).await?;
    bench.lists(&bob, &[&his], bench.now + 31 * MINUTE).await?;

    let idle_deadline = idle.record.expires_at();
    bench.lists(&alice, &[&seen, &named], idle_deadline).await?;
    bench.lists(&bob, &[], idle_deadline).await
}

pub(super) async fn users_are_told_apart_to_the_byte(bench: Bench) -> Outcome {
    let common = user()?;
    let longest = "x".repeat(255 - common.as_str().len());
    let ends = [
        "",
        "x",
        "X",
        "xx",
        " ",
        "  ",
        "\0",
        "\0x",
        "\n",
        "\t",
        "%",
        "_",
        "*",
        "?",
        ":",
        "::",
        "/",
        "..",
        "{}",
        "{x}",
        "[x]",
        "'",
        "\"",
        "\\",
        "\\x",
        "';--",
        "$1",
        "\u{e9}",
        "e\u{301}",
        "e",
        "\u{df}",
        "ss",
        "\u{130}",
        "i",
        "I",
        "\u{1f98a}",
        "\u{10ffff}",
        "\u{7f}",
        "\u{feff}",
        &longest,
    ];
    let mut theirs = Vec::new();
    for end in ends {
        let user = UserId::new(format!("{common}{end}"))?;
        let known = bench.signed_in(&user, Some(1), bench.now).await?;
        theirs.push((user, known));
    }
    for (user, known) in &theirs {
        bench.keeps(known, bench.now).await?;
        bench.lists(user, &[known], bench.now).await?;
    }
    while let Some((user, known)) = theirs.pop() {
        let ended = bench.store.destroy_user(user.clone(), None, 0, bench.now).await?;
        ensure!(ended == 1, "`destroy_user` of {user:?} ended {ended} sessions, not 1");
        bench.has_ended(&known, bench.now).await?;
        for (user, known) in &theirs {
            bench.keeps(known, bench.now).await?;
            bench.lists(user, &[known], bench.now).await?;
        }
    }
    Ok(())
}

/// A `destroy_user` that must answer this.
async fn destroy_user(
    bench: &Bench,
    user: &UserId,
    except: Option<&Known>,
    keep_newest: usize,
    ended: usize,
) -> Outcome {
    let (except, now) = (except.map(|known| known.key), bench.now + MINUTE);
    let answer = bench.store.destroy_user(user.clone(), except, keep_newest, now).await?;
    ensure!(answer == ended, "`destroy_user` answered {answer}, not {ended}");
    Ok(())
}

pub(super) async fn destroy_user_ends_all_but_the_chosen(bench: Bench) -> Outcome {
    let (alice, bob) = (user()?, user()?);
    let now = bench.now + MINUTE;
    let [his] = devices(&bench, &bob).await?;
    let anonymous = bench.anonymous().await?;
    let [first, second, third, fourth, fifth] = devices(&bench, &alice).await?;
    let expired = Known::new(
        &change()?.with_user(alice.clone()),
        LIFETIME,
        super::bench::before(bench.now, 24 * 60 * MINUTE),
    )?;
    bench.create(&expired, None, expired.record.created_at()).await?;

    destroy_user(&bench, &alice, Some(&second), 4, 0).await?;
    bench.lists(&alice, &[&first, &second, &third, &fourth, &fifth], now).await?;

    // The exception is not one of the newest that are kept.
    destroy_user(&bench, &alice, Some(&second), 2, 2).await?;
    bench.lists(&alice, &[&second, &fourth, &fifth], now).await?;
    bench.has_ended(&first, now).await?;
    bench.has_ended(&third, now).await?;

    destroy_user(&bench, &alice, Some(&fifth), 1, 1).await?;
    bench.lists(&alice, &[&fourth, &fifth], now).await?;
    // Another's session is no exception to these.
    destroy_user(&bench, &alice, Some(&his), 0, 2).await?;
    destroy_user(&bench, &alice, None, 0, 0).await?;
    bench.lists(&alice, &[], now).await?;
    for ended in [&second, &fourth, &fifth] {
        bench.has_ended(ended, now).await?;
    }
    bench.keeps(&his, now).await?;
    bench.keeps(&anonymous, now).await?;
    bench.lists(&bob, &[&his], now).await
}

pub(super) async fn a_session_bound_by_rotation_is_reached(bench: Bench) -> Outcome {
    let user = user_like("@example.org")?;
    let now = bench.now + MINUTE;
    let mut bound = bench.anonymous().await?;
    bench.rotate(&mut bound, change()?.with_user(user.clone()), None, bench.now).await?;
    bench.lists(&user, &[&bound], now).await?;

    let later = bench.signed_in(&user, None, bench.now + SECOND).await?;
    bench.rotate(&mut bound, change()?, None, bench.now + 2 * SECOND).await?;
    bench.lists(&user, &[&bound, &later], now).await?;
    // A rotation is no authentication, a login is: now `bound` is the newest.
    let again = change()?.with_user(user.clone());
    bench.rotate(&mut bound, again, None, bench.now + 3 * SECOND).await?;
    destroy_user(&bench, &user, None, 1, 1).await?;
    bench.has_ended(&later, now).await?;
    bench.keeps(&bound, now).await?;

    destroy_user(&bench, &user, None, 0, 1).await?;
    bench.has_ended(&bound, now).await?;
    bench.lists(&user, &[], now).await
}
