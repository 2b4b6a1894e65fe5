#!/usr/bin/env bash
# Builds the crate as it is published with the oldest versions of its own dependencies that Cargo.toml allows,
# with all features and with each alone. Those of the tests don't count.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="$PWD/target/oldest" CARGO_INCREMENTAL=0

rm -rf "$CARGO_TARGET_DIR/package"
cargo package --locked --no-verify --allow-dirty
crate=$(mktemp -d)
trap 'rm -rf "$crate"' EXIT
tar -xzf "$CARGO_TARGET_DIR"/package/*.crate -C "$crate" --strip-components=1
cd "$crate"

awk '/^\[/ { kept = !/^\[(dev-dependencies|profile)/ } kept' Cargo.toml >kept
mv kept Cargo.toml
rm Cargo.lock
# Cargo of a stable Rust knows the option as well, if it is told to.
RUSTC_BOOTSTRAP=1 cargo generate-lockfile -Z direct-minimal-versions

cargo check --locked --all-features
for feature in $(sed -n '/^\[features\]/,/^$/s/^\([a-z_]*\) = .*/\1/p' Cargo.toml); do
    cargo check --locked --no-default-features --features "$feature"
done
