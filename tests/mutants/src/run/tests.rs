//! With a script in the place of the tests.

use std::{os::unix::fs::PermissionsExt as _, sync::atomic::AtomicUsize};

use super::*;

/// Its tests come across mutant 7, and fail when the condition holds.
fn outcome_when(condition: &str, is_built_in: bool) -> Outcome {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("mutants-{}-{number}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let binary = directory.join("binary");
    let script =
        format!("#!/bin/sh\nif {condition}; then echo 'test slips ... FAILED'; exit 1; fi");
    fs::write(&binary, script).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o700)).unwrap();
    let test = |name: &str| Test {
        binary: binary.clone(),
        name: name.to_owned(),
        takes: Duration::ZERO,
        reaches: vec![7],
    };
    let tests = Tests { run: vec![test("slips"), test("passes")], left_out: vec![test("sleeps")] };
    let outcome = if is_built_in {
        outcome_of_built(&directory, &tests, std::slice::from_ref(&binary), 7)
    } else {
        outcome(&directory, &tests, 7)
    };
    fs::remove_dir_all(&directory).unwrap();
    outcome
}

/// What fails at the first time only.
const ONCE: &str = "mkdir once 2>/dev/null";

#[test]
fn what_fails_with_the_mutant_alone_has_killed_it() {
    let outcome = outcome_when("[ \"$MUTANT\" = 7 ]", false);
    assert!(matches!(outcome, Outcome::Killed(test) if test == "slips"));
}

#[test]
fn what_fails_without_the_mutant_too_has_not_killed_it_and_the_others_are_still_run() {
    let outcome = outcome_when("[ $# -gt 4 ] || [ \"$4\" = slips ]", false);
    assert!(matches!(outcome, Outcome::Survived(2, _)));
}

#[test]
fn a_mutant_that_is_built_in_has_to_fail_twice() {
    assert!(matches!(outcome_when("true", true), Outcome::Killed(_)));
    assert!(matches!(outcome_when(ONCE, true), Outcome::Survived(2, _)));
}

#[test]
fn a_mutant_that_survives_is_told_with_the_tests_that_were_left_out() {
    let outcome = outcome_when("false", false);
    assert!(matches!(outcome, Outcome::Survived(2, left_out) if left_out == ["sleeps"]));
}
