# SPDX-License-Identifier: Apache-2.0
"""Identities are asked for once, and leaving is noticed, with any number of clients."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import pytest

from missiond.bus import callers as callers_module
from missiond.bus.callers import Callers
from missiond.bus.connection import Connection
from missiond.common.subscription import Subscription
from missiond.errors import CallerVerificationFailed
from standins.clients.raw_client import raw_client
from standins.programs.sample_service import Service


async def test_identity_is_asked_once(service: Service, client: Connection) -> None:
    callers = service.server.callers
    assert callers.cached(client.unique_name) is None
    first, second = await asyncio.gather(
        callers.identify(client.unique_name), callers.identify(client.unique_name)
    )
    assert first is second
    assert (first.pid, first.uid, first.name) == (os.getpid(), os.getuid(), client.unique_name)
    assert callers.cached(client.unique_name) is first


async def test_vanishing_is_told_once_and_forgets(system_bus: str, service: Service) -> None:
    callers = service.server.callers
    gone: list[str] = []
    done = asyncio.Event()
    async with raw_client(system_bus) as raw:
        name = raw.name
        await callers.identify(name)
        callers.on_vanish(name, lambda: gone.append("a"))
        callers.on_vanish(name, lambda: gone.append("closed")).close()
        callers.on_vanish(name, done.set)
        rules = len(service.connection._rules)
    await done.wait()
    assert gone == ["a"]
    assert callers.cached(name) is None
    assert len(callers) == 0
    assert len(service.connection._rules) == rules - 1
    with pytest.raises(CallerVerificationFailed):
        await callers.identify(name)
    assert len(callers) == 0


async def test_watching_somebody_who_has_left(service: Service) -> None:
    done = asyncio.Event()
    service.server.callers.on_vanish(":1.99999", done.set)
    await done.wait()
    assert len(service.server.callers) == 0


async def test_more_than_512_watched_names(
    service: Service, client: Connection, raw_names: list[str]
) -> None:
    """dbus-daemon allows 512 match rules; beyond 256 names one broad rule serves all."""
    callers = service.server.callers
    gone: list[str] = []
    done = asyncio.Event()
    subscriptions = [callers.on_vanish(name, lambda: gone.append("x")) for name in raw_names]
    callers.on_vanish(client.unique_name, done.set)
    assert len(callers) == 701
    assert len(service.connection._rules) == 1
    await service.connection.call_bus("GetId")
    # the invented names have never been there
    await client.close()
    await done.wait()
    while len(gone) < len(raw_names):
        await service.connection.call_bus("GetId")
    assert len(callers) == 0
    assert service.connection._rules == {}
    for subscription in subscriptions:
        subscription.close()


async def test_watchers_that_call_themselves_off_hide_no_other(service: Service, client: Connection) -> None:
    callers = service.server.callers
    subscriptions: list[Subscription] = []
    told: list[int] = []
    done = asyncio.Event()

    def tell(number: int) -> None:
        told.append(number)
        subscriptions[number].close()

    for number in range(5):
        watch = callers.on_vanish(client.unique_name, partial(tell, number))
        subscriptions.append(watch)
    last = callers.on_vanish(client.unique_name, done.set)
    await client.close()
    await done.wait()
    assert told == [0, 1, 2, 3, 4]
    last.close()


@pytest.fixture
def raw_names() -> list[str]:
    return [f":1.{number}" for number in range(100_000, 100_700)]


async def test_back_to_single_rules(
    system_bus: str, service: Service, client: Connection, raw_names: list[str]
) -> None:
    callers = service.server.callers
    gone = asyncio.Event()
    callers.on_vanish(client.unique_name, gone.set)
    async with raw_client(system_bus) as other:
        await callers.identify(other.name)
        for name in raw_names:
            callers.on_vanish(name, lambda: None)
        while len(callers) > 2:
            await service.connection.call_bus("GetId")
        assert len(service.connection._rules) == 2
        await client.close()
        await gone.wait()


async def test_oldest_identities_are_forgotten_but_not_watched_ones(
    system_bus: str, service: Service, client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "MAX_CACHED", 4)
    callers: Callers = service.server.callers
    await callers.identify(client.unique_name)
    subscription = callers.on_vanish(client.unique_name, lambda: None)
    connections = [await Connection.open(system_bus) for _ in range(8)]
    for connection in connections:
        await callers.identify(connection.unique_name)
    assert len(callers) == 4
    assert callers.cached(client.unique_name) is not None
    assert callers.cached(connections[-1].unique_name) is not None
    assert callers.cached(connections[0].unique_name) is None
    subscription.close()
    assert len(service.connection._rules) == 4
    for connection in connections:
        await connection.close()
