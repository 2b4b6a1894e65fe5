#!/usr/bin/env bash
# Runs every test of every feature. What is missing on the machine is installed by `setup.sh`, a browser among
# it; the databases that the tests need are started by `servers.sh`, and stopped again.
set -euo pipefail
cd "$(dirname "$0")/.."
# In front of the servers, which would have a question for a password wait in the background.
./tests/setup.sh clients
[ -n "${WRISTBAND_SERVERS:-}" ] || exec ./tests/servers.sh ./tests/run.sh "$@"
# The clients ask this machine alone.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

# All features are on in tests: the crate is its own dev-dependency. `--all-features` also builds the
# library's own unit tests with them.
cargo test --locked --all-features --all-targets "$@"
cargo test --locked --all-features --doc

# That was the layer on the memory store. This is the layer on each of the others, and behind a near cache.
layer=(
    after_head cancellation clones commit_failures extractors handler_errors lifetimes login lost_updates
    mounts password_change resurrection rotation scarcity session_model sessions_api several_layers story turns
)
for store in {,cached-}{sqlite,postgres,mysql,redis,redis-cluster,redis-sentinel} cached-memory; do
    echo "== the layer on $store"
    WRISTBAND_TEST_STORE=$store cargo test --locked --all-features --test it -- --quiet "${layer[@]/%/::}"
done
