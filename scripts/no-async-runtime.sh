#!/bin/sh
# Fails when an async runtime is anywhere in the dependency tree: for whichever
# platform, feature or kind of dependency. Arguments go to `cargo tree`.
set -eu
cd "$(dirname "$0")/.."

everywhere='--target all --all-features'
# shellcheck disable=SC2086 # each word of $everywhere is an argument
tree=$(cargo tree --edges all $everywhere --prefix none --format '{p}' "$@")
runtimes=$(printf '%s\n' "$tree" | sed -n -E 's/^(tokio|async-std|smol) v([^ ]+).*/\1@\2/p' | sort -u)

if [ -z "$runtimes" ]; then
    echo 'no async runtime in the dependency tree'
    exit
fi
for runtime in $runtimes; do
    echo "error: an async runtime is in the dependency tree: $runtime, brought by" >&2
    # shellcheck disable=SC2086
    cargo tree $everywhere --invert "$runtime" "$@" >&2
done
exit 1
