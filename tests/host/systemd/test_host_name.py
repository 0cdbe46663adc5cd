# SPDX-License-Identifier: Apache-2.0
"""The name of this host, told by systemd-hostnamed, which may not be there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from missiond.bus.connection import Connection
from missiond.host.systemd import host_name as module
from missiond.host.systemd.host_name import HostName
from standins.clients.heard import Heard
from standins.services.hostnamed import Hostnamed


@pytest.fixture
async def hostnamed(system_bus: str) -> AsyncIterator[Hostnamed]:
    """One that is not there yet."""
    made = Hostnamed(system_bus, "desk")
    yield made
    await made.vanish()


@pytest.fixture
def heard() -> Heard[str]:
    """What was told."""
    return Heard[str]()


@pytest.fixture
async def name(connection: Connection, heard: Heard[str]) -> AsyncIterator[HostName]:
    """One that follows."""
    made = HostName(connection, heard)
    await made.start()
    yield made
    made.close()
    made.close()


async def test_a_change_is_told_at_once(hostnamed: Hostnamed, name: HostName, heard: Heard[str]) -> None:
    assert name.name == socket.gethostname()
    await hostnamed.appear()
    assert hostnamed.calls == []
    hostnamed.rename("other", "org.example.NotIt")
    hostnamed.rename("new")
    await heard.until("new")
    hostnamed.rename("newer")
    await heard.until("new", "newer")
    # it runs while it is asked something, and comes again for the next change
    await hostnamed.vanish()
    await hostnamed.appear()
    hostnamed.rename("newer")
    hostnamed.rename("newest")
    await heard.until("new", "newer", "newest")
    assert name.name == "newest"


async def test_a_look_finds_what_nobody_told(
    hostnamed: Hostnamed, name: HostName, heard: Heard[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    await hostnamed.appear()
    name.look()
    await heard.until("desk")
    hostnamed.host = "desk two"
    for _ in range(100):
        name.look()
    await heard.until("desk", "desk two")
    assert len(hostnamed.calls) == 2


async def test_without_it_the_kernel_is_asked(
    hostnamed: Hostnamed, name: HostName, heard: Heard[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(socket, "gethostname", lambda: "of the kernel")
    name.look()
    await heard.until("of the kernel")
    # which may be out of date: what hostnamed has told counts from then on
    await hostnamed.appear()
    name.look()
    await heard.until("of the kernel", "desk")
    hostnamed.failures["Get"] = ("org.freedesktop.DBus.Error.Failed", "no")
    name.look()
    await hostnamed.until_called("Get", 2)
    del hostnamed.failures["Get"]
    hostnamed.rename("last")
    await heard.until("of the kernel", "desk", "last")
