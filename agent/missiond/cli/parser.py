# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from missiond import __version__
from missiond.cli import parser_continue, parser_peers
from missiond.cli.exits import MEANING, Exit
from missiond.core.continuous import KEEP_ALIVE
from missiond.core.modes import BackgroundMode

MAX_U32 = 2**32 - 1
TASK_KINDS = ("transient", "continuous")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

_DESCRIPTION = """\
Keep this host awake while something works, and see what keeps it awake.

  missionctl run -- rsync -a photos/ nas:photos/    awake until rsync ends
  missionctl delay --for 2min                       awake for 2 minutes, while this shell lives
  missionctl tasks                                  who keeps it awake
"""
_RUN = """\
Hold a task while CMD runs.

missionctl becomes CMD (as env(1) does), so that CMD's exit status, signals and terminal are its own, and the
task, which belongs to that process, goes the moment it ends. What CMD leaves running in the background is
not waited for. With --keep-alive=restart CMD runs in the background instead, as a service of systemd's with
Restart=always, until that is stopped. Where the agent cannot hold a task, a warning is printed and CMD runs
all the same; with --require it does not run, and the exit status is 125.

With --continuable CMD may be started again on another host, for the same user: see missionctl(1).
"""


class Parser(argparse.ArgumentParser):
    """Ends with `usage_exit` on wrong usage; of `run`, that may not be taken for the command's own status."""

    usage_exit = Exit.USAGE

    def error(self, message: str) -> NoReturn:
        """Print one sentence and where to read more, and end."""
        self.exit(self.usage_exit, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments as a namespace; `command` is CMD of run.

    CMD may be written with or without `--` in front; what follows is never looked at.
    """
    parser = build()
    is_run = next((word for word in argv if not word.startswith("-")), "") == "run"
    if is_run:
        parser.usage_exit = Exit.NOT_STARTED
    if is_run and "--" in argv:
        at = argv.index("--")
        arguments = parser.parse_args(argv[:at])
        before = [*arguments.command, "--"] if arguments.command else []
        arguments.command = [*before, *argv[at + 1 :]]
    else:
        arguments = parser.parse_args(argv)
    if is_run:
        _check_run(parser, arguments)
    elif arguments.verb == "peers" and (wrong := parser_peers.check(arguments)):
        parser.exit(Exit.USAGE, f"missionctl peers: {wrong}; see `missionctl peers --help`\n")
    return arguments


def build() -> Parser:
    """Build the parser; man page and completions are held equal to it by tests."""
    parser = Parser(
        prog="missionctl",
        description=_DESCRIPTION,
        epilog=_exit_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"missionctl {__version__}")
    parser.add_argument("--session", action="store_true", help="talk to an agent on the session bus")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    _add_status(verbs)
    _add_tasks(verbs)
    _add_run(verbs)
    _add_delay(verbs)
    _add_cancel(verbs)
    _add_remaining(verbs)
    _add_missions(verbs)
    for name, summary in parser_continue.VERBS.items():
        parser_continue.add_arguments(_verb(verbs, name, summary, parser_continue.TEXTS[name]))
    parser_peers.add_arguments(_verb(verbs, "peers", "show and pair other hosts", parser_peers.TEXT))
    return parser


def _verb(verbs: argparse._SubParsersAction[Parser], name: str, summary: str, text: str = "") -> Parser:
    verb = verbs.add_parser(
        name,
        help=summary,
        description=text or summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument(
        "--session",
        action="store_true",
        default=argparse.SUPPRESS,
        help="talk to an agent on the session bus",
    )
    return verb


def _add_json(verb: Parser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_status(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "status", "show the agent, the battery, and what is missing on this host")
    _add_json(verb)


def _add_tasks(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "tasks", "list the tasks that keep this host awake")
    verb.add_argument("--all", action="store_true", help="also those of other users (for root always)")
    _add_json(verb)


def _add_run(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "run", "hold a task while a command runs", _RUN)
    verb.usage_exit = Exit.NOT_STARTED
    verb.usage = "missionctl run [OPTION]... [--] CMD [ARGUMENT]..."
    items = [mode.item for mode in BackgroundMode]
    verb.add_argument(
        "--mode",
        action="append",
        choices=items,
        metavar="MODE",
        dest="modes",
        help=f"what CMD does, may be repeated: {', '.join(items)} (default: taskKeeping)",
    )
    verb.add_argument(
        "--context",
        type=text,
        help="have no second task of this name at one time (default: one for each run)",
    )
    verb.add_argument(
        "--title",
        "--reason",
        type=text,
        metavar="TEXT",
        dest="title",
        help="why, as tasks and `systemd-inhibit --list` show it (default: the name of CMD)",
    )
    verb.add_argument(
        "--delay",
        type=span,
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
        "nohup(1) does, so that it goes on after its terminal is closed), leave it as it is (none), or run "
        "it as a service that is started again whenever it ends (restart)",
    )
    verb.add_argument(
        "--name",
        type=service_name,
        help="with --keep-alive=restart: what the service is called, missiond-run-NAME.service",
    )
    verb.add_argument(
        "--require", action="store_true", help="do not run CMD unless the host is really kept awake"
    )
    verb.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments"
    )


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
        "It ends after that time, with `missionctl cancel`, or when the shell exits.",
    )
    verb.add_argument(
        "--for",
        type=span,
        metavar="TIME",
        dest="delay",
        help="for how long, such as 90s or 2min (default: the most)",
    )
    verb.add_argument(
        "--reason", type=text, metavar="TEXT", default="missionctl delay", help="why, as tasks shows it"
    )
    verb.add_argument(
        "--pid", type=process_id, help="the process it is for (default: the one that called missionctl)"
    )
    verb.add_argument(
        "--wait",
        action="store_true",
        help="stay until it ends; it ends with missionctl then, and without --pid is missionctl's own",
    )
    _add_json(verb)


def _add_cancel(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "cancel", "end tasks")
    verb.add_argument(
        "tasks",
        nargs="+",
        type=task,
        metavar="TASK",
        help="such as transient/12 or continuous/7; 12 will do where only one has it",
    )


def _add_remaining(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "remaining",
        "show how much time is left to transient tasks",
        "Show how much time is left to a transient task; without one, to those that missionctl requested\n"
        "or owns, and how much of missionctl's own quota is left.",
    )
    verb.add_argument("task", nargs="?", type=task, metavar="TASK", help="such as transient/12, or 12")
    _add_json(verb)


def _add_missions(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "missions", "list the programs that people have running")
    which = verb.add_mutually_exclusive_group()
    which.add_argument(
        "--all",
        action="store_true",
        help="also those of other users (for root always), and of peers whose lists are kept here",
    )
    which.add_argument("--on", type=text, metavar="PEER", help="those of another host")
    verb.add_argument("--watch", action="store_true", help="list them again whenever something changes")
    _add_json(verb)
    verb = _verb(verbs, "snapshot", "show what a mission uses")
    verb.add_argument("mission", type=mission, metavar="MISSION", help="its number")
    _add_json(verb)
    verb = _verb(verbs, "lock", "mark missions as ones not to be ended")
    verb.add_argument("missions", nargs="+", type=mission, metavar="MISSION", help="their numbers")
    verb = _verb(verbs, "unlock", "take that mark away")
    verb.add_argument("missions", nargs="+", type=mission, metavar="MISSION", help="their numbers")
    verb = _verb(
        verbs,
        "terminate",
        "end missions",
        "Send SIGTERM to all processes of missions; what is left of them after the grace time is killed.",
    )
    verb.add_argument("missions", nargs="+", type=mission, metavar="MISSION", help="their numbers")


def service_name(value: str) -> str:
    """Parse the part of a service's name that people choose."""
    if not _NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r}: up to 64 letters, digits and _.- after the first")
    return value


def text(value: str) -> str:
    """Text that can go over the bus."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not valid UTF-8") from None
    return value


def span(value: str) -> int:
    """Parse a time span to ms, 1 to 2^32 - 1."""
    from missiond.config.units import parse_span  # noqa: PLC0415

    try:
        milliseconds = parse_span(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r}: {error}") from None
    if not 1 <= milliseconds <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r} is not between 1 ms and 49 days")
    return milliseconds


def process_id(value: str) -> int:
    """Parse a number that a process may have."""
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r} is not a process id")
    return int(value)


def mission(value: str) -> int:
    """Parse a number that a mission may have."""
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:11]) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r:.40} is not the number of a mission")
    return int(value)


def task(value: str) -> tuple[str | None, int]:
    """Parse `transient/12`, `continuous/7` or (kind unknown) `12` to kind and id."""
    kind, slash, number = value.rpartition("/")
    if (
        (slash and kind not in TASK_KINDS)
        or not number.isascii()
        or not number.isdecimal()
        or len(number) > 10
    ):
        raise argparse.ArgumentTypeError(f"{value!r} is not a task, such as transient/12 or continuous/7")
    if not 1 <= int(number) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r}: ids start at 1")
    return kind or None, int(number)


def _exit_table() -> str:
    lines = [f"  {int(status):>3}  {meaning}" for status, meaning in MEANING.items()]
    return "exit status:\n" + "\n".join(lines) + "\n\nSee missionctl(1)."
