#!/bin/sh
# Looks the dependencies up: advisories, licences, sources (deny.toml), and
# advisories once more for everything in Cargo.lock (.cargo/audit.toml). Needs
# the network for RustSec's database.
set -eu

cd "$(dirname "$0")/.."
for tool in deny audit; do
    if ! cargo "$tool" --version >/dev/null 2>&1; then
        echo "audit: needs cargo-$tool: cargo install --locked cargo-$tool" >&2
        exit 1
    fi
done
cargo deny check
cargo audit --deny warnings
