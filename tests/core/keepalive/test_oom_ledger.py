# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.keepalive.inherited_scores import Scope, Seen, domain_of, floor_of
from missiond.core.keepalive.oom_ledger import Protections, ScoreChange, ScoreRaise

ALICE, BOB = 1000, 1001
DOMAIN = "user.slice/user-1000.slice"
MANAGER = Seen(5, 20, 100, 1, ALICE, 5, f"{DOMAIN}/user@1000.service/init.scope")
SCOPE = Scope(ALICE, DOMAIN, 500, 0, frozenset({(1, 1), MANAGER.key}))
OWNER = Seen(10, 100, 0, 5, ALICE, 10, f"{DOMAIN}/user@1000.service/app.slice/a.scope")


def at(seen: Seen, score: int) -> Seen:
    return replace(seen, score=score)


def child(pid: int, score: int, parent: int = OWNER.pid, start: int = 600) -> Seen:
    return Seen(pid, start, score, parent, ALICE, OWNER.session, OWNER.cgroup)


def begun(scope: Scope = SCOPE, owner: Seen = OWNER) -> Protections:
    table = Protections()
    table.begin(1, scope)
    table.cover(1, [owner], -300)
    return table


def test_lowered_and_given_back() -> None:
    table = Protections()
    table.begin(1, SCOPE)
    assert table.cover(1, [OWNER, child(11, 200, start=101)], -300) == [
        ScoreChange(10, 100, 0, -300),
        ScoreChange(11, 101, 200, -100),
    ]
    lowered = at(OWNER, -300)
    assert table.cover(1, [lowered], -300) == []
    raises, _ = table.end(1, [lowered, child(12, -100, parent=11), child(11, -100, start=101)])
    assert sorted(raises, key=lambda each: each.pid) == [
        ScoreRaise(10, 100, 0),
        ScoreRaise(11, 101, 200),
        ScoreRaise(12, 600, 200),
    ]
    assert table.end(1, [OWNER]) == ([], set())
    table.forget(1)
    assert (len(table), 1 in table) == (0, False)


@pytest.mark.parametrize("score", [-500, 0, 300])
def test_an_owner_that_started_in_the_tick_of_its_task_has_its_own_score(score: int) -> None:
    owner = replace(at(OWNER, score), start_ticks=SCOPE.since)
    table = begun(replace(SCOPE, owners=frozenset({owner.key})), owner)
    assert table.record(1) == [(*owner.key, score, max(score - 300, -900))]
    table.give_up(owner.key)
    assert table.end(1, [MANAGER, owner]) == ([], set())


def test_a_process_from_before_the_task_did_not_inherit() -> None:
    assert begun().end(1, [at(OWNER, -300), child(12, -300, start=400)])[0] == [ScoreRaise(10, 100, 0)]


@pytest.mark.parametrize("score", [-300, -299, -1, 0, 500])
def test_a_child_is_raised_whatever_it_made_of_it(score: int) -> None:
    """Where it has more already, what its user may lower it to is raised."""
    raises, _ = begun().end(1, [at(OWNER, -300), child(12, score)])
    assert ScoreRaise(12, 600, 0) in raises


@pytest.mark.parametrize("score", [-300, -299, -1])
def test_an_orphan_in_another_cgroup_is_found(score: int) -> None:
    orphan = replace(child(12, score, parent=MANAGER.pid), session=12, cgroup=f"{DOMAIN}/user@1000.service/b")
    assert ScoreRaise(12, 600, 0) in begun().end(1, [MANAGER, orphan])[0]


def test_an_orphan_in_a_container_of_the_user_is_found() -> None:
    orphan = replace(child(12, -300, parent=1), uid=100_000, cgroup=f"{DOMAIN}/user@1000.service/b")
    assert ScoreRaise(12, 600, 0) in begun().end(1, [MANAGER, orphan])[0]


def test_an_orphan_that_is_the_next_owner_is_not_lowered_again() -> None:
    table = begun()
    orphan = child(12, -300, parent=MANAGER.pid)
    since, floor = table.terms(ALICE, DOMAIN) or (0, 0)
    assert (since, floor) == (500, 0)
    table.begin(2, replace(SCOPE, since=700))
    assert table.cover(2, [MANAGER, orphan], -300)[1:] == []
    assert ScoreRaise(10, 100, 0) in table.end(1, [MANAGER, orphan])[0]
    assert ScoreRaise(12, 600, 0) in table.end(2, [MANAGER, orphan])[0]


@pytest.mark.parametrize(
    "other",
    [
        Seen(12, 600, 200, 4, ALICE, 12, OWNER.cgroup),  # of a parent to whom no orphans come
        Seen(12, 600, 200, 0, ALICE, 12, OWNER.cgroup),  # from outside of the container
        Seen(12, 600, 200, 5, BOB, 12, OWNER.cgroup),
        Seen(12, 600, 200, 5, ALICE, 12, "system.slice/a.service"),
        Seen(
            12, 600, 200, 5, ALICE, 12, f"{DOMAIN}/user@1000.service/app.slice/b.service"
        ),  # a service's first
    ],
)
def test_what_has_that_score_by_itself_stays(other: Seen) -> None:
    """The owner goes from 500 to 200, and others have 200."""
    table = begun(owner=at(OWNER, 500))
    found = [MANAGER, at(OWNER, 200), other, Seen(4, 30, 200, 1, ALICE, 4, OWNER.cgroup)]
    raises, _ = table.end(1, found)
    assert [each for each in raises if each.least > MANAGER.score] == [ScoreRaise(10, 100, 500)]


def test_an_orphan_of_one_that_had_more_gets_that_too() -> None:
    orphan = replace(child(12, 200, parent=MANAGER.pid), session=12, cgroup=f"{DOMAIN}/user@1000.service/b")
    assert ScoreRaise(12, 600, 500) in begun(owner=at(OWNER, 500)).end(1, [MANAGER, orphan])[0]


def test_of_another_user_nothing_is_taken_for_inherited() -> None:
    """Alice has one at 300 that was lowered to 0, and bob's are at 0."""
    table = begun(owner=at(OWNER, 300))
    domain = "user.slice/user-1001.slice"
    bobs = Seen(30, 700, 0, 1, BOB, 30, f"{domain}/session-2.scope")
    table.begin(2, Scope(BOB, domain, 800, 0, frozenset({(1, 1)})))
    assert table.cover(2, [bobs], -300) == [ScoreChange(30, 700, 0, -300)]
    assert table.end(2, [at(bobs, -300), child(11, 0)])[0] == [ScoreRaise(30, 700, 0)]


def test_the_last_task_gives_back() -> None:
    table = begun()
    table.begin(2, SCOPE)
    table.cover(2, [at(OWNER, -300)], -300)
    assert table.end(1, [at(OWNER, -300)]) == ([], {2})
    assert table.end(2, [at(OWNER, -300)]) == ([ScoreRaise(10, 100, 0)], set())


def test_a_child_with_a_task_of_its_own_keeps_it() -> None:
    table = begun()
    own = child(11, -300)
    table.begin(2, replace(SCOPE, since=700))
    assert table.cover(2, [own], -300) == []
    assert table.end(1, [at(OWNER, -300), own])[0] == [ScoreRaise(10, 100, 0)]
    assert table.end(2, [at(OWNER, 0), own])[0] == [ScoreRaise(11, 600, 0)]


def test_what_ends_below_another_task_stays_as_it_is() -> None:
    table = begun()
    own = child(11, -300)
    table.begin(2, replace(SCOPE, since=700))
    table.cover(2, [own], -300)
    assert table.end(2, [at(OWNER, -300), own]) == ([], {1})
    assert ScoreRaise(11, 600, 0) in table.end(1, [at(OWNER, -300), own])[0]


def test_what_is_in_the_unit_of_another_task_stays_as_it_is() -> None:
    table = begun()
    unit = f"{DOMAIN}/user@1000.service/app.slice/u.service"
    inside = replace(child(12, -300, parent=MANAGER.pid), cgroup=f"{unit}/sub")
    assert table.end(1, [MANAGER, at(OWNER, -300), inside], {2: unit})[0] == [ScoreRaise(10, 100, 0)]


@given(st.integers(-1000, 1000), st.integers(-1000, 0))
def test_never_under_the_floor_and_never_up(score: int, amount: int) -> None:
    table = Protections()
    table.begin(1, SCOPE)
    for change in table.cover(1, [at(OWNER, score)], amount):
        assert change.before == score
        assert max(-900, score + amount) == change.after < score


def test_written_down_and_taken_up() -> None:
    table = begun()
    later = Protections()
    later.restore(1, table.scope(1), table.record(1))
    assert later.end(1, [at(OWNER, -300), child(12, -300)])[0] == [
        ScoreRaise(10, 100, 0),
        ScoreRaise(12, 600, 0),
    ]
    assert later.record(1) == table.record(1)


@pytest.mark.parametrize(
    ("cgroup", "domain"),
    [
        ("user.slice/user-7.slice/user@7.service/app.slice/x.scope", "user.slice/user-7.slice"),
        ("system.slice/a.service/sub", "system.slice/a.service"),
        ("system.slice/system-a.slice/a@1.service", "system.slice/system-a.slice/a@1.service"),
        ("", ""),
    ],
)
def test_domains(cgroup: str, domain: str) -> None:
    assert domain_of(cgroup) == domain


def test_a_login_has_0_and_a_service_what_its_unit_says() -> None:
    assert floor_of(DOMAIN, [100, 200]) == 0
    assert floor_of(DOMAIN, [100, -50]) == -50
    assert floor_of("system.slice/a.service", [300, 500]) == 300


def test_one_that_can_not_be_lowered_is_forgotten_unless_it_was() -> None:
    table = begun()
    table.give_up(OWNER.key)
    assert len(table) == 0
    table = begun()
    table.lowered(OWNER.key)
    table.give_up(OWNER.key)
    table.lowered((99, 1))
    table.give_up((99, 1))
    assert len(table) == 1


def test_a_ward_that_begins_again_while_it_ends_keeps_what_it_had() -> None:
    table = begun()
    table.lowered(OWNER.key)
    lowered = at(OWNER, -300)
    assert table.end(1, [lowered])[0] == [ScoreRaise(10, 100, 0)]
    table.begin(1, SCOPE)
    assert (1 in table, len(table)) == (True, 1)
    assert table.cover(1, [lowered], -300) == []
    assert table.end(1, [lowered])[0] == [ScoreRaise(10, 100, 0)]
