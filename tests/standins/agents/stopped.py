# SPDX-License-Identifier: Apache-2.0
"""An agent that is on the bus and does nothing: a process that SIGSTOP has stopped."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

_PROGRAM = """
import asyncio, os, signal
from missiond.bus.connection import Connection
async def main():
    connection = await Connection.open(os.environ["DBUS_SYSTEM_BUS_ADDRESS"])
    await connection.call_bus("RequestName", "su", ("org.missiond.Agent1", 0))
    os.kill(os.getpid(), signal.SIGSTOP)
asyncio.run(main())
"""


@asynccontextmanager
async def stopped_agent(environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Have one for as long as the block lasts; its bus is the system bus of `environment`."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROGRAM, env=environment)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        process.kill()
        await process.wait()
