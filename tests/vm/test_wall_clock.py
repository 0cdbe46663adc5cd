# SPDX-License-Identifier: Apache-2.0
"""Somebody sets the wall clock by days while tasks live: they notice nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.witness import LATE, SLACK, Ledger, Witness

if TYPE_CHECKING:
    from vm.machine import Machine

_DAYS = 2
_LONG, _SHORT, _WARNING = 150.0, 20.0, 6.0
_SERVICE = "missiond.service"


@pytest.fixture
def witness(machine: Machine) -> Iterator[Witness]:
    """Somebody who owns tasks."""
    found = Witness(machine)
    yield found
    found.close()
    machine.wait_for(lambda: machine.locks() == [])


@pytest.fixture(autouse=True)
def no_other_work(machine: Machine) -> Iterator[None]:
    """Nothing that is to be done at some time of the day starts when the day changes."""
    listed = machine.systemctl("list-units", "--type=timer", "--state=active", "--plain", "--no-legend")
    timers = [line.split()[0] for line in listed.splitlines()]
    machine.systemctl("stop", *timers)
    yield
    machine.systemctl("start", *timers)


class _Shift:
    """The wall clock, so many days away from the truth."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._days = 0

    def to(self, days: int) -> None:
        """Set it."""
        seconds = (days - self._days) * 86_400
        self._machine.python(f"import time; time.clock_settime(0, time.clock_gettime(0) + {seconds})")
        self._days = days


def test_two_days_forward_and_two_days_back(machine: Machine, witness: Witness) -> None:
    ledger = Ledger(witness)
    long, short = ledger.request(_LONG), ledger.request(_SHORT)
    witness.do("start", "dataTransfer")
    shift = _Shift(machine)
    try:
        for days, meanwhile in ((_DAYS, short), (-_DAYS, None)):
            shift.to(days)
            ledger.check(long)
            if meanwhile is not None:
                ended = witness.wait("SuspendDelayEnded", meanwhile, _SHORT + 15)
                ledger.check(long)
            machine.systemctl("restart", _SERVICE)  # which reads what it wrote by the other clock
            ledger.check(long)
            assert len(machine.locks()) == 2
    finally:
        shift.to(0)
    ledger.check(long)

    earliest, latest = ledger.ends(short)
    assert ended.arguments == [short, "expired"]
    assert earliest - SLACK <= ended.at <= latest + LATE
    (warned,) = witness.heard("SuspendDelayExpiring")
    assert warned.arguments[0] == short
    assert earliest - _WARNING - SLACK <= warned.at <= latest - _WARNING + LATE
    assert witness.heard("SuspendDelayEnded") == [ended]
    assert witness.heard("ContinuousTaskCancel") == []
    witness.do("cancel", long)
    witness.do("stop")
    machine.wait_for(lambda: machine.locks() == [])
    assert [each.arguments for each in witness.heard("SuspendDelayEnded")] == [
        [short, "expired"],
        [long, "cancelled"],
    ]
