# SPDX-License-Identifier: Apache-2.0
"""Asks for a password at the terminal where polkit wants one, as systemctl does: by pkttyagent(1)."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

_READY = 5.0
"""Seconds in which pkttyagent has told polkit that it is there."""
_END = 2.0


def may_ask(arguments: argparse.Namespace) -> bool:
    """Whether somebody is there to be asked, and has not said otherwise."""
    if os.geteuid() == 0 or not arguments.ask_password:
        return False
    if getattr(arguments, "json", False) and not sys.stdout.isatty():
        return False
    return sys.stdin.isatty() and sys.stderr.isatty()


class PasswordAgent:
    """Answers for this process where nothing else of the session does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._terminal: list[Any] | None = None

    async def start(self) -> bool:
        """Start pkttyagent and wait until polkit knows of the agent.

        True: polkit may ask, also where the host has no such program, since a desktop has its own.
        """
        program = shutil.which("pkttyagent")
        if self._process is not None or program is None:
            return True
        with suppress(termios.error, OSError):
            self._terminal = termios.tcgetattr(0)
        ready, told = os.pipe()
        try:
            whose = ["--process", str(os.getpid()), "--notify-fd", str(told)]
            if _in_session():
                whose.append("--fallback")
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it asks whoever called us
                [program, *whose], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[told]
            )
        except OSError:
            os.close(ready)
            return True
        finally:
            os.close(told)
        await _closed(ready)
        return True

    def stop(self) -> None:
        """End pkttyagent and restore the terminal."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._terminal is not None:
            with suppress(termios.error, OSError):
                termios.tcsetattr(0, termios.TCSADRAIN, self._terminal)


def _in_session() -> bool:
    """Whether a desktop may have an agent, which goes first; without a session, polkit finds no fallback."""
    try:
        place = Path("/proc/self/cgroup").read_bytes()
    except OSError:
        place = b""
    return "XDG_SESSION_ID" in os.environ or b"/user.slice/" in place


async def _closed(fd: int) -> None:
    """Wait until the other end is closed or something comes, and close this one."""
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(fd, heard.set)
    try:
        async with asyncio.timeout(_READY):
            await heard.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(fd)
        os.close(fd)
