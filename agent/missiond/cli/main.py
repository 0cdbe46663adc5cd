# SPDX-License-Identifier: Apache-2.0
"""Entry point of missionctl."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from missiond.cli.exits import explain
from missiond.cli.parser import parse
from missiond.cli.table import safe

_MODULES = {"continue": "going_on", "in-flight": "in_flight"}
"""Of verbs that can't be the name of a module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; its exit status. Each verb is a module with `main(arguments) -> int`."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    module = _MODULES.get(arguments.verb, arguments.verb)
    try:
        status = int(import_module(f"missiond.cli.{module}").main(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        die_by(signal.SIGINT)
    except BrokenPipeError:
        die_by(signal.SIGPIPE)
    except Exception as error:  # noqa: BLE001 - whatever it is, people get one sentence
        text, status = explain(error, session=arguments.session)
        # some of it may be another host's
        sys.stderr.write(f"missionctl: {safe(text)}\n")
    return status


def die_by(number: signal.Signals) -> None:
    """End as the signal ends a program, so that a calling shell sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
