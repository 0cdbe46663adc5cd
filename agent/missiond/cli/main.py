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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; its exit status. Each verb is a module with `main(arguments) -> int`."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        status = int(import_module(f"missiond.cli.{arguments.verb}").main(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        die_by(signal.SIGINT)
    except BrokenPipeError:
        die_by(signal.SIGPIPE)
    except Exception as error:  # noqa: BLE001 - whatever it is, people get one sentence
        text, status = explain(error, session=arguments.session)
        sys.stderr.write(f"missionctl: {text}\n")
    return status


def die_by(number: signal.Signals) -> None:
    """End as the signal ends a program, so that a calling shell sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
