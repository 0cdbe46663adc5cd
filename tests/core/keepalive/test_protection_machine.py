# SPDX-License-Identifier: Apache-2.0
"""Processes of several users that fork, move, raise themselves and end, while tasks begin and end."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from missiond.core.keepalive.inherited_scores import Key, Scope, Seen, domain_of, floor_of
from missiond.core.keepalive.oom_ledger import Protections, ScoreChange, ScoreRaise
from standins.examples import examples

AMOUNT = -300
USERS = (1000, 1001)
INIT = 1


@dataclass
class Process:
    """One of the model; `own` is what it would have without us, and `lowest` what its user may set."""

    pid: int
    start: int
    parent: int
    uid: int
    session: int
    cgroup: str
    score: int
    lowest: int
    own: int
    base: int
    tainted: bool = False
    alive: bool = True
    reaps: bool = False

    @property
    def seen(self) -> Seen:
        return Seen(self.pid, self.start, self.score, self.parent, self.uid, self.session, self.cgroup)

    @property
    def key(self) -> Key:
        return self.pid, self.start


def slice_of(uid: int) -> str:
    return f"user.slice/user-{uid}.slice"


class Hosts(RuleBasedStateMachine):
    """The kernel's rules, and what the agent does with what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.all: dict[int, Process] = {}
        self.table = Protections()
        self.wards: dict[int, Process] = {}
        self.next = 1
        self._add(0, 0, "init.scope", 0)
        self.managers = {}
        for uid in USERS:
            manager = self._add(INIT, uid, f"{slice_of(uid)}/user@{uid}.service/init.scope", 100)
            manager.reaps = True
            self.managers[uid] = manager

    def _add(self, parent: int, uid: int, cgroup: str, score: int) -> Process:
        self.now += 1
        pid = len(self.all) + 1
        made = Process(pid, self.now, parent, uid, pid, cgroup, score, score, score, score)
        self.all[pid] = made
        return made

    def _living(self, *, people: bool = True) -> list[Process]:
        reapers = {INIT, *(manager.pid for manager in self.managers.values())}
        return [each for each in self.all.values() if each.alive and not (people and each.pid in reapers)]

    def _pick(self, number: int) -> Process | None:
        living = self._living()
        return living[number % len(living)] if living else None

    @rule(user=st.sampled_from(USERS), score=st.sampled_from([None, 100, 200]))
    def starts(self, user: int, score: int | None) -> None:
        """A login has 0; what a manager starts has 100 or 200."""
        if score is None:
            self._add(INIT, user, f"{slice_of(user)}/session-{self.now}.scope", 0)
        else:
            made = self._add(self.managers[user].pid, user, f"{slice_of(user)}/u{self.now}.service", score)
            made.lowest = 100

    @rule(number=st.integers(0, 50), own_session=st.booleans())
    def forks(self, number: int, own_session: bool) -> None:
        if parent := self._pick(number):
            self._fork(parent, own_session=own_session)

    def _fork(self, parent: Process, *, own_session: bool = False) -> None:
        made = self._add(parent.pid, parent.uid, parent.cgroup, parent.score)
        made.session = made.pid if own_session else parent.session
        made.lowest, made.own, made.base, made.tainted = parent.lowest, parent.own, parent.own, parent.tainted

    @rule(number=st.integers(0, 50), where=st.integers(0, 2))
    def moves(self, number: int, where: int) -> None:
        if process := self._pick(number):
            process.cgroup = f"{slice_of(process.uid)}/user@{process.uid}.service/{where}.scope"

    @rule(number=st.integers(0, 50), up=st.sampled_from([1, 33, 151]))
    def nudges(self, number: int, up: int) -> None:
        """What was lowered raises itself, to what nobody has by itself."""
        process = self._pick(number)
        if process is not None and process.tainted:
            process.score += up
            process.own = max(process.base, process.score)

    @rule(number=st.integers(0, 50), score=st.sampled_from([350, 500]))
    def raises_itself(self, number: int, score: int) -> None:
        process = self._pick(number)
        if process is not None and not process.tainted and process.score < score:
            process.score = process.own = process.base = score

    @rule(number=st.integers(0, 50))
    def ends(self, number: int) -> None:
        if process := self._pick(number):
            process.alive = False
            heir = self.all[process.parent]
            while not heir.alive or not (heir.reaps or heir.pid == INIT):
                heir = self.all[heir.parent]
            for each in self._living():
                if each.parent == process.pid:
                    each.parent = heir.pid

    @rule(number=st.integers(0, 50))
    def task_begins(self, number: int) -> None:
        owner = self._pick(number)
        if owner is None or any(each is owner for each in self.wards.values()):
            return
        self.now += 1
        ward, self.next = self.next, self.next + 1
        domain = domain_of(owner.cgroup)
        terms = self.table.terms(owner.uid, domain)
        scores = [each.score for each in self._living(people=False) if each.uid == owner.uid]
        since, floor = terms or (self.now, floor_of(domain, scores))
        self.table.begin(ward, Scope(owner.uid, domain, since, floor, frozenset(self._above(owner))))
        for _ in range(5):
            changes = self.table.cover(ward, self._tree(owner), AMOUNT)
            for change in changes:
                self._carry_out(change, owner.uid)
            if not changes:
                break
        self.wards[ward] = owner

    @rule(number=st.integers(0, 50), forks=st.integers(0, 50))
    def task_ends(self, number: int, forks: int) -> None:
        """Something forks between the first look and what is done then."""
        if not self.wards:
            return
        ward = sorted(self.wards)[number % len(self.wards)]
        owner = self.wards.pop(ward)
        for look in range(5):
            raises, _ = self.table.end(ward, [each.seen for each in self._living(people=False)])
            if not raises:
                break
            if look == 0 and (process := self._pick(forks)) is not None:
                self._fork(process)
            for each in raises:
                self._carry_out(each, owner.uid)
        self.table.forget(ward)

    @rule()
    def agent_is_started_again(self) -> None:
        later = Protections()
        for ward in self.wards:
            later.restore(ward, self.table.scope(ward), self.table.record(ward))
        self.table = later

    def _above(self, process: Process) -> list[Key]:
        above = []
        while process.parent:
            process = self.all[process.parent]
            above.append(process.key)
        return above

    def _tree(self, owner: Process) -> list[Seen]:
        if not owner.alive:
            return []
        tree = [owner]
        for each in tree:
            tree += [other for other in self._living() if other.parent == each.pid]
        return [each.seen for each in (*tree, *(self.all[pid] for pid, _ in self._above(owner)))][: len(tree)]

    def _carry_out(self, change: ScoreChange | ScoreRaise, uid: int) -> None:
        process = self.all[change.pid]
        assert process.uid == uid, "a task of one user's changes another's"
        if not process.alive:
            return
        if isinstance(change, ScoreChange):
            if process.score == change.before:
                process.score = process.lowest = change.after
                process.tainted = True
        else:
            process.score, process.lowest = max(process.score, change.least), change.least
            process.tainted = False

    @invariant()
    def nothing_is_lowered_by_more_than_the_amount(self) -> None:
        for process in self._living():
            assert process.score >= process.own + AMOUNT, process

    @invariant()
    def without_tasks_everybody_has_at_least_what_they_had(self) -> None:
        busy = {owner.uid for owner in self.wards.values()}
        for process in self._living():
            if process.uid not in busy:
                assert process.score >= process.own, process
                assert process.lowest >= 0, process

    @invariant()
    def of_others_nothing_is_changed(self) -> None:
        for uid in USERS:
            if all(owner.uid != uid for owner in self.wards.values()):
                assert not any(each.tainted for each in self._living() if each.uid == uid)


def test_whatever_processes_do_scores_are_given_back() -> None:
    run_state_machine_as_test(Hosts, settings=settings(max_examples=examples(100), stateful_step_count=30))


def test_a_child_that_left_its_session_and_raised_itself_to_what_logins_have() -> None:
    """Its user's manager has more, and never started anything with less."""
    hosts = Hosts()
    login, service, child = 0, 1, 2
    hosts.starts(USERS[0], None)
    hosts.starts(USERS[0], 200)
    hosts.task_begins(service)
    hosts.forks(service, own_session=True)
    for up in (33, 33, 33, 1):
        hosts.nudges(child, up)
    assert hosts._living()[child].score == hosts._living()[login].score == 0
    hosts.ends(service)
    hosts.task_ends(0, login)
    hosts.without_tasks_everybody_has_at_least_what_they_had()
