//! Which mutant is on: the one whose number `MUTANT` is. With `MUTANTS_REACHED`, the numbers of all
//! mutants that the program comes across are written to that file. What the compiler computes is
//! mutated in a build of its own, with `MUTANT_BUILT`.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

static ON: LazyLock<u32> =
    LazyLock::new(|| std::env::var("MUTANT").map_or(0, |id| id.parse().unwrap_or(0)));

static REACHED: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("MUTANTS_REACHED")?;
    OpenOptions::new().append(true).create(true).open(path).ok()
});

static SEEN: [AtomicBool; 16384] = [const { AtomicBool::new(false) }; 16384];

pub(crate) fn is(id: u32) -> bool {
    if let Some(mut file) = REACHED.as_ref()
        && !SEEN[id as usize].swap(true, Ordering::Relaxed)
    {
        // Without an allocation: some tests count them.
        let digit = |power| b'0' + (id / power % 10) as u8;
        _ = file.write_all(&[digit(10_000), digit(1000), digit(100), digit(10), digit(1), b'\n']);
    }
    *ON == id
}

pub(crate) const fn is_built(id: u32) -> bool {
    const BUILT: u32 = match option_env!("MUTANT_BUILT") {
        Some(id) => number(id.as_bytes()),
        None => 0,
    };
    BUILT == id
}

const fn number(mut digits: &[u8]) -> u32 {
    let mut number = 0;
    while let [digit, rest @ ..] = digits {
        number = 10 * number + (*digit - b'0') as u32;
        digits = rest;
    }
    number
}
