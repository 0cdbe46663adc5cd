# SPDX-License-Identifier: Apache-2.0
"""oom_score_adj (proc(5)) of owners and all processes of theirs: lowered, and given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from missiond.core.keepalive.inherited_scores import (
    Key,
    Scope,
    Seen,
    domain_of,
    first_owners,
    floor_of,
    is_of,
)
from missiond.core.keepalive.oom_ledger import Protections, ScoreChange
from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.daemon.helper_client import HelperClient
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.shortfalls import BY_RULE, OOM, Shortfalls
from missiond.helper.requests import Adjust
from missiond.helper.requests import Raise as RaiseScore
from missiond.host.processes.tree import (
    Member,
    around,
    look,
    looked,
    of_user,
    ticks_now,
    tree_of,
    unit_cgroup,
    with_ancestors,
)

_LOGGER = logging.getLogger(__name__)
_ROUNDS = 5
"""A process that forks between look and change leaves a child that is not seen to: look again."""

AGAIN = 1.0
"""Seconds until the next look for new forks, after forks in each of these rounds."""

_GONE = ("ESRCH", "ENOENT")
_SENTENCE = "continuous tasks are not all spared when memory runs out: oom_score_adj stays as it is ({})"


class OomScores:
    """Changes of oom_score_adj, each recorded on disk first: a later run can undo the change.

    `later` is called with a ward that is to be given back once more.
    """

    def __init__(
        self,
        privileges: HelperClient,
        files: WardFiles,
        protections: Protections,
        shortfalls: Shortfalls,
        amount: int,
        later: Callable[[ProtectedProcess], None],
    ) -> None:
        self.amount = amount
        self._privileges = privileges
        self._files = files
        self._protections = protections
        self._shortfalls = shortfalls
        self._later = later
        self._timers: dict[ProtectedProcess, asyncio.TimerHandle] = {}

    async def lower(self, ward: ProtectedProcess) -> bool:
        """Lower the processes of a ward; false where the helper is lost, or no file can be written."""
        refused: dict[Key, str] = {}
        if self.amount and not await self._lower(ward, refused):
            return False
        self._tell(ward, refused)
        return True

    async def _lower(self, ward: ProtectedProcess, refused: dict[Key, str]) -> bool:
        if not await self._pay(ward):
            return False
        self._protections.begin(ward.number, self._scope(ward))
        for _ in range(_ROUNDS):
            tree = _seen(tree_of(ward.pid, ward.start_ticks))
            # Root's tasks may be for whom they like.
            tree = [each for each in tree if ward.uid == 0 or is_of(ward.uid, each.uid, each.cgroup)]
            tree = [each for each in tree if each.key not in refused]
            changes = self._protections.cover(ward.number, tree, self.amount)
            # First the file, then the change: whatever happens in between can be undone.
            if not self._files.write(ward):
                self._never_asked(changes)
                return False
            if not changes:
                return True
            denied = await self._change(changes)
            if denied is None:
                self._files.write(ward)
                return False
            refused |= denied
        return True

    def _tell(self, ward: ProtectedProcess, refused: dict[Key, str]) -> None:
        """Say what could not be lowered; of which processes only --debug tells, since each task has some."""
        new = [f"{key[0]} ({why})" for key, why in sorted(refused.items()) if key not in ward.refused]
        ward.refused = set(refused)
        if new:
            _LOGGER.debug("oom_score_adj stays as it is for process %s", ", ".join(new[:10]))
        why = set(refused.values())
        sentence = None if not why else BY_RULE if why == {"EPERM"} else _SENTENCE.format(*sorted(why))
        self._shortfalls.note(ward, OOM, sentence)

    async def give_back(
        self,
        ward: ProtectedProcess,
        others: Iterable[ProtectedProcess],
        groups: Iterable[str],
        alike: Iterable[ProtectedProcess] = (),
    ) -> bool:
        """Raise all processes again but the other wards'; false where a part must be done later.

        `groups` are cgroups beside its own in which processes of the ward may be. `alike` are further wards
        to be given back that were in the same cgroup: for all of them one look around does.
        """
        if ward.number not in self._protections:
            return await self._pay(ward)
        others = [each for each in others if each.number in self._protections]
        ending = [ward, *(each for each in alike if each is not ward and each.number in self._protections)]
        found: dict[int, Member] = {}
        looked_at = 0
        for _ in range(_ROUNDS):
            since, looked_at = looked_at, ticks_now()
            found |= self._found(ending, groups, since)
            seen = _seen(with_ancestors(found.values()))
            fresh = [self._end(each, seen, others) for each in ending]
            paid = [await self._pay(each) for each in ending]
            if not all(paid):
                return False
            if not any(fresh):
                for each in ending:
                    self._protections.forget(each.number)
                return True
        if ward not in self._timers:
            self._timers[ward] = asyncio.get_running_loop().call_later(AGAIN, self._over, ward)
        return False

    def close(self) -> None:
        """Look again for nothing."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _over(self, ward: ProtectedProcess) -> None:
        del self._timers[ward]
        self._later(ward)

    def _scope(self, ward: ProtectedProcess) -> Scope:
        """Where the ward's heirs may be; what is known of others there tells more than what is there now."""
        if ward.number in self._protections:
            return self._protections.scope(ward.number)
        domain = domain_of(ward.cgroup)
        above = frozenset(each.key for each in _seen(with_ancestors(looked([ward.pid]))))
        terms = self._protections.terms(ward.uid, domain)
        if terms is None:
            there = [each.score for each in _of_person(ward.uid) if domain_of(each.cgroup) == domain]
            terms = ward.since, floor_of(domain, there)
        owners = first_owners(ward.key, ward.since, terms[0])
        return Scope(ward.uid, domain, *terms, above - {ward.key}, owners)

    def _found(
        self, wards: Iterable[ProtectedProcess], groups: Iterable[str], since: int
    ) -> dict[int, Member]:
        """All that may belong to them and started since (clock ticks after boot), by pid."""
        wards = list(wards)
        found = [each for uid in {ward.uid for ward in wards} for each in _of_person(uid, since)]
        if not since:
            found += [each for ward in wards for each in tree_of(ward.pid, ward.start_ticks)]
            for cgroup in {unit_cgroup(ward.cgroup) or ward.cgroup for ward in wards}.union(groups):
                found += around(cgroup)
        return {each.pid: each for each in found}

    def _end(self, ward: ProtectedProcess, found: list[Seen], others: list[ProtectedProcess]) -> bool:
        """Add to its debt; whether anything."""
        units = {each.number: unit_cgroup(each.cgroup) for each in others}
        raises, touched = self._protections.end(
            ward.number, found, {number: unit for number, unit in units.items() if unit is not None}
        )
        ward.debt += raises
        for other in others:
            if other.number in touched:
                self._files.write(other)
        return bool(raises)

    async def _pay(self, ward: ProtectedProcess) -> bool:
        if ward.debt:
            # most have ended with their owner; the helper looks again
            ward.debt = [each for each in ward.debt if _lives(each.key)]
        while ward.debt:
            answers = await self._privileges.ask([RaiseScore(*each.key, each.least) for each in ward.debt])
            del ward.debt[: len(answers.known)]
            if not answers.complete:
                ward.debt = [each for each in ward.debt if _lives(each.key)]
                self._files.write(ward)
                return not ward.debt
        return True

    async def _change(self, changes: list[ScoreChange]) -> dict[Key, str] | None:
        """Have it done; which are refused and why, None where the helper can't be reached."""
        answers = await self._privileges.ask(
            [Adjust(each.pid, each.start_ticks, each.before, each.after) for each in changes]
        )
        refused: dict[Key, str] = {}
        for change, answer in zip(changes, answers.known, strict=False):
            if not answer:
                self._protections.lowered(change.key)
            elif answer != "EAGAIN":  # it has raised itself meanwhile: look again
                self._protections.give_up(change.key)
                if answer not in _GONE:
                    refused[change.key] = answer
        if not answers.complete:
            self._never_asked(changes[len(answers.known) + answers.unsure :])
            return None
        return refused

    def _never_asked(self, changes: Iterable[ScoreChange]) -> None:
        """Forget changes never asked of the helper."""
        for change in changes:
            self._protections.give_up(change.key)


def _of_person(uid: int, since: int = 0) -> list[Member]:
    """All of a user's; those of root are never touched."""
    return of_user(uid, since) if uid else []


def _seen(members: Iterable[Member]) -> list[Seen]:
    return [
        Seen(each.pid, each.start_ticks, each.score, each.parent, each.uid, each.session, each.cgroup)
        for each in members
    ]


def _lives(key: Key) -> bool:
    try:
        return look(key[0]).start_ticks == key[1]
    except ProcessLookupError:
        return False
    except (OSError, ValueError):  # not to be told now: the helper looks again
        return True
