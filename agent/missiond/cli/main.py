# SPDX-License-Identifier: Apache-2.0
"""Entry point of missionctl."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from missiond.cli import stdio
from missiond.cli.exit_codes import explain
from missiond.cli.output import safe
from missiond.cli.parser.parser import parse

_MODULES = {
    "continue": "continue_",
    **dict.fromkeys(("in-flight", "reclaim", "drop"), "in_flight"),
    **dict.fromkeys(("lock", "unlock", "terminate"), "manage"),
}
"""Modules of verbs that are named otherwise."""


def launched() -> int:
    """Run for the package's launcher, with a list of ignored signals as first argument."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # until here, see packaging/missionctl
        signal.signal(signal.SIGINT, signal.default_int_handler)
    words = sys.argv.pop(1).split(",")
    return main(ignored=frozenset(int(word) for word in words if word.isdecimal()))


def main(argv: Sequence[str] | None = None, ignored: frozenset[int] = frozenset()) -> int:
    """Run one verb and return the exit status; each verb is a `main(arguments) -> int`.

    `ignored`: signals that Python ignores, and that whoever called had ignored already.
    """
    stdio.prepare()
    arguments = None
    status = 128
    try:
        try:
            arguments = parse(sys.argv[1:] if argv is None else argv)
            arguments.ignored = ignored
            module = _MODULES.get(arguments.verb, arguments.verb)
            status = int(import_module(f"missiond.cli.verbs.{module}").main(arguments))
        except SystemExit as end:  # help, or wrong usage
            status = int(end.code or 0)
        sys.stdout.flush()
    except KeyboardInterrupt:
        die_by(signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - whatever it is, people get one sentence
        if isinstance(error, BrokenPipeError) and signal.SIGPIPE not in ignored:
            die_by(signal.SIGPIPE)
        text, status = explain(error, session=arguments is not None and arguments.session)
        stdio.complain(safe(text))  # some of it may be another host's
    stdio.drop_unwritten()
    return status


def die_by(number: signal.Signals) -> None:
    """End by a signal, visibly for a calling shell."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
