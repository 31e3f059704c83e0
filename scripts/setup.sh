#!/bin/sh
# Sets up what a build needs, then becomes the command that it is given:
#
#     scripts/setup.sh COMMAND [ARGUMENT]...
#
# What is missing of CMake and a C++ compiler is installed: with the system's
# package manager, as root or through a sudo that asks for no password, or else
# CMake alone from PyPI into the target directory; likewise Python, for the tests
# that need it. gRPC's C core, which takes
# minutes, is then built once, with word of how long it has been going on.
# The tests use the client in a terminal, and Redis: for «cargo test» tmux and
# redis-server are installed too.
# Where nothing is missing this takes milliseconds and says nothing.
set -eu
cd "$(dirname "$0")/.."

# What a calling make tells its sub-makes (its jobs, its variables) is not meant
# for the make that builds the core.
unset MAKEFLAGS MFLAGS MAKELEVEL

target=${CARGO_TARGET_DIR:-target}
case $target in
/*) ;;
*) target=$PWD/$target ;;
esac
venv=$target/cmake
# Last in the path: neither a virtual environment's Python nor a second cargo
# should hide the system's.
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin:$venv/bin
export PATH

# A terminal's last line may hold cargo's progress bar: write over it.
line_start=
if [ -t 2 ]; then line_start=$(printf '\r\033[K'); fi
say() { printf '%s==> %s\n' "$line_start" "$*" >&2; }
die() {
    say "$@"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }
has_python() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }
exists() { [ -e "$1" ]; }

has_compiler() {
    # CC and CXX may hold arguments too: their first word is the program.
    # shellcheck disable=SC2086
    has ${CC:-cc} && has ${CXX:-c++} || return 1
    # Without Apple's command line tools these are there, but only ask for them.
    ! [ -x /usr/bin/xcode-select ] || xcode-select -p >/dev/null 2>&1
}

is_root() { [ "$(id -u)" -eq 0 ]; }
as_root() {
    if is_root; then "$@" </dev/null >&2; else sudo -n "$@" </dev/null >&2; fi
}

find_package_manager() {
    for candidate in apt-get dnf yum zypper pacman apk brew; do
        if has "$candidate"; then
            manager=$candidate
            return
        fi
    done
    return 1
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@"
}

install_packages() {
    case $manager in
    apt-get)
        apt_get update || say 'apt-get update failed: trying with the lists that are there'
        apt_get install -y --no-install-recommends "$@"
        ;;
    dnf | yum) as_root "$manager" -q -y install "$@" ;;
    zypper) as_root zypper -q --non-interactive install "$@" ;;
    pacman) as_root pacman -Sy --needed --noconfirm "$@" ;;
    apk) as_root apk add -q "$@" ;;
    brew) brew install -q "$@" </dev/null >&2 ;;
    esac
}

# try_package_manager cmake|compiler|python|redis|tmux...: says why where it does not help.
try_package_manager() {
    if ! find_package_manager; then
        say "no package manager known here could install $*"
        return
    fi
    case $manager in
    apt-get) compiler='g++' python='python3 python3-venv' redis='redis-server' ;;
    dnf | yum | zypper) compiler='gcc-c++' python='python3' redis='redis' ;;
    apk) compiler='g++ linux-headers' python='python3' redis='redis' ;;
    pacman | brew) compiler='gcc' python='python' redis='redis' ;;
    esac
    packages=
    for wanted in "$@"; do
        case $wanted in
        compiler) wanted=$compiler ;;
        python) wanted=$python ;;
        redis) wanted=$redis ;;
        esac
        packages="$packages $wanted"
    done

    if [ "$manager" != brew ] && ! is_root && ! sudo -n true 2>/dev/null; then
        say "$manager could install$packages, but not without root or a sudo that asks for no password"
        return
    fi
    say "installing$packages with $manager"
    # shellcheck disable=SC2086 # each name in $packages is a word of its own
    install_packages $packages || say "$manager failed"
}

install_cmake_from_pypi() {
    has python3 || die 'CMake is missing: install it, or python3 with its venv module to have it fetched from PyPI'
    say "installing CMake from PyPI into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 </dev/null || {
        rm -rf "$venv"
        die "CMake is missing and python3 makes no virtual environment: install CMake, or python3's venv module (python3-venv on Debian and Ubuntu)"
    }
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check cmake >&2 </dev/null || {
        rm -rf "$venv"
        die 'CMake is missing and did not come from PyPI: install CMake'
    }
}

install_what_is_missing() {
    set --
    has cmake || set -- "$@" cmake
    has_compiler || set -- "$@" compiler
    [ $# -gt 0 ] || return 0

    case "$(uname) $*" in
    Darwin*compiler) die 'a C++ compiler is missing: run «xcode-select --install», then this again' ;;
    esac
    try_package_manager "$@"
    has_compiler || die 'a C++ compiler is missing: install g++ (gcc-c++ on Fedora and SUSE, gcc on Arch) or clang, so that «cc» and «c++» can be called'
    has cmake || install_cmake_from_pypi
}

# Ends within a second of this script, however that ends.
report_progress() {
    trap 'exit 0' TERM
    seconds=0
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$((seconds + 1))
        if [ $((seconds % 60)) -eq 0 ] && exists "$target"/release/build/grpcio-sys-*/out; then
            say "building gRPC's C core: $((seconds / 60)) min"
        fi
    done
}

build_core() {
    # Cargo writes a build script's output down when the script has succeeded.
    if exists "$target"/release/build/grpcio-sys-*/output; then return; fi
    say "building gRPC's C core, once: 7 to 8 minutes on two cores"
    report_progress &
    cargo build --release --package grpcio-sys
    kill $!
    wait $! || true
}

# Without it the tests say what they miss; the others need not wait for it.
install_tmux() {
    has tmux || try_package_manager tmux
}

# Without it the tests that need it are skipped, which they say too.
install_redis() {
    has redis-server || try_package_manager redis
    has redis-server || say 'redis-server is missing: what needs it is SKIPPED'
}

has cargo || die 'cargo is missing: install Rust with rustup, then run this again'
case "$1 ${2-}" in
'cargo fmt' | 'cargo clean') ;; # they compile nothing
scripts/python-clients.sh*) # without it the tests that need it are skipped
    has_python || try_package_manager python
    ;;
*)
    install_what_is_missing
    build_core
    ;;
esac
case "$1 ${2-}" in
'cargo test')
    install_tmux
    install_redis
    ;;
scripts/cluster.sh*)
    install_redis
    has redis-server || die 'the cluster needs redis-server: install it'
    ;;
esac
exec "$@"
