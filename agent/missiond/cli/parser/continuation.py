# SPDX-License-Identifier: Apache-2.0
"""Command line of the verbs for hand-overs between hosts."""

from __future__ import annotations

import argparse
import re

VERBS = {
    "continue": "move a running program to another host, or fetch one",
    "in-flight": "list unfinished hand-overs",
    "reclaim": "take back a mission whose hand-over is in doubt",
    "drop": "discard a pending hand-over on this host",
}
TEXTS = {
    "continue": """\
Continue a mission of this host on another one (--to), or a mission of another host here (--from).

The mission runs until its state has arrived at the other host; then it is stopped, and started there.
The target must allow that (missionctl peers allow DEVICE continue, there). Ctrl-C ends missionctl only.
""",
    "in-flight": "",
    "reclaim": """\
Take back a mission whose hand-over is in doubt, and start it on this host. Make sure first that the mission
does not run on the other host: the agents cannot check that while the other host is away.
""",
    "drop": """\
Discard a pending hand-over on this host. The state of the mission is lost here.
""",
}
_MAX_U32 = 2**32 - 1
_TRANSFER = re.compile("[0-9a-f]{1,32}", re.ASCII)
_APP_MAX = 255


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of a verb."""
    name = verb.prog.rpartition(" ")[2]
    if name == "continue":
        verb.add_argument(
            "mission",
            type=mission_or_application,
            metavar="MISSION",
            help="its number or application",
        )
        way = verb.add_mutually_exclusive_group(required=True)
        way.add_argument("--to", metavar="PEER", help="host to continue on")
        way.add_argument("--from", metavar="PEER", dest="source", help="host to fetch the mission from")
        verb.add_argument(
            "--free-install",
            action="store_true",
            help="install a missing program first, if the target allows that",
        )
        verb.add_argument(
            "--keep-source",
            action="store_true",
            help="also keep it running at its source: then there are two",
        )
        tasks = verb.add_mutually_exclusive_group()
        tasks.add_argument(
            "--without-tasks",
            action="store_true",
            help="leave behind its continuous tasks, which keep a host awake",
        )
        tasks.add_argument(
            "--require-tasks",
            action="store_true",
            help="continue only if the target takes all of its continuous tasks",
        )
    elif name != "in-flight":
        verb.add_argument(
            "transfer",
            type=transfer,
            metavar="TRANSFER",
            help="id shown by `missionctl in-flight`, or its beginning",
        )
    if name in ("continue", "in-flight"):
        verb.add_argument("--json", action="store_true", help="print JSON, for programs")


def mission_or_application(value: str) -> int | str:
    """Parse the number of a mission, or the id of an application."""
    if value.isascii() and value.isdecimal():
        if not 1 <= int(value[:11]) <= _MAX_U32:
            raise argparse.ArgumentTypeError(f"{value!r:.40} is not the number of a mission")
        return int(value)
    if not value or not value.isprintable() or len(value.encode(errors="replace")) > _APP_MAX:
        raise argparse.ArgumentTypeError(f"{value!r:.40} is neither a mission nor an application")
    return value


def transfer(value: str) -> str:
    """Parse the beginning of a hand-over's id."""
    if not _TRANSFER.fullmatch(value):
        raise argparse.ArgumentTypeError(
            f"{value!r:.40} is not the beginning of a TRANSFER; see `missionctl in-flight`"
        )
    return value
