# SPDX-License-Identifier: Apache-2.0
"""A service and its clients on a private bus."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from missiond.bus.connection import Connection
from standins.clients.raw_client import RawClient, raw_client
from standins.programs.sample_service import Service, running_service


@pytest.fixture
async def service(system_bus: str) -> AsyncIterator[Service]:
    """The sample service, without file descriptors, as the agent's."""
    async with running_service(system_bus) as running:
        yield running


@pytest.fixture
async def client(system_bus: str) -> AsyncIterator[Connection]:
    """A connection to call with."""
    connection = await Connection.open(system_bus, fds=True)
    yield connection
    await connection.close()


@pytest.fixture
async def raw(system_bus: str) -> AsyncIterator[RawClient]:
    """A client without manners."""
    async with raw_client(system_bus) as running:
        yield running
