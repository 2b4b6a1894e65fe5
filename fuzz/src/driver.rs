//! Runs a target without a fuzzer: over what is known, and over random changes to it.

use std::{
    env, fs, panic,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::Check;

/// The longest input that is made, in bytes.
const MAX_BYTES: usize = 4096;

/// The program of a target, which goes on for as many seconds as its argument says.
///
/// # Panics
///
/// If a promise is broken; the input is in `artifacts` then.
pub fn run(target: &str, check: Check) {
    let seconds = env::args().nth(1).unwrap_or_default();
    let seconds = seconds.parse().expect("the argument is a number of seconds");
    let (start, duration) = (Instant::now(), Duration::from_secs(seconds));
    let known = known(target);
    let mut random = Rng::new();
    let mut runs = 0_u64;
    while runs < known.len() as u64 || start.elapsed() < duration {
        let input = match known.get(runs as usize) {
            Some(input) => input.clone(),
            None => changed(&known, &mut random),
        };
        if let Err(cause) = panic::catch_unwind(|| check(&input)) {
            let artifacts = folder("artifacts", target);
            let path = artifacts.join(format!("{:016x}", random.u64(..)));
            fs::create_dir_all(artifacts)
                .and_then(|()| fs::write(&path, input))
                .expect("it can be kept");
            eprintln!("{target}: the input is in {}", path.display());
            panic::resume_unwind(cause);
        }
        runs += 1;
    }
    println!("{target}: {runs} inputs in {:?}", start.elapsed());
}

/// The seeds and the regressions of a target.
///
/// # Panics
///
/// If they can't be read.
#[must_use]
pub fn known(target: &str) -> Vec<Vec<u8>> {
    let files = ["seeds", "regressions"].map(|kind| fs::read_dir(folder(kind, target)));
    let files = files.into_iter().flatten().flatten().map(|file| file.expect("a file").path());
    files.map(|path| fs::read(path).expect("a file")).collect()
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// Some input with a few changes: bytes that are others, removed, repeated, or from another input.
fn changed(known: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(known).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(0..=input.len());
        let to = at + random.usize(0..=(input.len() - at).min(16));
        let new: Vec<u8> = match random.u8(0..4) {
            0 => Vec::new(),
            1 => (0..random.u8(1..8)).map(|_| random.u8(..)).collect(),
            2 => input[at..to].repeat(2),
            _ => {
                let other = random.choice(known).map_or(&[][..], Vec::as_slice);
                let start = random.usize(0..=other.len());
                other[start..other.len().min(start + random.usize(0..80))].into()
            }
        };
        input.splice(at..to, new);
    }
    input.truncate(MAX_BYTES);
    input
}
