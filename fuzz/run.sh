#!/usr/bin/env bash
# Runs fuzz targets, each for so many seconds: `fuzz/run.sh 30`, or `fuzz/run.sh 600 tokens records`.
#
# What has been found of use is in `fuzz/corpus`, where the next run goes on; an input that breaks a promise is
# in `fuzz/artifacts`. Without nightly Rust, which libFuzzer takes, the targets get random changes to the seeds.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
targets=("${@:2}")
if [ "${#targets[@]}" -eq 0 ]; then
    mapfile -t targets < <(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
fi
./tests/setup.sh fuzz

for target in "${targets[@]}"; do
    echo "== $target"
    if ! cargo +nightly --version >/dev/null 2>&1; then
        cargo run --locked --quiet --release --manifest-path fuzz/Cargo.toml --bin "$target" -- "$seconds"
        continue
    fi
    inputs=("fuzz/corpus/$target" "fuzz/seeds/$target")
    [ ! -d "fuzz/regressions/$target" ] || inputs+=("fuzz/regressions/$target")
    mkdir -p "${inputs[0]}"
    cargo +nightly fuzz run "$target" "${inputs[@]}" -- -max_total_time="$seconds" -timeout=20 -print_final_stats=1
done
