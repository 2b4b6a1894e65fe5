#!/usr/bin/env bash
# Uses the demo site for a while on each store and looks whether every answer is right, and whether the site
# gives back what it took: `tests/soak.sh 600 memory redis`. Without arguments: a minute on each store.
# See docs/soak.md.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${WRISTBAND_SERVERS:-}" ] || exec ./tests/servers.sh ./tests/soak.sh "$@"

seconds=${1:-60}
stores=("${@:2}")
[ "${#stores[@]}" -gt 0 ] || stores=(memory sqlite postgres mysql redis redis-cluster)

cargo build --locked --quiet --release --example login
cargo build --locked --quiet --release --manifest-path tests/soak/Cargo.toml

# In memory where there is such a place: like the servers, SQLite then waits for no disk.
directory=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$directory"' EXIT
status=0
for store in "${stores[@]}"; do
    case $store in
        memory) place=memory ;;
        sqlite) place=sqlite:$directory/sessions.sqlite ;;
        postgres) place=$WRISTBAND_POSTGRES ;;
        mysql) place=$WRISTBAND_MYSQL ;;
        redis) place=$WRISTBAND_REDIS ;;
        redis-cluster) place=redis+cluster://$WRISTBAND_REDIS_CLUSTER ;;
        *)
            echo "tests/soak.sh: $store is no store of the demo" >&2
            exit 1
            ;;
    esac
    tests/soak/target/release/tower-wristband-soak target/release/examples/login "$place" "$seconds" || status=1
done
exit "$status"
