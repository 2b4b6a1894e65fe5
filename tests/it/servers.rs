//! The servers that the tests run against.

use std::{env, process::Command};

/// What `tests/servers.sh` says about a server.
///
/// # Panics
///
/// Outside of that script.
pub fn server(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run ./tests/run.sh"))
}

/// Sends a signal to a process.
pub fn signal(name: &str, process: u32) {
    // The shell's own `kill`: a program of that name is not on every machine.
    let kill = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(kill.expect("a shell").success(), "no signal {name} for {process}");
}
