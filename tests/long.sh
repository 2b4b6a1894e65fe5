#!/usr/bin/env bash
# What takes too long for every change: properties with many more cases, concurrent histories on every store,
# races run many times over and in many more schedules, the bugs that those have to catch, fuzzing, the
# oldest dependencies, advisories, the comparison with other crates, how much room sessions take, ten minutes of
# the demo site on each store, the bugs that those have to find, mutants.
# Shards, each for a machine of its own: `tests/long.sh 1/3` runs the first of three.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "tests/long.sh: $*" >&2
    exit 1
}

shard=${1:-1/1}
index=${shard%/*}
count=${shard#*/}
if ! [[ $shard =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]] || [ "$index" -gt "$count" ]; then
    fail "$shard is no shard: 1/3, 2/3 and 3/3 are those of three"
fi
[ -n "${WRISTBAND_SERVERS:-}" ] || exec ./tests/servers.sh ./tests/long.sh "$shard"
./tests/setup.sh

suites=(
    "PROPTEST_CASES=100000 cargo test --locked --release --all-features --lib cookie::"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --test it model"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --test it cookie_properties"
    "PROPTEST_CASES=20000 cargo test --locked --release --all-features --lib record::"
    "for _ in \$(seq 200); do cargo test --locked --release --all-features --lib -q store::memory || exit 1; done"
    "for _ in \$(seq 50); do cargo test --locked --release --all-features --test it -q contract:: || exit 1; done"
    "for _ in \$(seq 50); do cargo test --locked --release --all-features --test it -q lost_updates:: || exit 1; done"
    "for _ in \$(seq 10); do cargo test --locked --release --all-features --test it -q redis::contract || exit 1; done"
    "for _ in \$(seq 10); do cargo test --locked --release --all-features --test it -q sql::contract || exit 1; done"
)
# Each from other seeds.
for _ in 1 2 3 4; do
    test=simulation::
    suites+=("WRISTBAND_SIMULATIONS=5000 cargo test --locked --release --all-features --test it $test")
done
# A thousand on a healthy network, and a thousand on one that loses requests and replies.
for store in in_memory on_sqlite on_postgres on_mysql on_redis on_a_redis_cluster on_redis_with_sentinels; do
    test=histories::histories_${store}_are_linearizable
    suites+=("WRISTBAND_HISTORIES=1000 cargo test --locked --release --all-features --test it $test")
done
for store in sqlite postgres mysql redis redis-cluster redis-sentinel; do
    cases="WRISTBAND_TEST_STORE=$store PROPTEST_CASES=1000"
    suites+=("$cases cargo test --locked --release --all-features --test it session_model")
done
explore="cargo test --locked --manifest-path tests/explore/Cargo.toml"
for seed in 2 3 4; do
    suites+=("WRISTBAND_SCHEDULES=200000 WRISTBAND_SEED=$seed $explore")
done
for third in 1/3 2/3 3/3; do
    suites+=("./tests/explore/bugs.sh $third")
done
suites+=("./tests/oldest.sh")
# Where their database can't be had, that is told, and left to who makes a release.
suites+=("./tests/setup.sh deny && { ! cargo deny fetch db || cargo deny check advisories; }")
suites+=("cargo run --locked --release --manifest-path benches/peers/Cargo.toml -- --quick")
suites+=("WRISTBAND_ROOM=100000 cargo test --locked --release --all-features --test it room:: -- --nocapture")
# Half an hour each, from what earlier runs have found on.
for target in changes cookie_headers records set_cookie tokens; do
    suites+=("./fuzz/run.sh 1800 $target")
done
for store in memory sqlite postgres mysql redis redis-cluster; do
    suites+=("./tests/soak.sh 600 $store")
done
suites+=("./tests/soak/bugs.sh")
for part in 1 2 3; do
    suites+=("./tests/mutants.sh $part/3")
done

output=$(mktemp)
trap 'rm -f "$output"' EXIT
for number in "${!suites[@]}"; do
    if [ $((number % count)) -eq $((index - 1)) ]; then
        suite=${suites[number]}
        echo "== $suite"
        bash -c "$suite" | tee "$output"
        # A filter that has been left behind by a rename.
        [[ $suite != *"cargo test"* ]] || grep -Eq '^running [1-9]' "$output" ||
            fail "no test matches: $suite"
    fi
done
