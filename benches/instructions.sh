#!/usr/bin/env bash
# Counts the instructions of whole requests with callgrind and compares them with `instructions.json`: one
# that takes over 3 % more fails. `--update` writes that file instead.
#
# Machines hardly matter. To programs on any x86-64 processor with AVX2, valgrind shows the same one: a
# Haswell. It has no SHA instructions, so SHA-256 in software is counted, which is a third of a read. Runs
# differ by 0.2 % at most; libc's variants for older processors by 0.6 %; a machine with 128 processors by
# 1.4 % (a logout; the others by 0.2 %).
#
# Another compiler, libc or version of a dependency does matter. Where the check fails for that alone, update
# the file in the commit that brings it, with no change to `src`.
set -euo pipefail
cd "$(dirname "$0")/.."
baseline=benches/instructions.json

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "not compared: $baseline is for Linux on x86-64, and this is $(uname -sm)"
    exit
fi
./tests/setup.sh gungraun

# What gungraun compares with by itself is its own files of an earlier run, under `target`.
counted=$(
    cargo bench --locked --quiet --manifest-path benches/instructions/Cargo.toml -- --output-format=json |
        jq --slurp --arg made_with "$(rustc --version), $(getconf GNU_LIBC_VERSION)" '{
            made_with: $made_with,
            instructions_per_request: map({
                (.id): (.profiles[0].data.total.metrics.Ir.values.new / 1000 | round)
            }) | add
        }'
)
if [ "${1-}" = --update ]; then
    echo "$counted" | tee "$baseline"
    exit
fi

jq --raw-output --argjson counted "$counted" '
    .instructions_per_request as $before
    | [
        $counted.instructions_per_request | to_entries[]
        | .before = ($before[.key] // error("\(.key) is not in the baseline: --update adds it"))
        | .rise = 100 * (.value / .before - 1)
    ] as $requests
    | ($requests[] | "\(.key): \(.value) instructions, \(.before) before: \(.rise * 10 | round / 10 + 0) %"),
    if any($requests[]; .rise > 3) then
        "Over 3 % more than with \(.made_with); this is \($counted.made_with).\n"
        + "If it has to be so, run benches/instructions.sh --update, and say why in the commit.\n"
        | halt_error(1)
    elif any($requests[]; .rise < -3) then
        "Over 3 % less. So that it stays so, run benches/instructions.sh --update."
    else
        empty
    end
' "$baseline"
