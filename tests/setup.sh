#!/usr/bin/env bash
# Sees to what the builds and the tests need on a machine: a linker, which is installed where it is missing
# (Debian's packages), Rust, and the cargo commands that are named: `tests/setup.sh fmt clippy`. What counts
# instructions is called `gungraun`, the databases of the tests are called `servers`, the browser and the other
# clients `clients`: all are installed too, and so are the commands `deny`, `mutants` and
# `check-external-types`. What cargo-fuzz takes is called `fuzz`, and is installed only where there is nightly
# Rust to run it.
set -euo pipefail

fail() {
    echo "tests/setup.sh: $*" >&2
    exit 1
}

# Installs what the first argument says: Debian's packages that are named after it.
as_root=()
apt_install() {
    local what="$1 (Debian: ${*:2})"
    command -v apt-get >/dev/null || fail "install $what"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "it takes root or sudo to install $what"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" apt-get install -y --no-install-recommends "${@:2}"
}

# Installs what is missing of the programs that tests start, as `apt_install` does. Debian's packages would
# start some of them as services of the machine, if this file didn't forbid it: the tests need the programs alone.
policy=/usr/sbin/policy-rc.d
install_programs() {
    [ "$#" -gt 1 ] || return 0
    [ "$(id -u)" -eq 0 ] || ! command -v sudo >/dev/null || as_root=(sudo)
    if ! [ -e "$policy" ] && command -v apt-get >/dev/null; then
        trap '"${as_root[@]}" rm -f "$policy"' EXIT
        "${as_root[@]}" tee "$policy" >/dev/null <<<$'#!/bin/sh\nexit 101'
        "${as_root[@]}" chmod +x "$policy"
    fi
    apt_install "$@"
}

install_servers() {
    local missing=()
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v postgres >/dev/null || missing+=(postgresql)
    command -v pgbouncer >/dev/null || missing+=(pgbouncer)
    command -v mariadbd >/dev/null || missing+=(mariadb-server-core)
    # What `mariadb-install-db` runs is in another package.
    command -v my_print_defaults >/dev/null || missing+=(mariadb-client-core)
    install_programs "Redis, PostgreSQL, PgBouncer and MariaDB" "${missing[@]}"
}

install_clients() {
    local missing=() path=$PATH
    # Debian has nginx where not everybody looks.
    PATH+=:/usr/sbin
    command -v chromium >/dev/null || missing+=(chromium)
    command -v chromedriver >/dev/null || missing+=(chromium-driver)
    command -v curl >/dev/null || missing+=(curl)
    command -v go >/dev/null || missing+=(golang-go)
    command -v nginx >/dev/null || missing+=(nginx)
    command -v openssl >/dev/null || missing+=(openssl)
    PATH=$path
    # The system's Python, whatever other is there: it has the package.
    /usr/bin/python3 -c 'import requests' 2>/dev/null || missing+=(python3-requests)
    install_programs "Chromium, curl, Go, nginx, OpenSSL and Python's requests" "${missing[@]}"
}

# The linker: every dependency with a build script or a procedural macro is linked, even by `cargo clippy`.
command -v cc >/dev/null || apt_install "a C compiler" gcc libc6-dev

# A tool takes less room without what a debugger reads.
export CARGO_PROFILE_DEV_DEBUG=0
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or newer, https://rustup.rs"
for command in "$@"; do
    if [ "$command" = gungraun ]; then
        command -v valgrind >/dev/null || apt_install valgrind valgrind
        command -v jq >/dev/null || apt_install jq jq
        # The runner has to be of the library's version. It only starts valgrind: a debug build will do, and
        # takes half the time.
        version=$(cargo pkgid --locked --manifest-path benches/instructions/Cargo.toml gungraun)
        version=${version##*@}
        [ "$(gungraun-runner --version 2>/dev/null)" = "gungraun-runner $version" ] ||
            cargo install --locked --debug --version "$version" gungraun-runner
        continue
    elif [ "$command" = servers ]; then
        install_servers
        continue
    elif [ "$command" = clients ]; then
        install_clients
        continue
    elif [ "$command" = deny ]; then
        cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug cargo-deny
        continue
    elif [ "$command" = fuzz ]; then
        cargo +nightly --version >/dev/null 2>&1 || continue
        command -v c++ >/dev/null || apt_install "a C++ compiler" g++
        cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --debug cargo-fuzz
        continue
    elif [ "$command" = mutants ]; then
        # The version whose list of mutants `tests/mutants` reads.
        [[ $(cargo install --list) == *"cargo-$command v27.1.0:"* ]] ||
            cargo install --locked --debug --version 27.1.0 "cargo-$command"
        continue
    elif [ "$command" = check-external-types ]; then
        # The version that reads what the rustdoc of Rust 1.95 writes.
        [[ $(cargo install --list) == *"cargo-$command v0.5.0:"* ]] ||
            cargo install --locked --debug --version 0.5.0 "cargo-$command"
        continue
    fi
    component=${command/fmt/rustfmt}
    cargo "$command" --version >/dev/null 2>&1 ||
        fail "cargo $command is missing: rustup component add $component"
done
