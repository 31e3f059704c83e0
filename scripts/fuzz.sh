#!/bin/sh
# Runs each fuzz target for so many seconds, from the seeds in the repository
# and from what earlier runs found worth keeping. Stops at the first finding.
set -eu

seconds=${1:-60}

cd "$(dirname "$0")/../fuzz"
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'fuzz: needs a nightly toolchain: rustup toolchain install nightly' >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo 'fuzz: needs cargo-fuzz: cargo install --locked cargo-fuzz' >&2
    exit 1
fi
# The parsers are safe code: a sanitizer would only make them slow.
for target in frames logs settings pem; do
    mkdir -p "corpus/$target"
    echo "fuzz: $target for $seconds s"
    cargo +nightly fuzz run --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -verbosity=0 -print_funcs=0 -print_final_stats=1
done
