#!/usr/bin/env bash
# Runs every test of every feature. What is missing on the machine is installed by `setup.sh`; what the
# tests need beside the crate is started in a temporary directory and stopped again. The memory store
# needs no server: today there is nothing to start.
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/setup.sh

# All features are on in tests: the crate is its own dev-dependency. `--all-features` also builds the
# library's own unit tests with them.
cargo test --locked --all-features --all-targets "$@"
cargo test --locked --all-features --doc
