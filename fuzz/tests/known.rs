//! What has been found stays found, without a fuzzer.

use std::{fs, path::Path};

use wristband_fuzz::{TARGETS, driver};

#[test]
fn every_seed_and_every_regression_passes() {
    for (target, check) in TARGETS {
        let known = driver::known(target);
        assert!(!known.is_empty(), "{target} has no seeds");
        known.iter().for_each(|input| check(input));
    }
}

#[test]
fn every_target_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let programs = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut programs: Vec<_> =
        programs.map(|path| path.file_stem().expect("a name").to_owned()).collect();
    programs.sort();
    assert!(programs.iter().eq(TARGETS.iter().map(|(target, _)| target)));
}
