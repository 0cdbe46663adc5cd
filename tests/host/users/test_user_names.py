# SPDX-License-Identifier: Apache-2.0
"""Names of uids, from logind's files and from a user database that may hang."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from missiond.host.users.user_names import UserNames

EVE = 1_863_000_005
PATIENCE = 20.0


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """Set it to have hanging look-ups come to an end."""
    event = threading.Event()
    yield event
    event.set()


def _database(**names: int) -> Callable[[int], str]:
    known = {uid: name for name, uid in names.items()}
    return known.__getitem__


def test_whoever_is_logged_in_has_a_name(tmp_path: Path, hang: threading.Event) -> None:
    def waits(_: int) -> str:
        hang.wait()
        raise KeyError

    (tmp_path / str(EVE)).write_text("# This is private data.\nNAME=eve\nSTATE=active\n")
    (tmp_path / "524300").write_text("NAME=vu-box-12\n")
    names = UserNames(logins=tmp_path, name_of=waits)
    assert names.has(EVE)
    assert not names.has(524_300)


def test_others_are_looked_up_meanwhile_and_told_of(tmp_path: Path) -> None:
    told: queue.Queue[int] = queue.Queue()
    names = UserNames(told.put, logins=tmp_path, name_of=_database(eve=EVE))
    assert not names.has(EVE)
    assert told.get(timeout=PATIENCE) == EVE
    assert names.has(EVE)


def test_who_has_patience_gets_the_answer(tmp_path: Path) -> None:
    asked: list[int] = []

    def name_of(uid: int) -> str:
        asked.append(uid)
        return _database(eve=EVE)(uid)

    names = UserNames(logins=tmp_path, name_of=name_of)
    assert names.has(EVE, PATIENCE)
    assert not names.has(100_000, PATIENCE)
    assert not names.has(100_000, PATIENCE)
    assert asked == [EVE, 100_000]


def test_a_database_that_hangs_costs_a_few_threads(tmp_path: Path, hang: threading.Event) -> None:
    asked: list[int] = []
    told: queue.Queue[int] = queue.Queue()

    def waits(uid: int) -> str:
        asked.append(uid)
        hang.wait()
        return "eve"

    names = UserNames(told.put, most=2, logins=tmp_path, name_of=waits)
    assert not any(names.has(EVE + number, 0.01) for number in range(5))
    assert asked == [EVE, EVE + 1]
    hang.set()
    assert {told.get(timeout=PATIENCE), told.get(timeout=PATIENCE)} == {EVE, EVE + 1}
    assert names.has(EVE)
    assert names.has(EVE + 3, PATIENCE)


def test_the_hosts_own_database(tmp_path: Path) -> None:
    names = UserNames(logins=tmp_path)
    assert names.has(0, PATIENCE)
    assert not names.has(1_234_567_890, PATIENCE)
