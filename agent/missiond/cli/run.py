# SPDX-License-Identifier: Apache-2.0
"""missionctl run: hold a task while a command runs.

The task belongs to this process by its pid, and this process then becomes the command (execve(2) keeps the
pid). So there is no wrapper that could be killed, forget a signal or outlive the command: exit status,
signals, job control and terminal are the command's own, and the agent, which watches the process and not our
connection, releases the lock the moment it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from missiond.bus.connection import RemoteError
from missiond.cli.exits import CommandError, Exit, explain
from missiond.cli.live import properties_of
from missiond.client import AgentUnreachable, Client
from missiond.client_missions import Missions
from missiond.core.launch.environment import captured
from missiond.core.modes import BackgroundMode
from missiond.errors import AgentError, InvalidParameter, NotSystemApp

_COMM_LENGTH = 15
"""Bytes of a process's name, proc_pid_comm(5)."""


def main(arguments: argparse.Namespace) -> int:
    """Hold the task and become the command; raises CommandError where it is not started.

    Returns only where the command is a service.
    """
    command: list[str] = arguments.command
    program = find(command[0])
    if arguments.keep_alive == "restart":
        from missiond.cli import run_service  # noqa: PLC0415

        return run_service.main(arguments, program, lambda pid: hold(arguments, Path(program).name, pid))
    _take_name(program)
    warning = hold(arguments, Path(program).name, os.getpid())
    if warning:
        sys.stderr.write(f"missionctl: warning: nothing keeps this host awake for {command[0]}: {warning}\n")
    if arguments.keep_alive == "protect":
        # An ignored signal stays so across execve(2); a program that wants it sets a handler.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return become(program, command)


def hold(arguments: argparse.Namespace, name: str, pid: int) -> str:
    """Hold the task for a process; what is wrong where no lock stands for it, else an empty text.

    Raises CommandError where the command is not to run then.
    """
    try:
        warning = asyncio.run(_hold(arguments, name, pid))
    except (InvalidParameter, NotSystemApp) as error:
        text = f"{arguments.command[0]} was not started: {error.text}"
        raise CommandError(Exit.NOT_STARTED, text) from error
    except (AgentError, AgentUnreachable, RemoteError) as error:
        warning = explain(error, session=arguments.session)[0]
    if warning and arguments.require:
        raise CommandError(Exit.NOT_STARTED, f"{arguments.command[0]} was not started: {warning}")
    return warning


def find(name: str) -> str:
    """Path of the program as a shell would find it; raises CommandError where there is none."""
    program = shutil.which(name)
    if program is not None:
        return program
    if os.sep in name and Path(name).exists():
        raise CommandError(
            Exit.NOT_EXECUTABLE, f"{name} cannot be executed; is it a program, and may you run it?"
        )
    raise CommandError(Exit.COMMAND_NOT_FOUND, f"there is no command {name}; check its name and PATH")


async def _hold(arguments: argparse.Namespace, name: str, pid: int) -> str:
    title = arguments.title or name.encode(errors="replace").decode()
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        registering = asyncio.ensure_future(_register(agent, pid, title, arguments))
        try:
            if arguments.delay is not None:
                granted = await agent.request_suspend_delay(title, pid=pid, delay=arguments.delay)
                return await _missing(agent, "transient", granted.request_id)
            started = await agent.start_background_running(
                arguments.modes or [BackgroundMode.TASK_KEEPING],
                pid=pid,
                title=title,
                context=f"run-{arguments.name or pid}" if arguments.context is None else arguments.context,
                **({} if arguments.keep_alive is None else {"keep_alive": arguments.keep_alive}),
            )
            return await _missing(agent, "continuous", started.continuous_task_id)
        finally:
            await registering


async def _register(agent: Client, pid: int, label: str, arguments: argparse.Namespace) -> None:
    """Make it a mission of this name; where that can't be had, the task matters more."""
    command: Sequence[str] = arguments.command
    argv = [word.encode(errors="replace").decode() for word in command]
    try:
        if not arguments.continuable:
            await Missions(agent).register(pid=pid, label=label, argv=argv, cwd=str(Path.cwd()))
            return
        if argv != list(command):
            raise InvalidParameter("its arguments are not all Unicode text")
        argv[0] = _absolute(find(command[0]))
        # what was started by hand may be started again elsewhere: that is what the option says
        await Missions(agent).register(
            pid=pid,
            label=label,
            argv=argv,
            cwd=str(Path.cwd()),
            environment=captured(os.environ),
            relaunch=True,
        )
    except (AgentError, AgentUnreachable, RemoteError, OSError) as error:
        if arguments.continuable:
            text = error.text if isinstance(error, AgentError) else error
            sys.stderr.write(f"missionctl: warning: {command[0]} can't go on elsewhere: {text}\n")


def _absolute(program: str) -> str:
    return os.path.abspath(program)  # noqa: PTH100 (links stay as they are)


async def _missing(agent: Client, kind: str, task_id: int) -> str:
    """Why a task has no lock at this moment, in the agent's words; empty where it has one."""
    if (await properties_of(agent, kind, task_id))["Locked"]:
        return ""
    sentences = (await agent.properties())["Degraded"]
    return "; ".join(sentences) or "logind gives no lock at this moment, the agent goes on asking"


def become(program: str, command: Sequence[str]) -> NoReturn:
    """Execute the program in place of this one; raises CommandError where the kernel refuses."""
    # Python ignores these from its start; an ignored signal stays so across execve(2).
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # A Ctrl-C between here and the command must not end up in a handler that is about to vanish.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    environment = original_environment()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        try:
            os.execve(program, list(command), environment)  # noqa: S606 - what it is for
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without `#!` is one for sh(1), as execvp(3) has it.
            os.execve("/bin/sh", ["sh", program, *command[1:]], environment)  # noqa: S606
    except OSError as error:
        text = f"{command[0]} cannot be executed: {error.strerror}; is it a program for this machine?"
        raise CommandError(Exit.NOT_EXECUTABLE, text) from error


def original_environment() -> dict[bytes, bytes]:
    """Return the environment that missionctl was given.

    In the C locale, Python sets LC_CTYPE for itself (PEP 538).
    """
    environment = dict(os.environb)
    with suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        if not any(entry.startswith(b"LC_CTYPE=") for entry in given):
            environment.pop(b"LC_CTYPE", None)
    return environment


def _take_name(program: str) -> None:
    """Be called what we become: an agent that may not see our executable knows processes by this name."""
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(os.fsencode(Path(program).name)[:_COMM_LENGTH])
