#!/usr/bin/env bash
# Shows that the soak bites: puts each of the bugs into a copy of the demo site, uses that for a while on the memory
# store, and expects the finding that the bug's first line names. `bugs.sh --check` only looks whether they fit
# the sources.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
    echo "tests/soak/bugs.sh: $*" >&2
    exit 1
}

found_as() { sed -n '1s/^Found as: //p' "$1"; }
for bug in bugs/*.patch; do
    [ -n "$(found_as "$bug")" ] || fail "$bug doesn't say as what it is found"
    (cd ../.. && git apply --check "tests/soak/$bug") || fail "$bug no longer fits the sources"
done
[ "${1:-}" != --check ] || exit 0

# Longer than a stream may go on after the end of its session.
seconds=45
cargo build --locked --quiet --release
soak=$PWD/target/release/tower-wristband-soak
bugs=$PWD/bugs
# Apart from the artifacts of the sources themselves: cargo would take those for the copy's.
export CARGO_TARGET_DIR="$PWD/target/bugs"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
(cd ../.. && git ls-files -z | tar --null -T - -cf -) | tar -xf - -C "$copy"
cd "$copy"

build() { cargo build --locked --quiet --release --example login; }
use() {
    "$soak" "$CARGO_TARGET_DIR/release/examples/login" memory "$seconds"
}
build
use >output 2>&1 || { cat output; fail "without a bug there are findings"; }
missed=0
for bug in "$bugs"/*.patch; do
    echo "== bugs/${bug##*/}"
    git apply "$bug"
    build
    if ! use >output 2>&1 && finding=$(grep -m 1 "^wrong: .*$(found_as "$bug")" output); then
        echo "   $finding"
    else
        cat output
        echo "   NOT found"
        missed=$((missed + 1))
    fi
    git apply --reverse "$bug"
done
[ "$missed" -eq 0 ] || fail "$missed bugs were not found"
