//! Races, each in many schedules of its threads.
//!
//! Threads, locks and atomics are shuttle's: it decides who goes on at each of them. Each race is
//! one that must not harm; each has a bug in `bugs/` that it catches.

mod cache;
mod cancellation;
mod ending;
mod feed;
mod handle;
mod memory;
mod remote;
mod requests;
mod schedules;
mod site;
mod support;
