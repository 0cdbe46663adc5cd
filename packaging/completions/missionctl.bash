# SPDX-License-Identifier: Apache-2.0
# Written by packaging/lib/completions from the parser; do not edit.

_missionctl_tasks() {
    command missionctl tasks --all 2>/dev/null | sed -n '2,$s/ .*//p'
}

_missionctl_missions() {
    command missionctl missions 2>/dev/null | sed -n '2,$s/ .*//p'
}

_missionctl_peers() {
    command missionctl peers 2>/dev/null | sed -n '2,$s/ .*//p'
}

_missionctl_transfers() {
    command missionctl in-flight --json 2>/dev/null | sed -n 's/.*"transfer": "\([0-9a-f]*\)".*/\1/p'
}

_missionctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' options='' words='' at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            -*) ;;
            *) verb=${COMP_WORDS[at]} && break ;;
        esac
    done
    if [[ $verb == run ]]; then
        for ((at++; at <= COMP_CWORD; at++)); do
            case ${COMP_WORDS[at]} in
                --mode | --context | --title | --reason | --delay | --keep-alive | --name) ((at++)) ;;
                --) ((at++)) && break ;;
                -*) ;;
                *) break ;;
            esac
        done
        if ((at < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
            _command_offset "$at"
            return
        elif ((at <= COMP_CWORD)) && [[ $cur != -* || ${COMP_WORDS[at - 1]} == -- ]]; then
            mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            return
        fi
    fi
    case $verb:$prev in
        run:--mode)
            mapfile -t COMPREPLY < <(compgen -W 'dataTransfer audioPlayback audioRecording location bluetoothInteraction multiDeviceConnection wifiInteraction voip taskKeeping' -- "$cur")
            return
            ;;
        run:--context)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        run:--title|run:--reason)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        run:--delay)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        run:--keep-alive)
            mapfile -t COMPREPLY < <(compgen -W 'protect restart none' -- "$cur")
            return
            ;;
        run:--name)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        delay:--for)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        delay:--reason)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        delay:--pid)
            mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid=)" -- "$cur")
            return
            ;;
        hold:--until)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        hold:--pid)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        hold:--mode)
            mapfile -t COMPREPLY < <(compgen -W 'dataTransfer audioPlayback audioRecording location bluetoothInteraction multiDeviceConnection wifiInteraction voip taskKeeping' -- "$cur")
            return
            ;;
        hold:--reason)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        missions:--on)
            mapfile -t COMPREPLY < <(compgen -W "$(_missionctl_peers)" -- "$cur")
            return
            ;;
        continue:--to)
            mapfile -t COMPREPLY < <(compgen -W "$(_missionctl_peers)" -- "$cur")
            return
            ;;
        continue:--from)
            mapfile -t COMPREPLY < <(compgen -W "$(_missionctl_peers)" -- "$cur")
            return
            ;;
        peers:--name)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
        peers:--address)
            mapfile -t COMPREPLY < <(compgen -W '' -- "$cur")
            return
            ;;
    esac
    case $verb in
        '') options='-h --help -V --version --session --no-ask-password' words='status tasks run delay hold cancel remaining missions snapshot lock unlock terminate continue in-flight reclaim drop peers help version' ;;
        status) options='-h --help --session --no-ask-password --json' ;;
        tasks) options='-h --help --session --no-ask-password --all --json' ;;
        run) options='-h --help --session --no-ask-password --mode --context --title --reason --delay --continuable --keep-alive --name --require' ;;
        delay) options='-h --help --session --no-ask-password --for --reason --pid --wait --json' ;;
        hold) options='-h --help --session --no-ask-password --until --pid --background --mode --reason --json' ;;
        cancel) options='-h --help --session --no-ask-password' words="$(_missionctl_tasks)" ;;
        remaining) options='-h --help --session --no-ask-password --json' words="$(_missionctl_tasks)" ;;
        missions) options='-h --help --session --no-ask-password --all --on --watch --json' ;;
        snapshot) options='-h --help --session --no-ask-password --json' words="$(_missionctl_missions)" ;;
        lock) options='-h --help --session --no-ask-password' words="$(_missionctl_missions)" ;;
        unlock) options='-h --help --session --no-ask-password' words="$(_missionctl_missions)" ;;
        terminate) options='-h --help --session --no-ask-password' words="$(_missionctl_missions)" ;;
        continue) options='-h --help --session --no-ask-password --to --from --free-install --keep-source --without-tasks --require-tasks --json' words="$(_missionctl_missions)" ;;
        in-flight) options='-h --help --session --no-ask-password --json' ;;
        reclaim) options='-h --help --session --no-ask-password' words="$(_missionctl_transfers)" ;;
        drop) options='-h --help --session --no-ask-password' words="$(_missionctl_transfers)" ;;
        peers) options='-h --help --session --no-ask-password --name --address --json' words="list id enable disable pair trust unpair allow disallow $(_missionctl_peers)" ;;
        help) options='-h --help --session --no-ask-password' ;;
        version) options='-h --help --session --no-ask-password' ;;
    esac
    [[ $cur == -* ]] && words=$options
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _missionctl missionctl
