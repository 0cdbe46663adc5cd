# SPDX-License-Identifier: Apache-2.0
"""Signals of the agent as they come to a client, and its methods as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import missiond
from missiond.client._inbox import Inbox


@asynccontextmanager
async def signals(
    client: missiond.Agent, interface: str, *members: str, path: str | None = None
) -> AsyncIterator[Inbox[Any]]:
    """Have the arguments of each signal of these names for as long as the block lasts."""
    with client._bus.inbox() as inbox:
        heard = {member: lambda *arguments: inbox.put(arguments) for member in members}
        subscription = await client._bus.subscribe(interface, heard, path=path)
        try:
            yield inbox
        finally:
            subscription.close()


async def call(
    client: missiond.Agent, interface: str, member: str, *arguments: object, fds: tuple[int, ...] = ()
) -> list[Any]:
    """Call a method of the manager."""
    return await client._bus.call(interface, member, *arguments, fds=fds)
