# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs the steps of packaging/test two at a time and says at the end how each went.  Source it after common.sh.

steps_at_once=2
steps_logs=$(mktemp -d)
steps_summary=()
steps_failed=0
declare -A steps_name=() steps_start=()
set -m # each step gets a process group, so that it can be ended as a whole

# step NAME COMMAND...: starts a step as soon as there is room for it.
step() {
    local name=$1
    shift
    while [[ ${#steps_name[@]} -ge $steps_at_once ]]; do
        steps_reap
    done
    "$@" >"$steps_logs/$name" 2>&1 </dev/null &
    steps_name[$!]=$name
    steps_start[$!]=$SECONDS
}

# steps_reap: waits for one step to end and reports it; a failed one with all it said.
steps_reap() {
    local pid='' status=0 name took closing
    wait -n -p pid "${!steps_name[@]}" || status=$?
    name=${steps_name[$pid]}
    took=$((SECONDS - steps_start[$pid]))
    unset "steps_name[$pid]" "steps_start[$pid]"
    closing=$(grep -aE '^=+ .*(passed|failed|error|skipped|deselected|no tests ran).* =+$' "$steps_logs/$name" | tail -n 1) || true
    if [[ $status -eq 0 ]]; then
        steps_summary+=("$(printf 'ok      %4d s  %s' "$took" "$name")")
    else
        steps_summary+=("$(printf 'FAILED  %4d s  %s (exit status %d)' "$took" "$name" "$status")")
        steps_failed=$((steps_failed + 1))
        printf -- '---- %s said:\n' "$name"
        tail -n 400 "$steps_logs/$name"
        printf -- '---- end of %s\n' "$name"
    fi
    printf '%s\n' "${steps_summary[-1]}"
    steps_slowest "$steps_logs/$name"
    grep -aE '^[a-z_]* +[0-9.]+% +[0-9]+ +[0-9.]+% +[0-9]+$' "$steps_logs/$name" || true
    [[ -z $closing ]] || printf '%s\n' "$closing"
}

# steps_slowest LOG: the slowest tests and modules of a step, as pytest --durations and tests/conftest.py list them.
steps_slowest() {
    sed -n '/^=* slowest [0-9]* [dm][a-z]* =*$/,/^=/{/^[0-9. ]*s /p}' "$1"
}

# steps_join: waits for all that were started.
steps_join() {
    while [[ ${#steps_name[@]} -gt 0 ]]; do
        steps_reap
    done
}

# steps_end: ends what still runs (after Ctrl-C, say) by its process group, and forgets the logs.
steps_end() {
    local pid
    for pid in "${!steps_name[@]}"; do
        kill -INT -- "-$pid" 2>/dev/null || true
    done
    for pid in "${!steps_name[@]}"; do
        steps_gone "$pid" || kill -TERM -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$steps_logs"
}

# steps_gone PID: whether the process group has ended, within 30 s.
steps_gone() {
    local _
    for _ in {1..300}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# steps_close: the summary; true when nothing failed.
steps_close() {
    printf '\n==== summary of packaging/test\n'
    printf '%s\n' "${steps_summary[@]}"
    printf '==== %d steps, %d failed, %d s\n' "${#steps_summary[@]}" "$steps_failed" "$SECONDS"
    [[ $steps_failed -eq 0 ]]
}
