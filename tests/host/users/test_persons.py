# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.users import persons
from missiond.host.users.persons import NOBODY_KNOWN, Persons

PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:\nbroken\nbob:x:1001:1001::/:\nodd:x:\u0666::\n"


def told_by(tmp_path: Path, text: str, named: tuple[int, ...] = ()) -> Persons:
    (tmp_path / "subuid").write_text(text)
    (tmp_path / "passwd").write_text(PASSWD)
    return Persons(tmp_path / "subuid", tmp_path / "passwd", named.__contains__)


def test_a_subuid_is_its_owners(tmp_path: Path) -> None:
    found = told_by(tmp_path, "alice:100000:65536\n1001:165536:65536\n")
    assert [found.of(uid) for uid in (1000, 100_000, 165_535)] == [1000] * 3
    assert [found.of(uid) for uid in (1001, 165_536, 231_071)] == [1001] * 3
    assert [found.of(uid) for uid in (0, 33, 1002)] == [0, 33, 1002]


def test_uids_that_nobody_is_known_to_have_count_together(tmp_path: Path) -> None:
    found = told_by(tmp_path, "alice:100000:65536\n", named=(200_000,))
    assert {found.of(uid) for uid in (99_999, 165_536, 4_000_000)} == {NOBODY_KNOWN}
    assert found.of(200_000) == 200_000


def test_what_somebody_elsewhere_was_given_is_that_persons(tmp_path: Path) -> None:
    found = told_by(tmp_path, "carol:100000:10\ndave:200000:10\ncarol:300000:10\n")
    carol, dave = found.of(100_000), found.of(200_000)
    assert carol == found.of(100_009) == found.of(300_000)
    assert len({carol, dave, NOBODY_KNOWN, 0}) == 4


@pytest.mark.parametrize(
    "text",
    [
        "", "\n#\n", "alice", "alice:100000", "alice:x:1", "alice:0:65536", "alice:-5:9", ":::", ":100000:1",
        "alice:100000:\u0666", "alice:4294967296:1", "1000:1000:5",
    ],
)  # fmt: skip
def test_lines_that_say_nothing_are_left_out(tmp_path: Path, text: str) -> None:
    found = told_by(tmp_path, f"{text}\nbob:165536:10\n")
    assert found.of(165_540) == 1001
    assert found.of(1000) == 1000
    assert found.of(0) == 0


def test_a_file_that_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(persons, "time", SimpleNamespace(monotonic=lambda: now))
    found = told_by(tmp_path, "")
    (tmp_path / "subuid").unlink()
    assert found.of(100_000) == NOBODY_KNOWN
    (tmp_path / "subuid").write_text("alice:100000:65536\n")
    now += 1
    assert found.of(100_000) == 1000
    (tmp_path / "subuid").unlink()
    now += 1
    assert found.of(100_000) == NOBODY_KNOWN


@given(
    st.lists(st.tuples(st.sampled_from([1000, 1001]), st.integers(1, 300), st.integers(1, 60)), max_size=9)
)
def test_each_uid_has_one_owner_who_was_given_it(ranges: list[tuple[int, int, int]]) -> None:
    apart = persons._apart([(start, start + count, owner) for owner, start, count in ranges])
    for uid in range(400):
        given_to = {owner for owner, start, count in ranges if start <= uid < start + count}
        owners = [owner for start, after, owner in apart if start <= uid < after]
        assert len(owners) == bool(given_to)
        assert set(owners) <= given_to
