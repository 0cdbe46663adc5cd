# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Helpers of the scripts in packaging/.  Source it; it sets nothing going by itself.

MISSIOND_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MISSIOND_CACHE=${MISSIOND_CACHE:-/var/cache/missiond-test}
export MISSIOND_SOURCE MISSIOND_CACHE
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# say TEXT: one line of progress, on stderr so that a caller may read stdout.
say() { printf '== %s\n' "$*" >&2; }

# die TEXT: the reason, and out.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [[ $EUID -eq 0 ]]; }

# installed PACKAGE: whether this machine has the Debian package.
installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# need_packages PACKAGE...: installs what is missing, or says how to when not root.
need_packages() {
    local package missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    is_root || die "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    apt_update
    apt-get install --yes --quiet --no-install-recommends "${missing[@]}" >&2
}

# apt_update: refreshes the package lists once per run; a source that fails is apt's to report.
apt_update() {
    [[ -z ${MISSIOND_APT_UPDATED:-} ]] || return 0
    apt-get update --quiet=2 >&2 || say "apt-get update had problems; going on with the lists there are"
    export MISSIOND_APT_UPDATED=1
}

# version: of the agent, from its one place.
version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$MISSIOND_SOURCE/agent/missiond/__init__.py"; }

# changelog_version: the newest in the package's changelog.
changelog_version() { sed -n '1s/.*(\(.*\)).*/\1/p' "$MISSIOND_SOURCE/packaging/debian/changelog"; }

# snapshot DIR: a clean copy of the sources, readable by all, without anything a build or test leaves behind.
snapshot() {
    local directory=$1 name names=()
    for name in agent dbus systemd packaging tests .ci .github .gitignore pyproject.toml README.md CHANGELOG.md CONTRIBUTING.md \
        LICENSE; do
        [[ ! -e $MISSIOND_SOURCE/$name ]] || names+=("$name")
    done
    mkdir -p "$directory"
    tar -C "$MISSIOND_SOURCE" --create --exclude=__pycache__ --exclude='*.egg-info' --exclude='.*_cache' \
        --exclude=.hypothesis "${names[@]}" | tar -C "$directory" --extract --no-same-owner
    chmod -R u+rwX,go+rX,go-w "$directory"
}
