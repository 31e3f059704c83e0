#!/bin/sh
# Makes the virtual environment in which the tests run gRPC's own Python
# clients: target/python-clients. Where there is no Python with its venv module,
# or nothing comes from PyPI, it says so and succeeds: those tests are skipped.
set -eu
cd "$(dirname "$0")/.."

venv=${CARGO_TARGET_DIR:-target}/python-clients
wanted=tests/it/python/requirements.txt
# The list is copied last: its copy says that everything in it is there.
if cmp -s "$wanted" "$venv/requirements.txt"; then exit; fi

skip() {
    echo "==> $*: the tests with Python clients will be SKIPPED" >&2
    rm -rf "$venv"
    exit 0
}

command -v python3 >/dev/null 2>&1 || skip 'there is no python3'
rm -rf "$venv"
python3 -m venv "$venv" >&2 </dev/null || skip 'python3 makes no virtual environment'
echo "==> installing gRPC's Python clients from PyPI into $venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    -r "$wanted" >&2 </dev/null || skip "gRPC's Python clients did not come from PyPI"
cp "$wanted" "$venv/requirements.txt"
