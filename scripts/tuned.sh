#!/bin/sh
# Builds the program with its code laid out by a profile, in the target
# directory's tuned/chitchat:
#
#     scripts/tuned.sh [ARGUMENT OF CARGO]...
#
# Most of what a delivery costs is gRPC's core, and much of that is waiting for
# code that lies all over a large program. LLVM's BOLT counts which of it runs
# while the program measures itself, and puts that together, in the order in
# which it runs. Takes a few minutes more than a build, and no second one of the
# core.
set -eu

die() {
    echo "tuned: $*" >&2
    exit 1
}

cd "$(dirname "$0")/.."
[ "$(uname -sm)" = 'Linux x86_64' ] || die 'BOLT counts only on Linux on x86_64'
for bolt in llvm-bolt llvm-bolt-22 llvm-bolt-21 llvm-bolt-20 llvm-bolt-19 llvm-bolt-18 llvm-bolt-17 llvm-bolt-16 none; do
    ! command -v "$bolt" >/dev/null || break
done
[ "$bolt" != none ] || die "needs LLVM's BOLT, 16 or newer: apt-get install bolt-16 (Debian), dnf install llvm-bolt (Fedora)"
# Its other parts are found beside it, wherever its name is linked from.
bolt=$(readlink -f "$(command -v "$bolt")")
merge=${bolt%/*}/merge-fdata

target=${CARGO_TARGET_DIR:-target}
# The linker leaves in what BOLT needs to move code, and debug information out.
cargo rustc --release --bin chitchat "$@" -- -C strip=debuginfo -C link-arg=-Wl,--emit-relocs
work=$target/tuned/work
rm -rf "$work"
mkdir -p "$work"
work=$(cd "$work" && pwd)
cp "$target/release/chitchat" "$work/plain"

# BOLT warns of every function that it leaves alone: of interest where it fails.
quietly() {
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        die "$1 failed"
    }
}

echo 'tuned: counting what runs under load' >&2
quietly "$bolt" "$work/plain" -o "$work/counting" -instrument \
    -instrumentation-file="$work/counts" -instrumentation-file-append-pid
quietly "$work/counting" bench chat-10 chat-256 fan-64 bulk-1 durable
quietly "$work/counting" bench fan-64 --no-batches

echo 'tuned: laying the program out' >&2
"$merge" "$work"/counts.* >"$work/profile" 2>"$work/log"
quietly "$bolt" "$work/plain" -o "$work/chitchat" -data="$work/profile" \
    -reorder-blocks=ext-tsp -reorder-functions=hfsort+ -split-functions -split-all-cold -split-eh -icf=1
quietly "$work/chitchat" bench fan-64
install -m 755 "$work/chitchat" "$target/tuned/chitchat"
rm -rf "$work"
echo "tuned: $target/tuned/chitchat" >&2
