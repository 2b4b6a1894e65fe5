#!/usr/bin/env bash
# Runs every test of every feature. What is missing on the machine is installed by `setup.sh`; the databases
# that the tests need are started by `servers.sh`, and stopped again.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${WRISTBAND_SERVERS:-}" ] || exec ./tests/servers.sh ./tests/run.sh "$@"

# All features are on in tests: the crate is its own dev-dependency. `--all-features` also builds the
# library's own unit tests with them.
cargo test --locked --all-features --all-targets "$@"
cargo test --locked --all-features --doc
