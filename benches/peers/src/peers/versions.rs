//! The versions that run, from the lock file they were built with.

use std::sync::LazyLock;

use cargo_lock::{Lockfile, Package};

static LOCKED: LazyLock<Vec<Package>> = LazyLock::new(|| {
    let lockfile: Lockfile = include_str!("../../Cargo.lock").parse().expect("cargo wrote it");
    lockfile.packages
});

/// The newest version of a package.
pub(crate) fn of(name: &str) -> String {
    newest(name, |_| true).version.to_string()
}

/// The newest version of a package, with that of another one, which shares a third with it.
pub(crate) fn of_both(name: &str, other: &str, shared: &str) -> String {
    let package = newest(name, |_| true);
    let is_shared = |other: &Package| {
        let theirs = other.dependencies.iter().find(|needed| needed.name.as_str() == shared);
        theirs.is_some_and(|needed| package.dependencies.contains(needed))
    };
    let other = newest(other, is_shared);
    format!("{} with {} {}", package.version, other.name, other.version)
}

/// The version of a package that another one needs.
pub(crate) fn needed_by(name: &str, needed: &str) -> String {
    let mut dependencies = newest(name, |_| true).dependencies.iter();
    let dependency = dependencies.find(|dependency| dependency.name.as_str() == needed);
    dependency.expect("it is a dependency").version.to_string()
}

fn newest(name: &str, condition: impl Fn(&Package) -> bool) -> &'static Package {
    let named = LOCKED.iter().filter(|package| package.name.as_str() == name && condition(package));
    named.max_by_key(|package| &package.version).expect("it is a dependency")
}
