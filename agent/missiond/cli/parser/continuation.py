# SPDX-License-Identifier: Apache-2.0
"""The command line of what has missions go on on other hosts."""

from __future__ import annotations

import argparse
import re

VERBS = {
    "continue": "have a mission go on on another host, or here",
    "in-flight": "list missions that are between two hosts",
    "reclaim": "take a mission back that is between two hosts",
    "drop": "give up a mission that is between two hosts",
}
TEXTS = {
    "continue": """\
Have a mission of this host go on on another one (--to), or one of another host go on here (--from).

It runs where it was until all of it is on the other host, then it is stopped and started there. The other
host must allow that (missionctl peers allow DEVICE continue, there). Ctrl-C ends missionctl only.
""",
    "in-flight": "",
    "reclaim": """\
Take a mission back that was to go on elsewhere: it is this host's again, and started here. Make sure first
that it does not run on the other host, which cannot be asked: nobody else will.
""",
    "drop": """\
Give up a mission that is between two hosts, here and now. Its state is lost on this host.
""",
}
_MAX_U32 = 2**32 - 1
_TRANSFER = re.compile("[0-9a-f]{1,32}", re.ASCII)
_APP_MAX = 255


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Give the verb its arguments."""
    name = verb.prog.rpartition(" ")[2]
    if name == "continue":
        verb.add_argument(
            "mission", type=mission_or_application, metavar="MISSION", help="its number, or its application"
        )
        way = verb.add_mutually_exclusive_group(required=True)
        way.add_argument("--to", metavar="PEER", help="the host where it is to go on")
        way.add_argument(
            "--from", metavar="PEER", dest="source", help="the host on which it is; it goes on here"
        )
        verb.add_argument(
            "--free-install",
            action="store_true",
            help="have its program installed first where it is missing, if that host allows it",
        )
        verb.add_argument(
            "--keep-source", action="store_true", help="have it also go on where it is: then there are two"
        )
        tasks = verb.add_mutually_exclusive_group()
        tasks.add_argument(
            "--without-tasks",
            action="store_true",
            help="leave its continuous tasks, which keep a host awake, behind",
        )
        tasks.add_argument(
            "--require-tasks",
            action="store_true",
            help="have it go on only where all of its continuous tasks can",
        )
    elif name != "in-flight":
        verb.add_argument(
            "transfer",
            type=transfer,
            metavar="TRANSFER",
            help="as `missionctl in-flight` has it, or its beginning",
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
    """Parse the id of a hand-over, or its beginning."""
    if not _TRANSFER.fullmatch(value):
        raise argparse.ArgumentTypeError(
            f"{value!r:.40} is not the beginning of a TRANSFER; see `missionctl in-flight`"
        )
    return value
