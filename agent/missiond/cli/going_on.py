# SPDX-License-Identifier: Apache-2.0
"""missionctl continue."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TextIO

from missiond.cli.devices import called, find
from missiond.cli.exits import CommandError, Exit
from missiond.cli.snapshot import size
from missiond.cli.table import safe
from missiond.client import AgentUnreachable, Client
from missiond.client_continuations import Continuations, Progress
from missiond.client_peers import Peers

_SEEN = "`missionctl in-flight` shows how far it is"


def main(arguments: argparse.Namespace) -> Exit:
    """Have one go on, and wait until it does."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        peers = Peers(agent)
        # where peers are off, this says so
        peer = find(await peers.known(), arguments.to if arguments.to is not None else arguments.source)
        here = (await peers.local()).device_id
        source, target = (here, peer.device_id) if arguments.to is not None else (peer.device_id, here)
        shown = Shown(json_lines=arguments.json)
        try:
            await _continue(Continuations(agent), source, target, arguments, shown)
        except asyncio.CancelledError:
            shown.end()
            print(f"missionctl: it goes on if it has begun; {_SEEN}", file=sys.stderr)
            raise
        finally:
            shown.end()
    if not arguments.json:
        where = called(peer) if arguments.to is not None else "this host"
        print(f"{safe(str(arguments.mission))} goes on on {where}")


async def _continue(
    continuations: Continuations, source: str, target: str, arguments: argparse.Namespace, shown: Shown
) -> None:
    async with continuations.news() as news:
        asked = await continuations.start(
            source,
            target,
            arguments.mission,
            keep_source=arguments.keep_source,
            free_install=arguments.free_install,
        )
        try:
            async for progress in news.of(asked):
                shown.show(progress)
        except AgentUnreachable as error:
            text = f"{error}; what has begun goes on once it is back, and {_SEEN}"
            raise CommandError(Exit.UNREACHABLE, text) from None


class Shown:
    """Progress on standard error: one line that changes on a terminal, else a line for each phase.

    `json_lines`: each on standard output, as JSON.
    """

    def __init__(self, *, json_lines: bool, out: TextIO = sys.stderr) -> None:
        self._json = json_lines
        self._out = out
        self._terminal = out.isatty()
        self._phase = ""
        self._open = False

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._json:
            print(json.dumps(progress._asdict(), ensure_ascii=False), flush=True)
        elif self._terminal:
            self._out.write(f"\r{line(progress)}\x1b[K")
            self._out.flush()
            self._open = True
        elif progress.phase != self._phase:
            print(line(progress), file=self._out, flush=True)
        self._phase = progress.phase

    def end(self) -> None:
        """End the line."""
        if self._open:
            self._out.write("\n")
            self._out.flush()
            self._open = False


def line(progress: Progress) -> str:
    """For example `sending  42 %  4.2 MiB of 10.0 MiB`."""
    parts = [safe(progress.phase)]
    if progress.phase == "installing":
        parts.append(f"{progress.done} %")
    elif progress.size:
        done = min(progress.done, progress.size)
        parts += [f"{100 * done // progress.size} %", f"{size(done)} of {size(progress.size)}"]
    if progress.text:
        parts.append(safe(progress.text))
    return "  ".join(parts)
