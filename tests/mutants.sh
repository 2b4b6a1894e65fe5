#!/usr/bin/env bash
# Mutation testing: breaks the crate in each of the ways that cargo-mutants knows, one after the other, and
# says which of them no test notices. `tests/mutants.sh 1/3` does a third of them, `tests/mutants.sh 1/1 src/token/`
# those whose names have that, or another of its further arguments, in them. See docs/mutants.md.
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/setup.sh mutants

mkdir -p target/mutants
cargo mutants --list --json >target/mutants/list.json
cargo test --locked --quiet --manifest-path tests/mutants/Cargo.toml
cargo run --locked --quiet --manifest-path tests/mutants/Cargo.toml -- target/mutants/list.json "${1:-1/1}" "${@:2}"
