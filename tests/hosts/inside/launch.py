# SPDX-License-Identifier: Apache-2.0
"""Run in a host as the agent's user: asks missiond-units what a JSON on standard input says.

It is a list of questions: [verb, uid, unit, launch description, {name: text of a file}].
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from missiond.core.launch.description import LaunchDescription, parse
from missiond.host.systemd.launcher import Launcher, StartFailed
from missiond.host.systemd.unit_managers import NotAnswered


async def ask(verb: str, uid: int, unit: str, what: dict[str, Any], files: dict[str, str]) -> object:
    launcher = Launcher()
    try:
        if verb == "stop":
            await launcher.stop(uid, unit)
            return None
        description, _ = parse(what)
        if verb == "check":
            return asdict(await launcher.check(uid, unit, description))
        fds = {}
        for name, text in files.items():
            fds[name] = os.memfd_create(name)
            # a number is that many MiB
            for _ in range(int(text) if text.isdecimal() else 0):
                os.write(fds[name], bytes(1 << 20))
            if not text.isdecimal():
                os.write(fds[name], text.encode())
        if verb == "hold":  # until this process is killed
            await launcher.prepare(uid, unit, description, files=fds)
            print("held", flush=True)
            await asyncio.Event().wait()
        if verb == "prepare":
            return await prepared(launcher, uid, unit, description, fds)
        return await launcher.start(uid, unit, description, files=fds, origin="a" * 64)
    except (NotAnswered, StartFailed) as error:
        return f"{type(error).__name__}: {error}"


async def prepared(
    launcher: Launcher, uid: int, unit: str, what: LaunchDescription, files: dict[str, int]
) -> list[object]:
    """Have it prepared in vain, then in earnest; the pid, and ms from the word to that."""
    vain = await launcher.prepare(uid, unit, what, files=files, origin="a" * 64)
    vain.close()
    launch = await launcher.prepare(uid, unit, what, files=files, origin="a" * 64)
    word = time.monotonic()
    pid = await launch.go()
    return [pid, round((time.monotonic() - word) * 1000)]


async def main() -> None:
    for verb, uid, unit, what, files in json.loads(sys.argv[1]):
        before = time.monotonic()
        answer = await ask(verb, uid, unit, what, files)
        print(json.dumps([answer, round((time.monotonic() - before) * 1000)]), flush=True)


asyncio.run(main())
