//! The demo site as programs in other languages see it, and through a reverse proxy: the same story passes.

mod curl;
mod grpc;
mod nginx;
mod story;
mod streams;

use std::{path::Path, process::Output};

use tokio::process::Command;

/// A file beside this one.
fn beside(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name).display().to_string()
}

/// What a program that ends by itself writes.
///
/// # Panics
///
/// If it isn't there (`tests/setup.sh` installs it), or fails.
async fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.kill_on_drop(true).output().await.unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {errors}");
    String::from_utf8(stdout).unwrap()
}
