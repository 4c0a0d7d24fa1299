# Sourced by the other scripts: the Debian packages that the project builds and runs with.
# shellcheck shell=bash disable=SC2034

# What `swift build` links against.
build_packages=(libpq-dev libcurl4-openssl-dev)
# What the embedded database and the tests start: initdb, postgres, pg_dump.
database_packages=(postgresql)

say() {
    echo "$@" >&2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "Run this as root, or install sudo: it has to run: $*"
        exit 1
    fi
}

is_installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs those of the named packages that are missing, and says so; says nothing when there are none.
require_packages() {
    local name missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "This is not Debian: make sure that what these packages hold is there: $*"
        return
    fi
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    say "Installing ${missing[*]} with apt-get."
    # Debian starts a cluster of its own with a fresh server. Nothing here uses it, so it is not made.
    local common=/etc/postgresql-common
    if ! is_installed postgresql-common && [ ! -e $common/createcluster.conf ]; then
        as_root mkdir -p $common
        echo "create_main_cluster = false" | as_root tee $common/createcluster.conf >/dev/null
    fi
    # A mirror that does not answer is no reason to stop: the lists at hand may do.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || say "The package lists could not be refreshed."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >&2
}

# What every script that builds needs.
require_toolchain() {
    require_packages "$@"
    if ! command -v swift >/dev/null; then
        say "There is no swift on PATH: install the Swift 6.3 toolchain from https://www.swift.org/install, then run this again."
        exit 1
    fi
}
