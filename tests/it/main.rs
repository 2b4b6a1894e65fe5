//! The integration tests: one module per behaviour.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of one binary")]

mod support;

mod contract;
mod faulty_store;
mod story;
