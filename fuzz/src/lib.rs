//! Hostile input for tower-wristband. A target takes any bytes, and panics where a promise is broken.
//!
//! `fuzz/run.sh` runs them: with libFuzzer where there is nightly Rust, and otherwise with the
//! [`driver`]. What is in `seeds` and `regressions` is also replayed by `cargo test`.

#![forbid(unsafe_code)]

pub mod changes;
pub mod cookie_headers;
pub mod driver;
mod now;
pub mod records;
pub mod set_cookie;
mod sqlite;
pub mod tokens;

use arbitrary::{Arbitrary, Unstructured};

/// What a target does with its input.
pub type Check = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Check); 5] = [
    ("changes", changes::check),
    ("cookie_headers", cookie_headers::check),
    ("records", records::check),
    ("set_cookie", set_cookie::check),
    ("tokens", tokens::check),
];

/// As many as the rest of the input is good for.
fn sequence<'a, T: Arbitrary<'a>>(input: &mut Unstructured<'a>) -> impl Iterator<Item = T> {
    input.arbitrary_iter().into_iter().flatten().map_while(Result::ok)
}

/// The program of a target.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::$name::check(bytes));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::driver::run(stringify!($name), $crate::$name::check);
        }
    };
}
