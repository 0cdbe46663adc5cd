# SPDX-License-Identifier: Apache-2.0
"""missionctl continue."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from typing import TextIO

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import json_text, safe
from missiond.cli.verbs.snapshot import size

_TRAVELS = ("sending", "receiving")
"""Phases that have a percentage."""
_SEEN = "`missionctl in-flight` shows its progress"


def main(arguments: argparse.Namespace) -> Exit:
    """Continue a mission on another host, or here, and wait for the end."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        # where peers are off, this says so
        peer = await agent.peer(arguments.to if arguments.to is not None else arguments.source)
        shown = Shown(json_lines=arguments.json)
        try:
            await _continue(agent, peer, arguments, shown)
        except asyncio.CancelledError:
            shown.end()
            print(f"missionctl: a hand-over that has begun continues; {_SEEN}", file=sys.stderr)
            raise
        finally:
            shown.end()
    if not arguments.json:
        where = peer.label if arguments.to is not None else "this host"
        print(f"Mission {safe(str(arguments.mission))} continues on {where}.")
        if sys.stdout.isatty():
            print(f"Its output is in the user journal of {where}: journalctl --user")


async def _continue(
    agent: missiond.Agent, peer: missiond.PeerInfo, arguments: argparse.Namespace, shown: Shown
) -> None:
    there = arguments.to is not None
    move = agent.move(
        arguments.mission,
        to=peer if there else None,
        origin=None if there else peer,
        keep_source=arguments.keep_source,
        install=arguments.free_install,
        with_tasks=not arguments.without_tasks,
        require_tasks=arguments.require_tasks,
    )
    try:
        async for step in move:
            shown.show(step)
    except missiond.Unreachable as error:
        if not move.id:
            raise
        text = f"{error}; the hand-over continues when the agent is back, and {_SEEN}"
        raise CommandError(Exit.UNREACHABLE, text) from None


class Shown:
    """Progress on standard error: a changing line on a terminal, else a line for each phase.

    `json_lines`: each on standard output, as JSON.
    """

    def __init__(self, *, json_lines: bool, out: TextIO | None = None) -> None:
        self._json = json_lines
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._phase = ""
        self._open = False

    def show(self, step: missiond.MoveStep) -> None:
        """Show a step."""
        if self._json:
            print(json_text(asdict(step)), flush=True)
        elif step.phase == "failed":
            pass  # which is said once, as the error that it is
        elif step.phase == "done" and step.text:
            self.end()
            print(f"missionctl: warning: {safe(step.text)}", file=self._out, flush=True)
        elif self._terminal:
            self._out.write(f"\r{line(step)}\x1b[K")
            self._out.flush()
            self._open = True
        elif step.phase != self._phase:
            print(line(step), file=self._out, flush=True)
        self._phase = step.phase

    def end(self) -> None:
        """End the line."""
        if self._open:
            self._out.write("\n")
            self._out.flush()
            self._open = False


def line(step: missiond.MoveStep) -> str:
    """For example `sending  42 %  4.2 MiB of 10.0 MiB`."""
    parts = [safe(step.phase)]
    if step.phase == "installing":
        parts.append(f"{step.done} %")
    elif step.size and step.phase in _TRAVELS:
        done = min(step.done, step.size)
        parts += [f"{100 * done // step.size} %", f"{size(done)} of {size(step.size)}"]
    if step.text:
        parts.append(safe(step.text))
    return "  ".join(parts)
