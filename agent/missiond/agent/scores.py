# SPDX-License-Identifier: Apache-2.0
"""oom_score_adj (proc(5)) of owners and what belongs to them: lowered, and given back."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from missiond.agent.privileges import Privileges
from missiond.agent.ward_files import WardFiles
from missiond.core.protection import Change, Key, Protections, Seen
from missiond.core.ward import Ward
from missiond.helper.requests import Adjust
from missiond.host.process_tree import Member, around, look, tree_of, unit_cgroup

_LOGGER = logging.getLogger(__name__)
_ROUNDS = 5
"""A process that forks between look and change leaves a child that is not lowered: look again."""

_GONE = ("ESRCH", "ENOENT")


class Scores:
    """What is written down is changed, what is changed is written down, until it is as it was."""

    def __init__(
        self, privileges: Privileges, files: WardFiles, protections: Protections, amount: int
    ) -> None:
        self.amount = amount
        self._privileges = privileges
        self._files = files
        self._protections = protections

    async def lower(self, ward: Ward) -> bool:
        """Lower those of a ward; false where the helper is lost, or nothing can be written down."""
        if not self.amount:
            return True
        if not await self._pay(ward):
            return False
        self._protections.begin(ward.number, ward.since)
        refused: set[Key] = set()
        for _ in range(_ROUNDS):
            tree = _seen(tree_of(ward.pid, ward.start_ticks))
            tree = [seen for seen in tree if seen.key not in refused]
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

    async def give_back(
        self, ward: Ward, others: Iterable[Ward], groups: Iterable[str], alike: Iterable[Ward] = ()
    ) -> bool:
        """Change back what no other ward needs; false where that must be done later.

        `groups` are cgroups beside its own in which processes of the ward may be. `alike` are further wards
        to be given back that were in the same cgroup: for all of them one look around does.
        """
        if ward.number in self._protections:
            for other in others:
                if other.number in self._protections and _near(other.cgroup, ward.cgroup):
                    tree = _seen(tree_of(other.pid, other.start_ticks))
                    self._protections.cover(other.number, tree, 0)
                    self._files.write(other)
            found = tree_of(ward.pid, ward.start_ticks)
            for cgroup in (unit_cgroup(ward.cgroup) or ward.cgroup, *groups):
                found += around(cgroup)
            ward.debt += self._protections.end(ward.number, _seen(found))
            alike = [each for each in alike if each is not ward and each.number in self._protections]
            for each in alike:
                own = tree_of(each.pid, each.start_ticks)
                each.debt += self._protections.end(each.number, _seen([*own, *found]))
            for each in alike:
                await self._pay(each)  # what fails is tried again when it is their turn
        return await self._pay(ward)

    async def _pay(self, ward: Ward) -> bool:
        if ward.debt:
            # most have ended with their owner; the helper looks again
            ward.debt = [change for change in ward.debt if _lives(change)]
        while ward.debt:
            answers = await self._privileges.ask([_request(change) for change in ward.debt])
            del ward.debt[: len(answers.known)]
            if not answers.complete:
                ward.debt = [change for change in ward.debt if _lives(change)]
                self._files.write(ward)
                return not ward.debt
        return True

    async def _change(self, changes: list[Change]) -> set[Key] | None:
        """Have it done; which are refused, None where the helper can't be reached."""
        answers = await self._privileges.ask([_request(change) for change in changes])
        refused: dict[Key, str] = {}
        for change, answer in zip(changes, answers.known, strict=False):
            if answer:
                self._protections.give_up(change.key)
            if answer not in ("", "EAGAIN", *_GONE):
                refused[change.key] = f"{change.pid} ({answer})"
        if refused:
            listed = ", ".join(sorted(refused.values())[:10])
            _LOGGER.info("oom_score_adj stays as it is for process %s", listed)
        if not answers.complete:
            self._never_asked(changes[len(answers.known) + answers.unsure :])
            return None
        return set(refused)

    def _never_asked(self, changes: Iterable[Change]) -> None:
        """What was never asked was never changed."""
        for change in changes:
            self._protections.give_up(change.key)


def _request(change: Change) -> Adjust:
    return Adjust(change.pid, change.start_ticks, change.before, change.after)


def _seen(members: list[Member]) -> list[Seen]:
    return [Seen(member.pid, member.start_ticks, member.score) for member in members]


def _lives(change: Change) -> bool:
    try:
        return look(change.pid).start_ticks == change.start_ticks
    except ProcessLookupError:
        return False
    except (OSError, ValueError):  # not to be told now: the helper looks again
        return True


def _near(one: str, other: str) -> bool:
    """Whether one cgroup is the other, or in it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
