# SPDX-License-Identifier: Apache-2.0
"""Times a request and its cancellation, and a bare lock taken and closed, by turns: pairs COUNT WARM-UP.

Starts as root, ends as alice: she calls the agent, bare locks are taken by root and by the service's user,
for whom logind asks polkit as it does for the agent.  Prints nanoseconds as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import pwd
import sys
from collections.abc import Callable
from ctypes import c_void_p
from time import perf_counter_ns

from bench.inside.sdbus import LOGIND, TASKS, Bus, done, number

BARE = (b"ssss", b"sleep", b"bench", b"a bare lock", b"block")


def bus_of(user: str) -> Bus:
    """A connection of this user's."""
    os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        return Bus()
    finally:
        os.seteuid(0)


def become(user: str) -> None:
    """Be an ordinary user from here on."""
    entry = pwd.getpwnam(user)
    os.setgroups([entry.pw_gid])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def take(bus: Bus) -> Callable[[], c_void_p]:
    """What takes a bare lock."""
    return lambda: bus.ask(LOGIND, b"Inhibit", *BARE)


def main() -> None:
    """Measure."""
    count, warm_up = int(sys.argv[1]), int(sys.argv[2])
    bare = {"root": take(bus_of("root")), "service": take(bus_of("missiond"))}
    become("alice")
    agent = Bus()
    times: dict[str, list[int]] = {key: [] for key in ("request", "cancel", "agent", *bare)}
    gc.disable()
    for turn in range(-warm_up, count):
        begun = perf_counter_ns()
        reply = agent.ask(TASKS, b"RequestSuspendDelay", b"sa{sv}", b"bench", 0)
        held = perf_counter_ns()
        task = number(reply)
        done(reply)
        done(agent.ask(TASKS, b"CancelSuspendDelay", b"u", task))
        ended = perf_counter_ns()
        measured = [("request", held - begun), ("cancel", ended - held), ("agent", ended - begun)]
        for key, lock in bare.items():
            begun = perf_counter_ns()
            done(lock())
            measured.append((key, perf_counter_ns() - begun))
        if turn >= 0:
            for key, time in measured:
                times[key].append(time)
    print(json.dumps(times))


main()
