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
export CARGO_TARGET_DIR="$PWD/target" CARGO_INCREMENTAL=0
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tests"
cp -R ../../src ../../README.md "$copy"
tar -cf - --exclude=explore/target -C .. explore | tar -xf - -C "$copy/tests"
cd "$copy/tests/explore"

explore() { cargo test --locked --quiet "$@"; }
number=0
for bug in bugs/*.patch; do
    number=$((number + 1))
    [ $((number % ${shard#*/})) -eq $((${shard%/*} % ${shard#*/})) ] || continue
    echo "== $bug"
    (cd ../.. && git apply "tests/explore/$bug")
    explore --no-run
    for exploration in $(caught "$bug"); do
        if explore "$exploration" >output 2>&1; then
            cat output
            fail "$exploration doesn't catch $bug"
        fi
        # What a race does by chance shows nothing.
        ! grep -q "depends on more than the schedule" output || fail "$exploration with $bug is not repeatable"
        echo "   caught by $exploration"
    done
    (cd ../.. && git apply --reverse "tests/explore/$bug")
done
