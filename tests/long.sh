#!/usr/bin/env bash
# What takes too long for every change: properties with many more cases, races run many times over.
# Shards, each for a machine of its own: `tests/long.sh 1/3` runs the first of three.
set -euo pipefail
cd "$(dirname "$0")/.."

shard=${1:-1/1}
index=${shard%/*}
count=${shard#*/}

suites=(
    "PROPTEST_CASES=100000 cargo test --locked --release --all-features --lib cookie::"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --test it model"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --test it cookie_properties"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --lib record::"
    "for _ in \$(seq 200); do cargo test --locked --release --all-features --lib -q store::memory || exit 1; done"
    "for _ in \$(seq 50); do cargo test --locked --release --all-features --test it -q contract:: || exit 1; done"
    "for _ in \$(seq 50); do cargo test --locked --release --all-features --test it -q lost_updates:: || exit 1; done"
)

for number in "${!suites[@]}"; do
    if [ $((number % count)) -eq $((index - 1)) ]; then
        echo "== ${suites[number]}"
        bash -c "${suites[number]}"
    fi
done
