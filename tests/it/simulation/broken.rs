//! What is broken, the simulation finds.

use super::{
    SOUND, Setup,
    caches::{self, Make},
    history::Kind,
    plan::{Plan, Weather},
    remote::Flaw,
    simulate, watchers,
};

/// What the first simulation finds that finds anything, of those in which this happens.
fn found(setup: Setup, happens: fn(&Plan) -> bool) -> Kind {
    let seeds = (0..).filter(|seed| happens(&Plan::new(*seed, Weather::Foul))).take(1_000);
    let mut violations = seeds.filter_map(|seed| simulate(seed, Weather::Foul, setup).violation());
    violations.next().expect("what is broken is found").kind
}

fn anything(_: &Plan) -> bool {
    true
}

fn found_with(cache: Make) -> Kind {
    found(Setup { cache, ..SOUND }, anything)
}

/// A stream that looks is answered by the cache, too.
fn is_too_old(kind: Kind) -> bool {
    matches!(kind, Kind::Ended | Kind::Crowded | Kind::Superseded | Kind::Stale | Kind::Late)
}

#[test]
fn a_cache_that_does_not_guard_its_fills_is_found() {
    assert!(is_too_old(found_with(caches::without_guard)));
}

#[test]
fn a_cache_that_trusts_a_silent_feed_is_found() {
    assert!(is_too_old(found_with(caches::trusting_silence)));
}

#[test]
fn a_cache_whose_proofs_count_from_their_receipt_is_found() {
    assert!(is_too_old(found_with(caches::stamped_on_receipt)));
}

#[test]
fn a_cache_that_is_not_emptied_after_a_reconnect_is_found() {
    assert!(is_too_old(found_with(caches::without_gaps)));
}

#[test]
fn a_cache_that_is_not_told_what_a_cap_ends_is_found() {
    // Others' ends are told.
    let setup = Setup { cache: caches::not_told_of_caps, ..SOUND };
    assert!(matches!(found(setup, |plan| plan.caps), Kind::Crowded | Kind::Late));
}

#[test]
fn a_login_that_does_not_go_through_the_cache_is_found() {
    let setup = Setup { capped: watchers::around_the_cache, ..SOUND };
    assert_eq!(found(setup, |plan| plan.caps), Kind::Crowded);
}

#[test]
fn a_store_that_forgets_caps_is_found() {
    let setup = Setup { flaw: Some(Flaw::ForgetsCaps), ..SOUND };
    assert_eq!(found(setup, |plan| plan.caps), Kind::Uncapped);
}

#[test]
fn a_store_that_forgets_touches_is_found() {
    let setup = Setup { flaw: Some(Flaw::ForgetsTouches), ..SOUND };
    assert!(matches!(found(setup, |plan| plan.expiry), Kind::Cut | Kind::Touched));
}

#[test]
fn a_store_that_keeps_sessions_alive_for_too_long_is_found() {
    let setup = Setup { flaw: Some(Flaw::TouchesTooFar), ..SOUND };
    assert_eq!(found(setup, |plan| plan.expiry), Kind::Late);
}

#[test]
fn one_who_waits_and_ignores_gaps_is_found() {
    assert_eq!(found(Setup { front: watchers::ignoring_gaps, ..SOUND }, anything), Kind::Late);
}

#[test]
fn one_who_waits_and_trusts_a_silent_feed_is_found() {
    let setup = Setup { front: watchers::trusting_silence, ..SOUND };
    // Who is well learns of an end by looking only.
    let is_mute = |plan: &Plan| !plan.silences.is_empty() && plan.cuts.is_empty();
    assert_eq!(found(setup, is_mute), Kind::Late);
}

#[test]
fn one_who_waits_and_takes_a_change_for_the_end_is_found() {
    let setup = Setup { front: watchers::ending_what_changes, ..SOUND };
    assert_eq!(found(setup, anything), Kind::Cut);
}
