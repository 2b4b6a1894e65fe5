#!/usr/bin/env bash
# Runs every test of every feature. What is missing on the machine is installed (Debian's packages, with
# sudo when not root); what the tests need beside the crate is started in a temporary directory and
# stopped again. The embedded store needs no server: today there is nothing to start.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# A linker, for the few dependencies with C code.
if ! command -v cc >/dev/null; then
    as_root apt-get update
    as_root apt-get install -y --no-install-recommends gcc libc6-dev
fi
if ! command -v cargo >/dev/null; then
    echo "tests/run.sh: cargo is missing; install Rust 1.95 or newer with rustup" >&2
    exit 1
fi

# All features are on in tests: the crate is its own dev-dependency. `--all-features` also builds the
# library's own unit tests with them.
cargo test --locked --all-features --all-targets "$@"
cargo test --locked --all-features --doc
