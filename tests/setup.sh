#!/usr/bin/env bash
# Sees to what the builds and the tests need on a machine: a linker, which is installed where it is missing
# (Debian's packages), Rust, and the cargo commands that are named: `tests/setup.sh fmt clippy`.
set -euo pipefail

fail() {
    echo "tests/setup.sh: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "no linker (cc), and it takes root or sudo to install one: install gcc and libc6-dev"
    fi
}

# Every dependency with a build script or a procedural macro is linked, even by `cargo clippy`.
if ! command -v cc >/dev/null; then
    command -v apt-get >/dev/null || fail "no linker (cc): install a C compiler"
    as_root apt-get update
    as_root apt-get install -y --no-install-recommends gcc libc6-dev
fi

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or newer, https://rustup.rs"
for command in "$@"; do
    component=${command/fmt/rustfmt}
    cargo "$command" --version >/dev/null 2>&1 ||
        fail "cargo $command is missing: rustup component add $component"
done
