#!/usr/bin/env bash
# Shows that the explorations bite: applies each of the bugs to a copy of the sources, and expects every exploration
# that is to catch it to fail. `bugs.sh 2/3` takes the second third of them, `bugs.sh --check` only looks whether
# they fit the sources and whether each exploration has one.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
    echo "tests/explore/bugs.sh: $*" >&2
    exit 1
}

explorations=$(sed -n '/^#\[test\]/{n;s/^fn \([a-z_]*\).*/\1/p}' *.rs)
caught() { sed -n '1s/^Caught by: //p' "$1" | tr -d ','; }
for exploration in $explorations; do
    grep -Eq "^Caught by: (.*, )?$exploration(,|$)" bugs/*.patch || fail "nothing shows that $exploration bites"
done
for bug in bugs/*.patch; do
    [ -n "$(caught "$bug")" ] || fail "$bug doesn't say what catches it"
    for exploration in $(caught "$bug"); do
        grep -qx "$exploration" <<<"$explorations" || fail "$bug: there is no exploration $exploration"
    done
    (cd ../.. && git apply --check "tests/explore/$bug") ||
        fail "$bug no longer fits the sources"
done
[ "${1:-}" != --check ] || exit 0

shard=${1:-1/1}
[[ $shard =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]] || fail "$shard is no shard: 1/3, 2/3 and 3/3 are those of three"
# Apart from the artifacts of the sources themselves: cargo would take those for the copy's.
export CARGO_TARGET_DIR="$PWD/target/bugs" CARGO_INCREMENTAL=0
# Each bug is compiled once, and caught soon.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tests"
cp -R ../../src ../../README.md "$copy"
tar -cf - --exclude=explore/target -C .. explore | tar -xf - -C "$copy/tests"
cd "$copy/tests/explore"

explore() { cargo test --locked --quiet --test explore --test ordering "$@"; }
WRISTBAND_SCHEDULES=100 explore >output 2>&1 || { cat output; fail "without a bug there are failures"; }
number=0
missed=0
for bug in bugs/*.patch; do
    number=$((number + 1))
    [ $((number % ${shard#*/})) -eq $((${shard%/*} % ${shard#*/})) ] || continue
    echo "== $bug"
    (cd ../.. && git apply "tests/explore/$bug")
    explore --no-run
    for exploration in $(caught "$bug"); do
        if explore --no-fail-fast "$exploration" >output 2>&1; then
            echo "   NOT caught by $exploration"
            missed=$((missed + 1))
            continue
        fi
        # It was run, and what it does by chance shows nothing.
        grep -q "^running 1 test$" output || { cat output; fail "$exploration was not run"; }
        ! grep -q "depends on more than the schedule" output || fail "$exploration with $bug is not repeatable"
        echo "   caught by $exploration: $(grep -m 1 -A 1 "panicked at" output | tail -n 1)"
    done
    (cd ../.. && git apply --reverse "tests/explore/$bug")
done
[ "$missed" -eq 0 ] || fail "$missed times a bug was not caught"
