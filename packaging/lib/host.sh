# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A throw-away systemd host for shell scripts.  Source it after common.sh.

host_keeper='' host_leader=''

# host_boot SUITE LOG: boots a host of that release and waits until it is up.
host_boot() {
    local tree
    need_packages procps util-linux
    tree=$("$MISSIOND_SOURCE/packaging/lib/tree" base "$1")
    unset NOTIFY_SOCKET
    setsid "$MISSIOND_SOURCE/packaging/lib/container" boot "$tree" "run-$$" </dev/null >"$2" 2>&1 &
    host_keeper=$!
    for _ in {1..300}; do
        kill -0 "$host_keeper" 2>/dev/null || die "the host did not boot: $(tail -n 5 "$2")"
        host_leader=$(find_leader "$host_keeper")
        if [[ -n $host_leader ]] && in_host systemctl is-system-running --wait >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    die "the host did not come up within 30 s: $(tail -n 5 "$2")"
}

# find_leader PID: the container's PID 1 among the descendants of a process, as seen from here.
find_leader() {
    local child
    for child in $(pgrep -P "$1"); do
        if [[ $(cat "/proc/$child/comm" 2>/dev/null) == systemd ]]; then
            echo "$child"
            return
        fi
        find_leader "$child"
    done
}

# in_host COMMAND: runs it inside the host, or right here when none was booted.
in_host() {
    if [[ -z $host_leader ]]; then
        "$@"
    else
        nsenter -t "$host_leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

# host_stop: shuts the host down and waits for it.
host_stop() {
    [[ -n $host_keeper ]] || return 0
    kill -TERM "$host_keeper" 2>/dev/null || true
    wait "$host_keeper" 2>/dev/null || true
    host_keeper='' host_leader=''
}
