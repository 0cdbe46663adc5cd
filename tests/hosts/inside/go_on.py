# SPDX-License-Identifier: Apache-2.0
"""Has a mission go on elsewhere, and says how that gets on: a line of JSON for each signal, with the time."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import missiond
from missiond.bus.variants import to_variants
from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER as MISSIONS


def say(*words: object) -> None:
    print(json.dumps([*words, time.time()]), flush=True)


async def main() -> None:
    """Arguments: source, target, mission (or application), want_param; ends 0.3 s after ContinueDone."""
    source, target, which, want = sys.argv[1:]
    number = which.isdigit()
    member = "ContinueMission" if number else "ContinueApplication"
    body = [source, target, int(which) if number else which, to_variants(json.loads(want))]
    async with missiond.connect() as agent:
        bus = agent._bus
        with bus.inbox() as signals:
            heard = {
                name: lambda *arguments: signals.put(arguments)
                for name in ("ContinueProgress", "ContinueDone")
            }
            await bus.subscribe(MISSIONS, heard)
            say("calling")
            try:
                [continuation] = await bus.call(MISSIONS, member, *body)
            except missiond.AgentError as error:
                say("refused", int(error.code), error.text)
                return
            say("id", continuation)
            ends = None
            while True:
                try:
                    arguments = await asyncio.wait_for(signals.get(), ends)
                except TimeoutError:
                    break
                if len(arguments) == 2:
                    say("ended", *arguments)
                    ends = 0.3
                else:
                    say(*arguments[1:])


asyncio.run(main())
