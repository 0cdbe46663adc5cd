# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest

from missiond.core.missions.missions import Leader, Listeners, Mission, MissionTable, Registration, Sighting
from missiond.errors import InvalidParameter, MissionNotFound


def sighting(key: str, pid: int = 10, uid: int = 1000) -> Sighting:
    return Sighting(key, Leader(pid, 5), uid, "sleep", "Sleep", "", 7)


@pytest.fixture
def table() -> MissionTable:
    table = MissionTable()
    table.add(Mission(2, sighting("b", 11, 1001)))
    table.add(Mission(1, sighting("a")))
    return table


def test_users_see_their_own_in_the_order_of_ids(table: MissionTable) -> None:
    assert [mission.id for mission in table.of(None)] == [1, 2]
    assert [mission.id for mission in table.of(1001)] == [2]
    assert table.of(1002) == []
    assert table.of(1000)[0].row == (1, "Sleep", "", "sleep", 10, 1000, "running", False, False, 0, 7)


def test_found_by_id_key_and_leader_until_removed(table: MissionTable) -> None:
    mission = table.find(1)
    assert table.with_key("a") is table.led_by(Leader(10, 5)) is mission
    table.remove(mission)
    assert table.with_key("a") is table.led_by(Leader(10, 5)) is None
    with pytest.raises(MissionNotFound):
        table.find(1)
    with pytest.raises(InvalidParameter):
        table.find(0)


def test_neither_id_nor_key_is_given_twice(table: MissionTable) -> None:
    for mission in (Mission(1, sighting("c")), Mission(3, sighting("a"))):
        with pytest.raises(ValueError, match="already"):
            table.add(mission)


def test_a_new_leader_keeps_the_id(table: MissionTable) -> None:
    mission = table.find(1)
    table.update(mission, dataclasses.replace(mission.seen, leader=Leader(12, 6)))
    assert table.led_by(Leader(10, 5)) is None
    assert table.led_by(Leader(12, 6)) is table.find(1) is mission


def test_two_missions_of_one_leader_leave_each_other_alone(table: MissionTable) -> None:
    second = Mission(3, sighting("c"))
    table.add(second)
    table.remove(second)
    assert table.led_by(Leader(10, 5)) is table.find(1)


def test_a_registration_goes_before_what_the_host_shows() -> None:
    mission = Mission(1, sighting("a"), registration=Registration(label="Mine", continuable=True, tag=-3))
    assert (mission.label, mission.icon, mission.continuable, mission.tag) == ("Mine", "", True, -3)
    mission.registration = Registration()
    assert mission.label == "Sleep"


def test_listeners_are_told_once_and_only_of_what_they_may_see() -> None:
    listeners = Listeners({":1.1": 1000, ":1.2": 1001, ":1.3": 0})
    assert listeners.note(1000)
    assert listeners.note(1000)
    assert listeners.take() == [":1.1", ":1.3"]
    assert listeners.take() == []
    del listeners.users[":1.3"]
    assert not listeners.note(1005)
    assert listeners.take() == []
    assert listeners.concerned([1001]) == [":1.2"]


@pytest.mark.parametrize(("start", "started", "told"), [(5, 8, 7), (5, 1_000_007, 1_000_007), (6, 8, 8)])
def test_a_start_time_stays_until_the_clock_is_set(start: int, started: int, told: int) -> None:
    now = dataclasses.replace(sighting("b"), leader=Leader(10, start), started=started)
    assert now.steadied(sighting("a")) == dataclasses.replace(now, started=told)
