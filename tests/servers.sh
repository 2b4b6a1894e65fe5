#!/usr/bin/env bash
# Starts private servers of every kind that keeps sessions, runs a command, and stops them again, also when
# the command fails or this script is interrupted: `tests/servers.sh cargo test --test it redis::`
#
# They listen on free ports of the loopback interface, keep what they write in one temporary directory, and
# sync nothing to the disk. What is missing is installed. The command finds them by these variables:
#
#   WRISTBAND_REDIS           redis://127.0.0.1:PORT
#   WRISTBAND_REDIS_CLUSTER   host:port of the three masters, with commas; each has a replica
#   WRISTBAND_REDIS_SENTINEL  host:port of the three sentinels, with commas; the master's name is `sessions`
#   WRISTBAND_POSTGRES        postgres://…, a superuser, with pg_stat_statements
#   WRISTBAND_MYSQL           mysql://…, a superuser; it is MariaDB
#   WRISTBAND_SERVERS         the temporary directory; tests start servers of their own in its `private`
set -euo pipefail

fail() {
    echo "tests/servers.sh: $*" >&2
    exit 1
}

[ $# -gt 0 ] || fail "which command? For example: tests/servers.sh cargo test --test it"
# Inside of itself there is nothing left to start.
[ -z "${WRISTBAND_SERVERS:-}" ] || exec "$@"

# Debian has the programs of PostgreSQL in a directory for each version.
path=$PATH
find_programs() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    export PATH="$path:$newest:/usr/sbin"
}
find_programs
"${BASH_SOURCE[0]%/*}/setup.sh" servers
find_programs

# Those of the user's own databases, which clients heed.
unset "${!PG@}" "${!MYSQL@}"

# Each child gets a process group of its own: Ctrl-C reaches this script alone, which stops them in order.
set -m
directory=$(mktemp -d /tmp/wristband.XXXXXX) # not $TMPDIR: paths of sockets are short
declare -A servers=()                        # the signal that ends a process at once
groups=()                                    # other processes, by their groups
initdb=

# Servers that tests started, and left behind when they were killed themselves: what works in their directory.
left_behind() {
    local process
    for process in /proc/[0-9]*; do
        case $(readlink "$process/cwd") in
            "$directory"/private/*)
                # Killed, PostgreSQL would leave shared memory behind.
                [ "$(<"$process/comm")" = postgres ] && servers[${process#/proc/}]=QUIT ||
                    servers[${process#/proc/}]=KILL
                ;;
        esac
    done
}

# Waits until a process, or a group of them, has ended, or ends it.
gone() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        kill -0 -- "$1" || return
        sleep 0.05
    done
    kill -KILL -- "$1"
}

stop() {
    trap '' HUP INT TERM
    local pid
    for pid in "${groups[@]}"; do
        kill -TERM -- "-$pid" && gone "-$pid"
    done
    left_behind
    for pid in "${!servers[@]}"; do
        # One that is stopped goes on first, to see the signal.
        kill "-${servers[$pid]}" "$pid" && kill -CONT "$pid"
    done
    for pid in "${!servers[@]}"; do
        gone "$pid"
    done
    # Ended half-way, it would leave shared memory behind.
    [ -z "$initdb" ] || wait "$initdb"
    rm -rf "$directory"
} 2>/dev/null
# Whatever fails while it stops the servers, it stops the next one.
trap 'set +e; stop' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The databases refuse to run as root.
as_user=()
if [ "$(id -u)" -eq 0 ]; then
    as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody:nogroup "$directory"
fi
"${as_user[@]}" mkdir "$directory"/{private,postgres,mysql}

# Twenty ports in a row, below those that outgoing connections get.
in_use() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
find_ports() {
    local port
    while :; do
        first=$((10000 + RANDOM % 1000 * 20))
        for ((port = first; port < first + 20; port++)); do
            ! in_use "$port" || continue 2
        done
        return
    done
}
find_ports
redis_port=$first
cluster_port=$((first + 1))   # six of them, and six for what they say among themselves
sentinel_port=$((first + 13)) # the master, its replica, three sentinels
postgres_port=$((first + 18))
mysql_port=$((first + 19))

# Starts a server, which ends with this script even if that is killed: NAME SIGNAL COMMAND…
start() {
    "${as_user[@]}" setpriv --pdeathsig "$2" "${@:3}" </dev/null >"$directory/$1.log" 2>&1 &
    last=$!
    servers[$last]=$2
    disown # its end is not reported
}

# Waits until a command succeeds: NAME PID COMMAND…
await() {
    local tries
    for ((tries = 0; tries < 1200; tries++)); do
        "${@:3}" >/dev/null 2>&1 && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    cat "$directory/$1.log" >&2
    fail "$1 does not come up"
}

# --- The files of PostgreSQL and MariaDB are made first, both at once.
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
"${as_user[@]}" tee "$directory/postgres/password" >/dev/null <<<"$password"
"${as_user[@]}" initdb --pgdata="$directory/postgres/data" --username=wristband --no-sync \
    --encoding=UTF8 --locale=C --auth=password --pwfile="$directory/postgres/password" >"$directory/initdb.log" 2>&1 &
initdb=$!
# In a directory that they share, one MariaDB that starts would remove the temporary tables of another.
mariadb_options=(
    --no-defaults --datadir="$directory/mysql/data" --tmpdir="$directory/mysql" --skip-name-resolve
    --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0
)
"${as_user[@]}" mariadb-install-db "${mariadb_options[@]}" --skip-test-db \
    --auth-root-authentication-method=normal >"$directory/install-db.log" 2>&1 &
install_db=$!
groups+=("$install_db")

# --- Redis, meanwhile.
redis() { # NAME PORT OPTION…
    "${as_user[@]}" mkdir "$directory/$1"
    start "$1" KILL redis-server --bind 127.0.0.1 --port "$2" --dir "$directory/$1" --save '' --appendonly no \
        --repl-diskless-sync-delay 0 "${@:3}"
}
redis single "$redis_port"
single=$last

# The nodes know each other from the start, as if they had met before.
node_id() { printf '%040x' "$1"; }
slots=(0-5460 5461-10922 10923-16383)
nodes() { # of the node NUMBER
    local number myself
    for number in {0..5}; do
        myself=$([ "$number" -ne "$1" ] || echo myself,)
        printf '%s 127.0.0.1:%s@%s ' "$(node_id $((number + 1)))" $((cluster_port + number)) \
            $((cluster_port + 6 + number))
        if [ "$number" -lt 3 ]; then
            echo "${myself}master - 0 0 $((number + 1)) connected ${slots[number]}"
        else
            echo "${myself}slave $(node_id $((number - 2))) 0 0 $((number - 2)) connected"
        fi
    done
    echo "vars currentEpoch 6 lastVoteEpoch 0"
}
for number in {0..5}; do
    nodes "$number" | "${as_user[@]}" tee "$directory/nodes.$number.conf" >/dev/null
    redis "cluster.$number" $((cluster_port + number)) --cluster-enabled yes \
        --cluster-port $((cluster_port + 6 + number)) --cluster-config-file "$directory/nodes.$number.conf"
    cluster[number]=$last
done

redis sentinel.master "$sentinel_port"
redis sentinel.replica $((sentinel_port + 1)) --replicaof 127.0.0.1 "$sentinel_port"
replica=$last
sentinel_conf() { # of the sentinel NUMBER
    local number
    echo "bind 127.0.0.1"
    echo "port $((sentinel_port + 2 + $1))"
    echo "sentinel myid $(node_id $((9 + $1)))"
    echo "sentinel monitor sessions 127.0.0.1 $sentinel_port 2"
    echo "sentinel known-replica sessions 127.0.0.1 $((sentinel_port + 1))"
    for number in {0..2}; do
        [ "$number" -eq "$1" ] ||
            echo "sentinel known-sentinel sessions 127.0.0.1 $((sentinel_port + 2 + number)) $(node_id $((9 + number)))"
    done
}
for number in {0..2}; do
    "${as_user[@]}" mkdir "$directory/sentinel.$number"
    sentinel_conf "$number" | "${as_user[@]}" tee "$directory/sentinel.$number/sentinel.conf" >/dev/null
    start "sentinel.$number" KILL redis-server "$directory/sentinel.$number/sentinel.conf" --sentinel
    sentinel[number]=$last
done

# --- The databases.
wait "$initdb" || { cat "$directory/initdb.log" >&2; fail "initdb failed"; }
# Killed, it would leave shared memory behind.
start postgres QUIT postgres -D "$directory/postgres/data" -k "$directory/postgres" -h 127.0.0.1 \
    -p "$postgres_port" -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 \
    -c dynamic_shared_memory_type=mmap -c shared_preload_libraries=pg_stat_statements
postgres=$last
wait "$install_db" || { cat "$directory/install-db.log" >&2; fail "mariadb-install-db failed"; }
"${as_user[@]}" tee "$directory/mysql/init.sql" >/dev/null <<EOF_SQL
CREATE USER wristband@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO wristband@'127.0.0.1' WITH GRANT OPTION;
DELETE FROM mysql.global_priv WHERE User IN ('', 'root');
FLUSH PRIVILEGES;
CREATE DATABASE wristband;
EOF_SQL
start mysql KILL mariadbd "${mariadb_options[@]}" --socket="$directory/mysql/socket" --bind-address=127.0.0.1 \
    --port="$mysql_port" --init-file="$directory/mysql/init.sql" --pid-file="$directory/mysql/pid" \
    --max-connections=300
mysql=$last

# --- Until all of them answer.
answers() { # EXPECTED PORT COMMAND…
    redis-cli -p "$2" "${@:3}" | grep -q "$1"
}
await single "$single" answers PONG "$redis_port" PING
for number in {0..5}; do
    await "cluster.$number" "${cluster[number]}" answers cluster_state:ok $((cluster_port + number)) CLUSTER INFO
done
for number in {3..5}; do
    await "cluster.$number" "${cluster[number]}" answers master_link_status:up $((cluster_port + number)) INFO
done
await sentinel.replica "$replica" answers master_link_status:up $((sentinel_port + 1)) INFO
for number in {0..2}; do
    await "sentinel.$number" "${sentinel[number]}" answers "^OK 3 usable" $((sentinel_port + 2 + number)) \
        SENTINEL CKQUORUM sessions
done
in_postgres() { PGPASSWORD=$password psql -qXh 127.0.0.1 -p "$postgres_port" -U wristband "$@"; }
await postgres "$postgres" in_postgres -d template1 -c "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"
await postgres "$postgres" in_postgres -d postgres -c "CREATE DATABASE wristband"
await mysql "$mysql" grep -q "ready for connections" "$directory/mysql.log"
echo "tests/servers.sh: the servers are up (${SECONDS}s)" >&2

export WRISTBAND_SERVERS=$directory
export WRISTBAND_REDIS=redis://127.0.0.1:$redis_port
list() { echo "127.0.0.1:$1,127.0.0.1:$(($1 + 1)),127.0.0.1:$(($1 + 2))"; }
WRISTBAND_REDIS_CLUSTER=$(list "$cluster_port")
WRISTBAND_REDIS_SENTINEL=$(list $((sentinel_port + 2)))
export WRISTBAND_REDIS_CLUSTER WRISTBAND_REDIS_SENTINEL
export WRISTBAND_POSTGRES=postgres://wristband:$password@127.0.0.1:$postgres_port/wristband
export WRISTBAND_MYSQL=mysql://wristband:$password@127.0.0.1:$mysql_port/wristband

# In the background, for a signal to this script is handled only once what is in the foreground has ended.
"$@" &
groups=($!)
wait "${groups[0]}"
