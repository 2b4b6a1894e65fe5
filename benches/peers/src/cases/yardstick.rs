//! What two threads can do on this machine.

use std::hint::black_box;

use crate::executor::Executor;
use crate::harness::{self, BATCH, Meter};
use std::time::Duration;

/// Nanoseconds for a thousand multiplications, each of which waits for the one before, on each of
/// so many threads.
pub(crate) fn round(threads: usize, at_least: Duration) -> f64 {
    let mut number = 1_u64;
    let batch = move |_: &Executor, meter: &mut Meter| {
        meter.measure(BATCH, || {
            for _ in 0..BATCH * 1000 {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005) | 1);
            }
        });
    };
    harness::nanoseconds_in_parallel(&mut vec![batch; threads], at_least)
}
