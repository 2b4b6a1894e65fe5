//! For tests: the [store contract](contract) as callable checks, a [clock](ManualClock) that stands
//! still, and a [store](FaultyStore) that fails on demand.

mod clock;
pub mod contract;
mod faulty;
mod helpers;

pub use clock::ManualClock;
pub use faulty::{Fault, Faults, FaultyStore, Gate, Operation};
pub use helpers::{cookie_from, issue, issue_with, refuse, signed_in, visitor};
