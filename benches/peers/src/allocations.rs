//! What is allocated.

use std::{alloc::System, hint::black_box};

use alloc_tracker::{Allocator, ReportOperation, Session, ThreadSpan};

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// More than a work keeps or frees, and than its peak is above what it keeps.
const ON_TOP: usize = 1 << 31;

/// How often this thread allocates meanwhile.
pub(crate) fn count(work: impl FnOnce()) -> u64 {
    report(ThreadSpan::no_peak, work, ReportOperation::total_allocations_count)
}

/// By how much more this thread has allocated afterwards than before.
pub(crate) fn bytes_kept(work: impl FnOnce()) -> f64 {
    let work_and_more = || {
        work();
        // Only the peak is told. Room that is reserved, and never touched, on top of everything
        // makes this moment the peak.
        black_box(Vec::<u8>::with_capacity(ON_TOP));
    };
    let peak = report(|span| span, work_and_more, ReportOperation::peak_outstanding_bytes);
    peak.expect("there is one span, and it has a peak") - ON_TOP as f64
}

fn report<T>(
    options: fn(ThreadSpan) -> ThreadSpan,
    work: impl FnOnce(),
    figure: fn(&ReportOperation) -> T,
) -> T {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("work");
    let span = options(operation.measure_thread().iterations(1));
    work();
    drop(span);
    let report = session.to_report();
    let (_, operation) = report.operations().next().expect("it has been measured");
    figure(operation)
}
