//! How a case is measured.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::{allocations, executor::Executor};

/// So many requests are made between two looks at the clock, where nothing speaks against it.
pub(crate) const BATCH: usize = 1000;

/// A batch of requests of one case. What has to be prepared and cleaned up is not measured.
pub(crate) trait Batch: FnMut(&Executor, &mut Meter) {}

impl<F: FnMut(&Executor, &mut Meter)> Batch for F {}

/// Measures time or allocations: counting them costs time.
pub(crate) enum Meter {
    Time { elapsed: Duration, requests: usize },
    Allocations { count: u64, requests: usize },
}

impl Meter {
    pub(crate) fn measure(&mut self, amount: usize, work: impl FnOnce()) {
        match self {
            Self::Time { elapsed, requests } => {
                let start = Instant::now();
                work();
                *elapsed += start.elapsed();
                *requests += amount;
            }
            Self::Allocations { count, requests } => {
                *count += allocations::count(work);
                *requests += amount;
            }
        }
    }
}

/// Nanoseconds a request, over at least this time, once it is warm.
pub(crate) fn nanoseconds(batch: &mut impl Batch, at_least: Duration, executor: &Executor) -> f64 {
    timed(batch, at_least / 10, executor);
    timed(batch, at_least, executor)
}

fn timed(batch: &mut impl Batch, at_least: Duration, executor: &Executor) -> f64 {
    let mut meter = Meter::Time { elapsed: Duration::ZERO, requests: 0 };
    loop {
        batch(executor, &mut meter);
        if let Meter::Time { elapsed, requests } = meter
            && elapsed >= at_least
        {
            return elapsed.as_nanos() as f64 / requests as f64;
        }
    }
}

/// The same on several threads at a time, the mean of them.
pub(crate) fn nanoseconds_in_parallel(
    batches: &mut [impl Batch + Send],
    at_least: Duration,
) -> f64 {
    let (count, barrier) = (batches.len(), Barrier::new(batches.len()));
    let one = &|batch| {
        let executor = Executor::new();
        let _entered = executor.enter();
        barrier.wait();
        nanoseconds(batch, at_least, &executor)
    };
    let total: f64 = thread::scope(|scope| {
        let threads: Vec<_> =
            batches.iter_mut().map(|batch| scope.spawn(move || one(batch))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it has not panicked")).sum()
    });
    total / count as f64
}

/// Allocations a request, over many of them: some stores put work off.
pub(crate) fn allocations(batch: &mut impl Batch, executor: &Executor) -> f64 {
    let mut meter = Meter::Allocations { count: 0, requests: 0 };
    loop {
        batch(executor, &mut meter);
        if let Meter::Allocations { count, requests } = meter
            && requests >= 10 * BATCH
        {
            return count as f64 / requests as f64;
        }
    }
}
