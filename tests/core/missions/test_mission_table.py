# SPDX-License-Identifier: Apache-2.0
"""The table of missions, whatever happens to them in whatever order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from missiond.core.missions.missions import Leader, Mission, MissionTable, Sighting

KEYS = st.sampled_from("abcd")
PIDS = st.integers(1, 3)


def sighting(key: str, pid: int) -> Sighting:
    return Sighting(key, Leader(pid, 5), 1000 + pid, "app", "App", "", 7)


class AnyTable(RuleBasedStateMachine):
    """Held against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MissionTable()
        self.all: list[Mission] = []
        self.next_id = 1

    @rule(key=KEYS, pid=PIDS)
    def add(self, key: str, pid: int) -> None:
        mission = Mission(self.next_id, sighting(key, pid))
        self.next_id += 1
        if any(each.seen.key == key for each in self.all):
            with pytest.raises(ValueError, match="already"):
                self.table.add(mission)
        else:
            self.table.add(mission)
            self.all.append(mission)

    @rule(data=st.data(), key=KEYS, pid=PIDS)
    def update(self, data: st.DataObject, key: str, pid: int) -> None:
        if not self.all:
            return
        mission = data.draw(st.sampled_from(self.all))
        seen = replace(sighting(key, pid), uid=mission.uid)
        if any(each.seen.key == key for each in self.all if each is not mission):
            with pytest.raises(ValueError, match="already"):
                self.table.update(mission, seen)
        else:
            self.table.update(mission, seen)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.all:
            mission = data.draw(st.sampled_from(self.all))
            self.all.remove(mission)
            self.table.remove(mission)

    @invariant()
    def every_way_leads_to_the_same(self) -> None:
        assert self.table.of(None) == sorted(self.all, key=lambda mission: mission.id)
        assert len(self.table) == len(list(self.table)) == len(self.all)
        for mission in self.all:
            assert self.table.find(mission.id) is mission
            assert self.table.with_key(mission.seen.key) is mission
            assert mission.id in self.table
        for pid in range(1, 4):
            led = self.table.led_by(Leader(pid, 5))
            assert (led is None) == all(each.seen.leader.pid != pid for each in self.all)
            assert led is None or (led in self.all and led.seen.leader.pid == pid)
        keys = {mission.seen.key for mission in self.all}
        assert all(self.table.with_key(key) is None for key in set("abcd") - keys)


def test_any_table() -> None:
    run_state_machine_as_test(AnyTable)
