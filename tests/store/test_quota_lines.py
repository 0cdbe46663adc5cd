# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.store import quota_boots
from missiond.store.quota_boots import WALL_CLOCK_SET, Boots, Placed
from missiond.store.quota_lines import (
    LineError,
    QuotaLine,
    Stamp,
    decode,
    decode_usual,
    encode,
    encode_mark,
    is_usual,
    parts,
)

APP = (1000, "app")
WALL = WALL_CLOCK_SET + 10**10


def gathered(lines: list[QuotaLine]) -> Boots:
    boots = Boots(lambda uid: uid)
    for line in lines:
        boots.take(line)
    return boots


def place(lines: list[QuotaLine], now: Stamp) -> Placed:
    """What of all boots was used, on the clock of the one that goes on."""
    earlier, present = quota_boots.apart(gathered(lines).finish(), now)
    since = now.now if present is None else present.earliest
    placed = quota_boots.place(earlier, now, since)
    for app, spans in present.used.items() if present is not None else ():
        placed.setdefault(app, []).extend(spans)
    return {app: sorted(spans) for app, spans in placed.items()}


def usage(boot: str, start: int, end: int, now: int, wall: int) -> QuotaLine:
    return QuotaLine(Stamp(boot, now, wall), APP, start, end)


@given(
    st.text(max_size=40),
    st.integers(0, 2**32 - 1),
    st.text(max_size=255),
    st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.integers(0, 2**40)),
)
def test_a_line_is_read_back(boot: str, uid: int, app: str, times: tuple[int, int, int]) -> None:
    start, length, later = times
    stamp = Stamp(boot, start + length + later, WALL)
    data = encode(stamp, uid, app, start, start + length)
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert decode(data) == QuotaLine(stamp, (uid, app), start, start + length)
    assert decode(encode_mark(stamp)) == QuotaLine(stamp)
    assert decode(encode_mark(stamp, lost=True)) == QuotaLine(stamp, lost=True)
    [line] = parts(data)
    if is_usual(line):
        found = decode_usual(line)
        assert found == (stamp.boot, stamp.now, stamp.wall, (uid, app), start, start + length)
    else:
        assert line[-1] == data[:-1]
        assert not (app.isascii() and app.isalnum() and boot.isascii() and boot.isalnum())


USUAL = encode(Stamp("b", 120, 4), 1, "a", 100, 110)[:-1]
GOOD: dict[str, Any] = {
    "version": 1, "uid": 1, "app": "a", "start": 1, "end": 2, "boot": "b", "now": 3, "wall": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": True}, {"version": None}, {"uid": -1}, {"uid": 2**32}, {"uid": "1"},
        {"app": 1}, {"start": 3}, {"start": 1.0}, {"end": None}, {"boot": 1}, {"now": True}, {"now": 2**63},
        {"wall": "4"}, {"end": 10**400}, {"start": float("-inf")},
    ],
)  # fmt: skip
def test_impossible_lines_are_refused(change: dict[str, Any]) -> None:
    assert decode(json.dumps(GOOD).encode())
    with pytest.raises(LineError):
        decode(json.dumps({**GOOD, **change}).encode())


@given(st.binary(max_size=100))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(LineError):
        decode(data)


def test_usage_after_the_line_was_written_counts_as_just_before_it() -> None:
    line = decode(json.dumps({**GOOD, "start": 100, "end": 150, "now": 120}).encode())
    assert (line.start, line.end) == (70, 120)
    [same] = parts(encode(Stamp("b", 120, 4), 1, "a", 100, 150))
    assert decode_usual(same) == ("b", 120, 4, (1, "a"), 70, 120)


@pytest.mark.parametrize(("uid", "start"), [(2**32, 1), (1, 3)])
def test_impossible_lines_that_look_usual_are_refused(uid: int, start: int) -> None:
    [line] = parts(encode(Stamp("b", 120, 4), uid, "a", start, 2))
    assert is_usual(line)
    with pytest.raises(LineError):
        decode_usual(line)


@given(st.lists(st.one_of(st.binary(max_size=50).map(lambda data: data.replace(b"\n", b"")), st.just(USUAL))))
def test_lines_are_taken_apart_as_they_stand(lines: list[bytes]) -> None:
    found = parts(b"".join(line + b"\n" for line in lines))
    assert [USUAL if is_usual(line) else line[-1] for line in found] == lines


def test_this_boots_lines_stay_whatever_the_wall_clock_says() -> None:
    lines = [usage("b", 10, 20, 30, WALL), usage("b", 40, 50, 60, 5), usage("b", 70, 80, 90, WALL * 2)]
    assert place(lines, Stamp("b", 100, 0)) == {APP: [(10, 20), (40, 50), (70, 80)]}


def test_another_boot_is_aged_by_the_wall_clock_as_a_whole() -> None:
    lines = [usage("a", 10, 20, 30, WALL), usage("a", 40, 50, 60, WALL + 30)]
    # 1000 ms passed since the last line, written 10 ms after its usage.
    assert place(lines, Stamp("b", 100, WALL + 1030)) == {APP: [(-950, -940), (-920, -910)]}


@pytest.mark.parametrize("wall", [WALL - 1, 0])
def test_a_wall_clock_gone_backwards_means_that_no_time_has_passed(wall: int) -> None:
    lines = [usage("a", 10, 20, 30, WALL - 1000), usage("a", 40, 50, 60, WALL)]
    assert place(lines, Stamp("b", 100, wall)) == {APP: [(-50, -40), (-20, -10)]}


def test_a_wall_clock_that_was_never_set_proves_nothing() -> None:
    lines = [usage("a", 10, 20, 20, 1_000_000)]
    assert place(lines, Stamp("b", 100, WALL)) == {APP: [(-10, 0)]}


def test_usage_of_three_boots_with_one_wall_clock_time_does_not_fall_together() -> None:
    lines = [usage("a", 0, 50, 50, WALL), usage("b", 0, 50, 50, WALL), usage("c", 0, 50, 50, WALL)]
    placed = place(lines, Stamp("d", 100, WALL))
    assert placed == {APP: [(-150, -100), (-100, -50), (-50, 0)]}


def test_a_boot_clock_gone_backwards_is_treated_like_another_boot() -> None:
    lines = [usage("b", 500, 510, 510, WALL), usage("b", 900, 920, 1000, WALL + 490)]
    assert place(lines, Stamp("b", 600, WALL + 590)) == {APP: [(0, 10), (400, 420)]}


def test_a_wall_clock_that_is_set_late_in_a_boot_ages_what_was_before_it() -> None:
    lines = [
        usage("a", 0, 50, 50, WALL),
        usage("b", 60, 70, 70, WALL + 20),
        usage("b", 80, 90, 90, WALL + 5000),
    ]
    assert place(lines, Stamp("c", 100, WALL + 5100)) == {APP: [(-5050, -5000), (-30, -20), (-10, 0)]}


def test_whatever_is_put_in_it_stays_small_and_the_latest_of_everybody_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota_boots, "MAX_APPS", 64)
    monkeypatch.setattr(quota_boots, "MAX_APPS_OF_ONE", 16)
    monkeypatch.setattr(quota_boots, "MAX_INTERVALS", 200)
    boots = Boots(lambda uid: uid // 1000)
    for number in range(5000):
        for uid in (1000 + number % 1000, 5000, 6000 + number % 7):
            boots.use("b", 10 * number, WALL, (uid, f"app{number % 300}"), 10 * number - 5, 10 * number)
    (boot,) = boots.finish()
    people = [uid // 1000 for uid, _ in boot.used]
    assert max(people.count(person) for person in set(people)) <= 16
    assert sum(len(spans) for spans in boot.used.values()) <= 200
    assert {(1999, "app199"), (5000, "app199"), (6001, "app199")} <= boot.used.keys()
    assert boots.left_out > 10_000


def test_too_many_intervals_are_folded_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota_boots, "MAX_INTERVALS", 100)
    boots = Boots(lambda uid: uid)
    for number in range(1000):
        boots.use("b", 10 * number + 5, WALL, (1000 + number % 30, "app"), 10 * number, 10 * number + 5)
    (boot,) = boots.finish()
    lengths = [sum(end - start for start, end in spans) for spans in boot.used.values()]
    assert sum(lengths) == 5 * 1000
    assert sum(map(len, boot.used.values())) <= 100


def test_boots_without_end_are_not_kept() -> None:
    boots = Boots(lambda uid: uid)
    for number in range(2 * quota_boots.MAX_BOOTS):
        boots.use(f"b{number}", 10, WALL, APP, 0, 10)
    assert [boot.last.boot for boot in boots.finish()][-1] == f"b{2 * quota_boots.MAX_BOOTS - 1}"
    assert len(boots.boots) == quota_boots.MAX_BOOTS
