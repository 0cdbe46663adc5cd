# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from missiond.daemon.keepalive import freezer_guard
from missiond.daemon.keepalive.freezer_guard import TRIES, UnitThaw
from missiond.host.systemd.unit_managers import ManagedUnit, ManagersMissing, NotAnswered, UnitManagers

APP = ManagedUnit(1000, "app-x-1.scope")


class Managers(UnitManagers):
    """Notes what is asked; answers what it is told, and then that all is well."""

    def __init__(self, *answers: Exception) -> None:
        self.asked: list[ManagedUnit] = []
        self.answers = list(answers)
        self.at_once: dict[int | None, int] = {}
        self.most = 0
        self.changed = asyncio.Event()

    async def thaw(self, unit: ManagedUnit) -> None:
        self.asked.append(unit)
        self.at_once[unit.manager] = self.at_once.get(unit.manager, 0) + 1
        self.most = max(self.most, self.at_once[unit.manager])
        await asyncio.sleep(0)
        self.at_once[unit.manager] -= 1
        self.changed.set()
        if self.answers:
            raise self.answers.pop(0)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.changed.clear()
                await self.changed.wait()


async def test_each_unit_is_asked_for_once_and_one_at_a_time() -> None:
    managers = Managers()
    books = UnitThaw(managers)
    units = [ManagedUnit(manager, f"{name}.service") for manager in (None, 1000) for name in "abc"]
    for unit in units * 3:
        books.thaw(unit)
    await managers.wait(6)
    assert sorted(managers.asked, key=str) == sorted(units, key=str)
    assert managers.most == 1
    books.close()


async def test_what_is_still_being_frozen_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer_guard, "PAUSE", 0)
    managers = Managers(NotAnswered("EAGAIN"), NotAnswered("EAGAIN"))
    books = UnitThaw(managers)
    books.thaw(APP)
    await managers.wait(3)
    managers.answers = [NotAnswered("EAGAIN") for _ in range(99)]
    books.thaw(APP)
    await managers.wait(3 + TRIES)
    await asyncio.sleep(0)
    assert len(managers.asked) == 3 + TRIES
    books.close()


@pytest.mark.parametrize("error", [NotAnswered("ECONNREFUSED"), ManagersMissing("No such file")])
async def test_who_does_not_answer_is_not_asked_again(error: Exception) -> None:
    managers = Managers(error)
    books = UnitThaw(managers)
    books.thaw(APP)
    books.thaw(ManagedUnit(1000, "other.service"))
    await managers.wait(2)
    assert [unit.name for unit in managers.asked] == ["app-x-1.scope", "other.service"]
    books.close()


async def test_nobody_to_ask() -> None:
    UnitThaw(None).thaw(APP)
