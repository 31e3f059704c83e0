#!/bin/sh
# Starts Redis, three servers that share their rooms through it, and three
# scripted clients; kills one server in the middle, and shows that nobody lost
# anything. All of it on loopback, and all of it ends with this script.
# shellcheck disable=SC2154 # join sets Alex, Aske and Bob, serve the servers
set -eu

program=${CARGO_TARGET_DIR:-target}/release/chitchat
patience=60 # seconds that anything may take before the script gives up
lines=50    # that each client says in each half

rm -rf cluster
mkdir cluster
data=$(mktemp -d)
pids=

stop_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$data"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# wait_for FILE TEXT: until a line of FILE contains TEXT
wait_for() {
    tries=$((patience * 20))
    until grep -qF -- "$2" "$1" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "cluster: waited $patience seconds for «$2» in $1" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# The first free port from some place on.
start_redis() {
    port=$((10000 + $$ % 10000))
    while :; do
        redis-server --bind 127.0.0.1 --port "$port" --dir "$data" --save '' \
            --appendonly yes >"$data/redis.log" 2>&1 &
        redis=$!
        tries=$((patience * 20))
        while kill -0 "$redis" 2>/dev/null && [ "$tries" -gt 0 ]; do
            if grep -q 'Ready to accept connections' "$data/redis.log"; then
                pids="$pids $redis"
                return
            fi
            tries=$((tries - 1))
            sleep 0.05
        done
        kill "$redis" 2>/dev/null || true
        port=$((port + 1))
        if [ "$port" -gt 20100 ]; then
            cat "$data/redis.log" >&2
            exit 1
        fi
    done
}

# serve NAME
serve() {
    "$program" server --listen 127.0.0.1:0 --store "redis://127.0.0.1:$port" \
        --rate-limit 0 --lease 2s --log-file "cluster/$1.log" >"cluster/$1.txt" &
    eval "$1=$!"
    pids="$pids $!"
    wait_for "cluster/$1.txt" 'listening on '
    eval "${1}_address=\$(sed -n 's/^listening on //p' 'cluster/$1.txt')"
}

# join NAME FD SERVERS: a client whose input is the descriptor FD
join() {
    mkfifo "$data/$1.input"
    "$program" client "$1" --server "$3" --log-file "cluster/$1.log" \
        <"$data/$1.input" >"cluster/$1.txt" 2>"cluster/$1.errors" &
    eval "$1=$!"
    pids="$pids $!"
    eval "exec $2>'$data/$1.input'"
    wait_for "cluster/$1.txt" "Participant $1 joined"
}

# talk FROM TO: every client says its lines with these numbers
talk() {
    n=$1
    while [ "$n" -le "$2" ]; do
        printf 'line %s of Alex.\n' "$n" >&3
        printf 'line %s of Aske.\n' "$n" >&4
        printf 'line %s of Bob.\n' "$n" >&5
        n=$((n + 1))
    done
}

# all_heard N: until everybody has everybody's line of this number
all_heard() {
    for reader in Alex Aske Bob; do
        for speaker in Alex Aske Bob; do
            wait_for "cluster/$reader.txt" "line $1 of $speaker."
        done
    done
}

start_redis
echo "Redis listens on 127.0.0.1:$port"
serve first
serve second
serve third
a=$first_address b=$second_address c=$third_address
echo "three servers share their rooms: $a, $b and $c"
join Alex 3 "$a,$b,$c"
join Aske 4 "$b,$c,$a"
join Bob 5 "$c,$a,$b"
echo 'Alex, Aske and Bob are each on a server of their own'

talk 1 "$lines"
all_heard 1
kill -KILL "$second"
echo "the second server is killed while they talk"
talk $((lines + 1)) $((2 * lines))
all_heard $((2 * lines))
exec 3>&- 4>&- 5>&-
wait "$Alex" "$Aske" "$Bob"
kill "$first" "$third"
wait "$first" "$third"

for name in Alex Aske Bob; do
    heard=$(grep -cE 'line [0-9]+ of (Alex|Aske|Bob)\.$' "cluster/$name.txt")
    different=$(grep -oE 'line [0-9]+ of (Alex|Aske|Bob)\.$' "cluster/$name.txt" | sort -u | wc -l)
    echo "$name heard $heard lines, $((different)) different ones, of $((6 * lines))"
    [ "$heard" -eq $((6 * lines)) ] && [ "$((different))" -eq $((6 * lines)) ]
done
printf '\nDo the logs of all of them obey the laws of the chat?\n'
lawful=true
"$program" check cluster/*.log >cluster/verdict.txt || lawful=false
sed 's/^/    /' cluster/verdict.txt
printf '\nThe logs are in cluster/.\n'
"$lawful"
