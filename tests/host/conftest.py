# SPDX-License-Identifier: Apache-2.0
"""The agent's private connection, a bus that can start services, and power supplies."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from psutil import _pslinux

from missiond.bus.connection import Connection
from missiond.host.power.battery import Battery
from standins.services import private_bus as private_bus_module
from standins.services.power_supplies import PowerSupplies
from standins.services.private_bus import running_bus

ROOT = Path(__file__).parents[2]
StartingBus = Callable[[str, str], AbstractContextManager[str]]


@pytest.fixture
async def connection(system_bus: str) -> AsyncIterator[Connection]:
    """A connection on which file descriptors can pass."""
    opened = await Connection.open(system_bus, fds=True)
    yield opened
    await opened.close()


@pytest.fixture
def starting_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartingBus:
    """Makes a bus that starts `program` for `name`; gives its address."""
    services = tmp_path / "services"
    services.mkdir()
    configuration = private_bus_module._CONFIGURATION.replace(
        "</busconfig>", f"<servicedir>{services}</servicedir></busconfig>"
    )
    monkeypatch.setattr(private_bus_module, "_CONFIGURATION", configuration)
    places = [str(ROOT / "agent"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    @contextmanager
    def running(name: str, program: str) -> Iterator[str]:
        (services / f"{name}.service").write_text(
            f"[D-BUS Service]\nName={name}\nExec={program}\nUser=root\n"
        )
        with running_bus() as bus:
            yield bus.address

    return running


@pytest.fixture
def supplies(tmp_path: Path) -> PowerSupplies:
    return PowerSupplies(tmp_path / "power_supply")


@pytest.fixture(params=["own", "psutil"])
def battery(
    request: pytest.FixtureRequest, supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch
) -> Battery:
    """With and without psutil; the answers must not differ."""
    if request.param == "psutil":
        monkeypatch.setattr(_pslinux, "POWER_SUPPLY_PATH", str(supplies.root))
    return Battery(supplies.root)
