# SPDX-License-Identifier: Apache-2.0
"""Users are looked up while everything else goes on."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading
import time
from pathlib import Path

import pytest

from missiond.errors import SystemServiceFailed
from missiond.host import user_database
from missiond.host.user_database import UserDatabase


class Directory:
    """A user database that answers once it is let."""

    def __init__(self) -> None:
        self.users: dict[object, str | int] = {"ann": 1000, 1000: "ann"}
        self.asked: list[object] = []
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, key: str | int) -> str | int | None:
        self.asked.append(key)
        self.answers.wait(30)
        return self.users.get(key)


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def users(directory: Directory, tmp_path: Path) -> UserDatabase:
    return UserDatabase(directory, most=2, logins=tmp_path)


async def test_what_the_host_has() -> None:
    users, me = UserDatabase(), pwd.getpwuid(os.getuid())
    await users.learn(me.pw_name)
    assert users.uid_of(me.pw_name) == me.pw_uid
    assert users.name_of(me.pw_uid) == me.pw_name
    for name in ("no-such-user", "a\0b", ""):
        await users.learn(name)
        with pytest.raises(KeyError):
            users.uid_of(name)
    await users.learn(2**40)
    with pytest.raises(KeyError):
        users.name_of(2**40)


async def test_an_answer_is_remembered_and_asked_for_again(
    users: UserDatabase, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert users.uid_of("ann") == 1000
    assert users.uid_of("ann") == 1000
    assert directory.asked == ["ann"]
    await users.learn("ann")
    assert directory.asked == ["ann"] * 2
    monkeypatch.setattr(user_database, "FRESH", 0.0)
    directory.answers.clear()
    directory.users["ann"] = 2000
    assert users.uid_of("ann") == 1000, "what was known, until there is another answer"
    directory.answers.set()
    while users.uid_of("ann") != 2000:
        await asyncio.sleep(0)


async def test_a_directory_that_hangs_holds_nothing_up(
    users: UserDatabase, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_database, "PATIENCE", 0.05)
    directory.answers.clear()
    begun = time.monotonic()
    with pytest.raises(SystemServiceFailed, match="9800004: the user database does not answer about 'ann'"):
        await users.learn("ann")
    for name in ("ann", "bob", "carol", "dave"):
        with pytest.raises(SystemServiceFailed):
            users.uid_of(name)
    assert time.monotonic() - begun < 10
    assert directory.asked == ["ann", "bob"], "as many threads as there may be"
    directory.answers.set()
    while directory.asked[-1] != "dave":
        await users.learn("dave")
    assert users.uid_of("ann") == 1000


async def test_many_ask_for_one(users: UserDatabase, directory: Directory) -> None:
    directory.answers.clear()
    waiting = [asyncio.create_task(users.learn("ann")) for _ in range(5)]
    while len(directory.asked) < 1:
        await asyncio.sleep(0)
    directory.answers.set()
    await asyncio.gather(*waiting)
    assert directory.asked == ["ann"]


async def test_who_is_logged_in_is_found_where_logind_notes_it(
    users: UserDatabase, directory: Directory, tmp_path: Path
) -> None:
    directory.answers.clear()
    (tmp_path / "1000").write_text("# a comment\nNAME=anna\nSTATE=active\n")
    assert users.name_of(1000) == "anna"
    assert directory.asked == []
    directory.answers.set()


async def test_the_memory_of_users_is_bounded(
    users: UserDatabase, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_database, "_MOST_KNOWN", 3)
    for number in range(10):
        await users.learn(f"user{number}")
    assert len(users._entries) <= 3
