# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The virtual environment with the tools.  Source it after common.sh.

venv=''

# venv_ready: makes it when it is not there; it sees Debian's Python packages too (python3-systemd).
venv_ready() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/missiond python=/usr/bin/python3
    # other users' processes are run from it, and root's home is closed to them
    [[ $EUID -ne 0 ]] || cache=$MISSIOND_CACHE
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is older than 3.11"
    venv=$cache/venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(
        sha256sum <"$MISSIOND_SOURCE/packaging/tools.lock" | cut -c1-12
    )
    if [[ ! -e $venv/ready ]]; then
        say "making the virtual environment $venv"
        rm -rf "$venv"
        mkdir -p "$cache"
        "$python" -m venv --system-site-packages "$venv"
        "$venv/bin/pip" install --quiet --only-binary :all: --require-hashes \
            --requirement "$MISSIOND_SOURCE/packaging/tools.lock" >&2
        touch "$venv/ready"
    fi
}
