#!/bin/sh
# Runs a server and three scripted clients through the conversation in the
# report of the original system, and prints what each of them saw.
# shellcheck disable=SC2154 # join sets Alex, Aske and Bob
set -eu

program=${CARGO_TARGET_DIR:-target}/release/chitchat
patience=60 # seconds that anything may take before the demo gives up

rm -rf demo
mkdir demo
pids=

stop_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
}
trap stop_all EXIT

# wait_for FILE TEXT: until a line of FILE contains TEXT
wait_for() {
    tries=$((patience * 20))
    until grep -qF -- "$2" "$1" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "demo: waited $patience seconds for «$2» in $1" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# join NAME FD: a client whose input is the descriptor FD
join() {
    mkfifo "demo/$1.input"
    "$program" client "$1" --server "$address" --log-file "demo/$1.log" \
        <"demo/$1.input" >"demo/$1.txt" 2>"demo/$1.errors" &
    eval "exec $2>demo/$1.input"
    pids="$pids $!"
    eval "$1=$!"
    wait_for "demo/$1.txt" "Participant $1 joined"
}

# say FD TEXT ECHO READERS...: types TEXT and waits until all have ECHO
say() {
    fd=$1 text=$2 echo=$3
    shift 3
    printf '%s\n' "$text" >&"$fd"
    for name in "$@"; do
        wait_for "demo/$name.txt" "$echo"
    done
}

# Without a grace period a loss is announced at once.
"$program" server --listen 127.0.0.1:0 --store memory --grace 0s --log-file demo/server.log >demo/server.txt &
server=$!
pids="$pids $server"
wait_for demo/server.txt 'listening on '
address=$(sed -n 's/^listening on //p' demo/server.txt)

long='In this assignment you will design and implement Chit Chat, a distributed chat service where participants can join, exchange messages, and leave the conversation at any time. Chit Chat is a lively playground for exploring the essence of distributed systems: communication, coordination, and the ordering of events in a world without a single shared clock'

join Alex 3
say 3 'Hello World!' 'Alex: Hello World!' Alex
join Aske 4
say 4 'Hello Alex' 'Aske: Hello Alex' Alex Aske
say 3 'I will try to type a really long message' 'a really long message' Alex Aske
say 3 "$long" 'Message too long (354 chars)' Alex
say 4 'I could not see the msg' 'I could not see the msg' Alex Aske
say 4 'Now I will leave the chat' 'Now I will leave the chat' Alex Aske
join Bob 5
say 4 'exitexit' 'Aske: exitexit' Alex Aske Bob
say 4 'exit' 'Participant Aske left' Alex Bob
exec 4>&-
say 5 'Can I send a message now.' 'Can I send a message now.' Alex Bob
say 5 'Oh, great. It seems to work now.' 'It seems to work now.' Alex Bob
kill -KILL "$Bob" # as in the report: without a word
wait_for demo/Alex.txt 'Participant Bob left'
say 3 'What about now' 'Alex: What about now' Alex
say 3 'I am alone' 'Alex: I am alone' Alex
say 3 'goodbye' 'Alex: goodbye' Alex
exec 3>&-
wait "$Alex" "$Aske"
kill "$server"
wait "$server"

for name in Alex Aske Bob; do
    printf '\n%s saw\n' "$name"
    cut -c 1-100 "demo/$name.txt" | sed 's/^/    /'
done
printf '\nThe server logged\n'
sed -n 's/.*\[Server\] [^:]*: /    /p' demo/server.log | cut -c 1-100
printf '\nDo the logs obey the laws of the chat?\n'
lawful=true
"$program" check demo/*.log >demo/verdict.txt || lawful=false
sed 's/^/    /' demo/verdict.txt
"$program" diagram demo/*.log -o demo/conversation.svg
printf '\nThe logs are in demo/, and drawn in demo/conversation.svg.\n'
"$lawful"
