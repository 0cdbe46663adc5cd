# SPDX-License-Identifier: Apache-2.0
"""missionctl run: hold a task while a command runs.

The task belongs to this process by its pid, and this process then becomes the command (execve(2) keeps the
pid). So there is no wrapper that could be killed, forget a signal or outlive the command: exit status,
signals, job control and terminal are the command's own, and the agent, which watches the process and not our
connection, releases the lock the moment it ends.

What the command does matters more than the host's sleep: whatever goes wrong here, it runs (without
--require), and so what can go wrong is imported where that is caught.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from missiond.cli.become import become, take_name
from missiond.cli.exit_codes import CommandError, Exit, explain
from missiond.cli.stdio import complain


def main(arguments: argparse.Namespace) -> int:
    """Hold the task and become the command; raises CommandError if the command is not started.

    Returns only where the command is a service.
    """
    command: list[str] = arguments.command
    program = find(command[0])
    if arguments.keep_alive == "restart":
        from missiond.cli.verbs import run_service  # noqa: PLC0415

        return run_service.main(arguments, program, lambda pid: _hold(arguments, program, pid))
    take_name(program)
    warning = _hold(arguments, program, os.getpid())
    if warning:
        complain(f"warning: nothing keeps this host awake for {command[0]}: {warning}")
    if arguments.keep_alive == "protect":
        import signal  # noqa: PLC0415

        # An ignored signal stays so across execve(2); a program that wants it sets a handler.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return become(program, command, arguments.ignored)


def _hold(arguments: argparse.Namespace, program: str, pid: int) -> str:
    """Hold the task for a process; what is wrong where no lock stands for it, else an empty text.

    Raises CommandError where the command is not to run then.
    """
    try:
        from missiond.cli.verbs.run_task import hold  # noqa: PLC0415

        warning = hold(arguments, Path(program).name, pid)
    except CommandError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the command runs
        warning = explain(error, session=arguments.session)[0]
    if warning and arguments.require:
        raise CommandError(Exit.NOT_STARTED, f"{arguments.command[0]} was not started: {warning}")
    return warning


def find(name: str) -> str:
    """Return the path of a program, as a shell would; raises CommandError for none."""
    program = shutil.which(name)
    if program is not None:
        return program
    if os.sep in name and Path(name).exists():
        raise CommandError(
            Exit.NOT_EXECUTABLE, f"{name} cannot be executed; is it a program, and may you run it?"
        )
    raise CommandError(Exit.COMMAND_NOT_FOUND, f"there is no command {name}; check its name and PATH")
