# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from missiond import KEEP_ALIVE, Mode, __version__
from missiond.cli.exit_codes import MEANING, Exit
from missiond.cli.parser import continuation, peers, values
from missiond.core.near_names import did_you_mean

_VERSION = f"missionctl {__version__}\n"
_SESSION = "talk to an agent on the session bus"
_WHY = "reason, as shown by tasks"
_NO_ASKING = "never ask for a password at the terminal"
_PLAIN = ("--session", "--no-ask-password")
"""Options that say nothing without a verb."""
_DESCRIPTION = """\
Keep this host awake while something works, and see what keeps it awake.

  missionctl run -- rsync -a photos/ nas:photos/    awake until rsync ends
  missionctl delay --for 2min                       awake for 2 minutes, while this shell lives
  missionctl tasks                                  what keeps this host awake
"""
_RUN = """\
Hold a task while CMD runs.

missionctl becomes CMD (as env(1) does), so that CMD's exit status, signals and terminal are its own, and the
task, which belongs to that process, goes the moment it ends. What CMD leaves running in the background is
not waited for. With --keep-alive=restart CMD runs in the background instead, as a service of systemd's with
Restart=always, until the service is stopped. Where the agent cannot hold a task, a warning is printed and CMD
runs all the same; with --require CMD does not run, and the exit status is 125.

With --continuable CMD may be started again on another host, for the same user: see missionctl(1).
"""
_HOLD = """\
Hold a continuous task, which no quota limits, and print its name.

The task ends after TIME, when the processes have ended, with Ctrl-C, or with `missionctl cancel`. With
--background missionctl does not wait; without --pid the task then ends with the calling shell.
"""


class Parser(argparse.ArgumentParser):
    """Parser with the exit status `usage_exit` for wrong usage; `run` has another one than the command."""

    usage_exit = Exit.USAGE

    def error(self, message: str) -> NoReturn:
        """Print one sentence and where to read more, and end."""
        self.exit(self.usage_exit, f"{self.prog}: {message}; see `{self.prog} --help`\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, but let a verb refuse unknown options."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and unknown[0].startswith("-"):
            self.error(self.no_option(unknown[0]))
        elif unknown:
            self.error(f"{unknown[0]!r:.40} is a word too many")
        return found, unknown

    def no_option(self, word: str) -> str:
        """Return a sentence about an unknown option, with a similar known one."""
        meant = did_you_mean(word.partition("=")[0], self._option_string_actions)
        return f"there is no option {word:.40}{meant}"

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        meant = did_you_mean(str(value), known)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no verb {value!r:.40}{meant}")
        raise argparse.ArgumentError(action, f"{value!r:.40} is none of {', '.join(known)}{meant}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments as a namespace; `command` is CMD of run.

    CMD may be written with or without `--` in front; what follows is never looked at.
    """
    parser = build()
    verb = next((word for word in argv if not word.startswith("-")), "")
    is_run = verb == "run"
    if not verb:
        _without_verb(parser, argv)
    if is_run:
        parser.usage_exit = Exit.NOT_STARTED
    if is_run and "--" in argv:
        at = argv.index("--")
        arguments = parser.parse_args(argv[:at])
        before = [*arguments.command, "--"] if arguments.command else []
        arguments.command = [*before, *argv[at + 1 :]]
    else:
        arguments = parser.parse_args(argv)
    if verb == "delay" and arguments.delay is None:
        arguments.delay = arguments.time
    if is_run:
        _check_run(parser, arguments)
    elif verb == "help":
        _help(parser, arguments.about)
    elif verb == "version":
        sys.stdout.write(_VERSION)
        parser.exit()
    elif arguments.verb == "peers" and (wrong := peers.check(arguments)):
        parser.exit(Exit.USAGE, f"missionctl peers: {wrong}; see `missionctl peers --help`\n")
    return arguments


def build() -> Parser:
    """Build the parser; tests hold man page and completions equal to the parser."""
    parser = Parser(
        prog="missionctl",
        description=_DESCRIPTION,
        epilog=_exit_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=_VERSION.strip())
    parser.add_argument("--session", action="store_true", help=_SESSION)
    parser.add_argument("--no-ask-password", action="store_false", dest="ask_password", help=_NO_ASKING)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    _add_status(verbs)
    _add_tasks(verbs)
    _add_run(verbs)
    _add_delay(verbs)
    _add_hold(verbs)
    _add_cancel(verbs)
    _add_remaining(verbs)
    _add_missions(verbs)
    for name, summary in continuation.VERBS.items():
        continuation.add_arguments(_verb(verbs, name, summary, continuation.TEXTS[name]))
    peers.add_arguments(_verb(verbs, "peers", "show and pair other hosts", peers.TEXT))
    verb = _verb(verbs, "help", "show help, also for a verb")
    verb.add_argument("about", nargs="?", metavar="VERB", help="verb to explain")
    _verb(verbs, "version", "show the version")
    return parser


def _verb(verbs: argparse._SubParsersAction[Parser], name: str, summary: str, text: str = "") -> Parser:
    verb = verbs.add_parser(
        name,
        help=summary,
        description=text or summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("--session", action="store_true", default=argparse.SUPPRESS, help=_SESSION)
    verb.add_argument(
        "--no-ask-password",
        action="store_false",
        default=argparse.SUPPRESS,
        dest="ask_password",
        help=_NO_ASKING,
    )
    return verb


def _without_verb(parser: Parser, argv: Sequence[str]) -> None:
    """Print help where nothing was asked for; what is no option is an error."""
    unknown = [word for word in argv if word not in parser._option_string_actions]
    if unknown:
        parser.error(parser.no_option(unknown[0]))
    if all(word in _PLAIN for word in argv):
        parser.print_help()
        parser.exit()


def _help(parser: Parser, verb: str | None) -> NoReturn:
    """Print the help of a verb, or of all."""
    parser.parse_args(["--help"] if verb is None else [verb, "--help"])
    raise AssertionError("--help ends it")


def _add_json(verb: Parser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_status(verbs: argparse._SubParsersAction[Parser]) -> None:
    _add_json(_verb(verbs, "status", "show the agent, the battery, and what is missing on this host"))


def _add_tasks(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "tasks", "list the tasks that keep this host awake")
    verb.add_argument("--all", action="store_true", help="also those of other users (for root always)")
    _add_json(verb)


def _add_run(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "run", "hold a task while a command runs", _RUN)
    verb.usage_exit = Exit.NOT_STARTED
    verb.usage = "missionctl run [OPTION]... [--] CMD [ARGUMENT]..."
    _add_modes(verb, "CMD does")
    verb.add_argument(
        "--context",
        type=values.text,
        help="name that only one task may have at a time (default: one for each run)",
    )
    verb.add_argument(
        "--title",
        "--reason",
        type=values.any_text,
        metavar="TEXT",
        dest="title",
        help="reason, shown by tasks to you and root, with --delay to everybody (default: the name of CMD)",
    )
    verb.add_argument(
        "--delay",
        type=values.span,
        metavar="TIME",
        help="hold a transient task for at most TIME, such as 90s or 2min, rather than a continuous one",
    )
    verb.add_argument(
        "--continuable",
        action="store_true",
        help="let CMD be started again on another host, with its arguments, directory, language and PATH",
    )
    verb.add_argument(
        "--keep-alive",
        choices=KEEP_ALIVE,
        metavar="HOW",
        help="protect CMD (protect, the default; said in so many words it also has CMD ignore SIGHUP, as "
        "nohup(1) does, so that the end of its terminal does not end it), leave it alone (none), or run "
        "it as a service that is started again whenever it ends (restart)",
    )
    verb.add_argument(
        "--name",
        type=values.service_name,
        help="with --keep-alive=restart: name of the service, missiond-run-NAME.service",
    )
    verb.add_argument("--require", action="store_true", help="do not run CMD unless the host is kept awake")
    verb.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments"
    )


def _add_modes(verb: Parser, what: str) -> None:
    items = [mode.item for mode in Mode]
    verb.add_argument(
        "--mode",
        action="append",
        type=values.mode,
        choices=items,
        metavar="MODE",
        dest="modes",
        help=f"what {what}, may be repeated: {', '.join(items)} (default: taskKeeping)",
    )


def _add_hold(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "hold", "keep this host awake for a time, or until programs end", _HOLD)
    end = verb.add_mutually_exclusive_group()
    end.add_argument(
        "time",
        nargs="*",
        action=values.SpanWords,
        const=values.hold_time,
        default=(),
        metavar="TIME",
        help="duration: 1s to 7d, such as 2h or 1h 30min",
    )
    end.add_argument(
        "--until",
        type=values.until,
        metavar="CLOCK",
        help="end time, such as 18:30 or '2030-12-24 18:30'",
    )
    verb.add_argument(
        "--pid",
        action="append",
        nargs="+",
        type=values.process_id,
        metavar="PID",
        dest="pids",
        help="processes whose end ends the task",
    )
    verb.add_argument("--background", action="store_true", help="do not wait for the end")
    _add_modes(verb, "is done")
    verb.add_argument("--reason", type=values.any_text, metavar="TEXT", dest="title", help=_WHY)
    _add_json(verb)


def _check_run(parser: Parser, arguments: argparse.Namespace) -> None:
    message = ""
    if not arguments.command or not arguments.command[0]:
        message = "there is no command to run"
    elif arguments.delay is not None and (arguments.modes or arguments.context is not None):
        message = "--delay goes with neither --mode nor --context"
    elif arguments.delay is not None and arguments.keep_alive is not None:
        message = "--delay does not go with --keep-alive"
    elif (arguments.keep_alive == "restart") != (arguments.name is not None):
        message = "--keep-alive=restart and --name go together"
    if message:
        parser.exit(Exit.NOT_STARTED, f"missionctl run: {message}; see `missionctl run --help`\n")


def _add_delay(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "delay",
        "keep this host awake for a while",
        "Request a transient task for the calling shell, and print its name and the time granted.\n"
        "The task ends after that time, with `missionctl cancel`, or when the shell exits.",
    )
    time = verb.add_mutually_exclusive_group()
    time.add_argument(
        "--for",
        type=values.span,
        metavar="TIME",
        dest="delay",
        help="duration, such as 90s or 2min (default: the longest allowed)",
    )
    time.add_argument(
        "time",
        nargs="*",
        action=values.SpanWords,
        const=values.span,
        default=(),
        metavar="TIME",
        help="the same as --for TIME",
    )
    verb.add_argument(
        "--reason",
        type=values.any_text,
        metavar="TEXT",
        default="missionctl delay",
        help=_WHY,
    )
    verb.add_argument(
        "--pid",
        type=values.process_id,
        help="process to delay for (default: the caller of missionctl)",
    )
    verb.add_argument(
        "--wait",
        action="store_true",
        help="wait until the task ends; the task then ends with missionctl, and without --pid belongs to it",
    )
    _add_json(verb)


def _add_cancel(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "cancel", "end tasks")
    verb.add_argument(
        "tasks",
        nargs="+",
        type=values.task,
        metavar="TASK",
        help="such as transient/12 or continuous/7; 12 will do where only one has it",
    )


def _add_remaining(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "remaining",
        "show the time left to transient tasks",
        "Show the time left to a transient task; without TASK, to all tasks that missionctl requested or\n"
        "owns, and the rest of missionctl's own quota.",
    )
    verb.add_argument("task", nargs="?", type=values.task, metavar="TASK", help="such as transient/12, or 12")
    _add_json(verb)


def _add_missions(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "missions", "list the programs that people have running")
    which = verb.add_mutually_exclusive_group()
    which.add_argument(
        "--all",
        action="store_true",
        help="also those of other users (for root always), and of peers whose lists are kept here",
    )
    which.add_argument("--on", type=values.text, metavar="PEER", help="those of another host")
    verb.add_argument("--watch", action="store_true", help="list them again whenever something changes")
    _add_json(verb)
    verb = _verb(verbs, "snapshot", "show what a mission uses")
    verb.add_argument("mission", type=values.mission, metavar="MISSION", help="its number")
    _add_json(verb)
    for name, summary, text in (
        ("lock", "protect missions from being ended", ""),
        ("unlock", "allow missions to be ended again", ""),
        (
            "terminate",
            "end missions",
            "Send SIGTERM to all processes of missions; processes left after the grace time are killed.",
        ),
    ):
        verb = _verb(verbs, name, summary, text)
        verb.add_argument("missions", nargs="+", type=values.mission, metavar="MISSION", help="their numbers")


def _exit_table() -> str:
    lines = [f"  {int(status):>3}  {meaning}" for status, meaning in MEANING.items()]
    return "exit status:\n" + "\n".join(lines) + "\n\nSee missionctl(1)."
