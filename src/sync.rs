//! Locks and atomics: the standard library's, or where `tests/explore` compiles the crate, those
//! whose schedule it decides.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
