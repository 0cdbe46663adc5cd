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

from missiond.core.launch.description import parse
from missiond.host.launcher import Launcher, StartFailed
from missiond.host.unit_managers import NotAnswered


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
            os.write(fds[name], text.encode())
        return await launcher.start(uid, unit, description, files=fds, origin="a" * 64)
    except (NotAnswered, StartFailed) as error:
        return f"{type(error).__name__}: {error}"


async def main() -> None:
    for verb, uid, unit, what, files in json.loads(sys.argv[1]):
        before = time.monotonic()
        answer = await ask(verb, uid, unit, what, files)
        print(json.dumps([answer, round((time.monotonic() - before) * 1000)]), flush=True)


asyncio.run(main())
