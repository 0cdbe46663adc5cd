#compdef missionctl
# SPDX-License-Identifier: Apache-2.0
# Written by packaging/lib/completions from the parser; do not edit.

_missionctl_tasks() {
    local -a tasks
    tasks=(${(f)"$(_call_program tasks missionctl tasks --all 2>/dev/null | sed -n '2,$s/ .*//p')"})
    compadd -a tasks
}

_missionctl_missions() {
    local -a missions
    missions=(${(f)"$(_call_program missions missionctl missions 2>/dev/null | sed -n '2,$s/ .*//p')"})
    compadd -a missions
}

_missionctl_peers() {
    local -a peers
    peers=(${(f)"$(_call_program peers missionctl peers 2>/dev/null | sed -n '2,$s/ .*//p')"})
    compadd -a peers
}

_missionctl_transfers() {
    local -a transfers
    transfers=(${(f)"$(_call_program transfers missionctl in-flight --json 2>/dev/null | sed -n 's/.*"transfer": "\([0-9a-f]*\)".*/\1/p')"})
    compadd -a transfers
}

_missionctl() {
    local context state state_descr line
    typeset -A opt_args
    _arguments -C \
        '-h[show this help message and exit]' \
        '--help[show this help message and exit]' \
        '-V[show program'\''s version number and exit]' \
        '--version[show program'\''s version number and exit]' \
        '--session[talk to an agent on the session bus]' \
        '--no-ask-password[never ask for a password at the terminal]' \
        '1:verb:->verb' \
        '*::argument:->argument'
    case $state in
        verb)
            local -a verbs=(
                'status:show the agent, the battery, and what is missing on this host'
                'tasks:list the tasks that keep this host awake'
                'run:hold a task while a command runs'
                'delay:keep this host awake for a while'
                'hold:keep this host awake for a time, or until programs end'
                'cancel:end tasks'
                'remaining:show how much time is left to transient tasks'
                'missions:list the programs that people have running'
                'snapshot:show what a mission uses'
                'lock:mark missions as ones not to be ended'
                'unlock:take that mark away'
                'terminate:end missions'
                'continue:have a mission go on on another host, or here'
                'in-flight:list missions that are between two hosts'
                'reclaim:take a mission back that is between two hosts'
                'drop:give up a mission that is between two hosts'
                'peers:show and pair other hosts'
                'help:show help, also for a verb'
                'version:show the version'
            )
            _describe verb verbs
            ;;
        argument)
            case $line[1] in
                status)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                tasks)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--all[also those of other users (for root always)]' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                run)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*--mode[what CMD does, may be repeated\: dataTransfer, audioPlayback, audioRecording, location, bluetoothInteraction, multiDeviceConnection, wifiInteraction, voip, taskKeeping (default\: taskKeeping)]:MODE:(dataTransfer audioPlayback audioRecording location bluetoothInteraction multiDeviceConnection wifiInteraction voip taskKeeping)' \
                    '--context[have no second task of this name at one time (default\: one for each run)]:context:' \
                    '--title[why, as tasks shows you and root, and with --delay everybody (default\: the name of CMD)]:TEXT:' \
                    '--reason[why, as tasks shows you and root, and with --delay everybody (default\: the name of CMD)]:TEXT:' \
                    '--delay[hold a transient task for at most TIME, such as 90s or 2min, rather than a continuous one]:TIME:' \
                    '--continuable[let CMD be started again on another host, with its arguments, directory, language and PATH]' \
                    '*--keep-alive[protect CMD (protect, the default; said in so many words it also has CMD ignore SIGHUP, as nohup(1) does, so that it goes on after its terminal is closed), leave it as it is (none), or run it as a service that is started again whenever it ends (restart)]:HOW:(protect restart none)' \
                    '--name[with --keep-alive=restart\: what the service is called, missiond-run-NAME.service]:name:' \
                    '--require[do not run CMD unless the host is really kept awake]' \
                    '(-)1:command: _command_names -e' \
                    '*::argument: _normal'
                    ;;
                delay)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--for[for how long, such as 90s or 2min (default\: the most)]:TIME:' \
                    '--reason[why, as tasks shows it]:TEXT:' \
                    '--pid[the process it is for (default\: the one that called missionctl)]:pid:_pids' \
                    '--wait[stay until it ends; it ends with missionctl then, and without --pid is missionctl'\''s own]' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                hold)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--until[until then, such as 18\:30 or '\''2030-12-24 18\:30'\'']:CLOCK:' \
                    '--pid[until these processes end]:PID:' \
                    '--background[do not wait for the end]' \
                    '*--mode[what is done, may be repeated\: dataTransfer, audioPlayback, audioRecording, location, bluetoothInteraction, multiDeviceConnection, wifiInteraction, voip, taskKeeping (default\: taskKeeping)]:MODE:(dataTransfer audioPlayback audioRecording location bluetoothInteraction multiDeviceConnection wifiInteraction voip taskKeeping)' \
                    '--reason[why, as tasks shows it]:TEXT:' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                cancel)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:task:_missionctl_tasks'
                    ;;
                remaining)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--json[print JSON, for programs]' \
                    '*:task:_missionctl_tasks'
                    ;;
                missions)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--all[also those of other users (for root always), and of peers whose lists are kept here]' \
                    '--on[those of another host]:PEER:_missionctl_peers' \
                    '--watch[list them again whenever something changes]' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                snapshot)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--json[print JSON, for programs]' \
                    '*:mission:_missionctl_missions'
                    ;;
                lock)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:mission:_missionctl_missions'
                    ;;
                unlock)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:mission:_missionctl_missions'
                    ;;
                terminate)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:mission:_missionctl_missions'
                    ;;
                continue)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--to[the host where it is to go on]:PEER:_missionctl_peers' \
                    '--from[the host on which it is; it goes on here]:PEER:_missionctl_peers' \
                    '--free-install[have its program installed first where it is missing, if that host allows it]' \
                    '--keep-source[have it also go on where it is\: then there are two]' \
                    '--without-tasks[leave its continuous tasks, which keep a host awake, behind]' \
                    '--require-tasks[have it go on only where all of its continuous tasks can]' \
                    '--json[print JSON, for programs]' \
                    '*:mission:_missionctl_missions'
                    ;;
                in-flight)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--json[print JSON, for programs]' \
                    ':'
                    ;;
                reclaim)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:transfer:_missionctl_transfers'
                    ;;
                drop)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '*:transfer:_missionctl_transfers'
                    ;;
                peers)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    '--name[trust\: what to call it]:NAME:' \
                    '--address[trust\: its HOST\:PORT, where it is not announced]:ADDRESS:' \
                    '--json[list\: print JSON, for programs]' \
                    '1:action:(list id enable disable pair trust unpair allow disallow)' \
                    '*:peer:_missionctl_peers'
                    ;;
                help)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    ':'
                    ;;
                version)
                    _arguments \
                    '-h[show this help message and exit]' \
                    '--help[show this help message and exit]' \
                    '--session[talk to an agent on the session bus]' \
                    '--no-ask-password[never ask for a password at the terminal]' \
                    ':'
                    ;;
            esac
            ;;
    esac
}

_missionctl "$@"
