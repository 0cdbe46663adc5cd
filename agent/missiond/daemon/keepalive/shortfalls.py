# SPDX-License-Identifier: Apache-2.0
"""Parts of keep-alive that could not be done: each task shows its own, `Degraded` each kind once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.degraded import Degraded

OOM, OOMD, FREEZE, LOGOUT = "oom", "oomd", "freeze", "logout"
"""Spared by the kernel and by systemd-oomd when memory runs out, thawed when frozen, kept after logout."""
BY_RULE = ""
"""What root and system users have is left alone, and sessions with limits: nothing is wrong with the host."""
PARTS = ("oom", "freeze", "logout", "restart")
"""The words that tasks show, in this order."""
_WORDS = {OOM: "oom", OOMD: "oom", FREEZE: "freeze", LOGOUT: "logout"}


def words(ward: ProtectedProcess) -> set[str]:
    """What the tasks of a ward show: `oom`, `freeze` and `logout`."""
    return {_WORDS[part] for part in ward.missing}


class Shortfalls:
    """Notes what is missing at each ward; `changed` is called with the ids of its tasks."""

    def __init__(
        self,
        wards: Iterable[ProtectedProcess],
        degraded: Degraded,
        changed: Callable[[Iterable[int]], None] = lambda _tasks: None,
    ) -> None:
        self._changed = changed
        self._wards = wards
        self.degraded = degraded

    def note(self, ward: ProtectedProcess, part: str, sentence: str | None) -> None:
        """Say what is missing and what that costs; None where it is done, "" where nothing is to be said."""
        before = ward.missing.get(part)
        if before == sentence or not ward.tasks:
            return
        if sentence is None:
            del ward.missing[part]
        else:
            ward.missing[part] = sentence
        self.review(part, works=sentence is None)
        if (before is None) != (sentence is None):
            self._changed(ward.tasks)

    def lacks(self, ward: ProtectedProcess, part: str, *, missing: bool) -> None:
        """Note a part for which `Degraded` has the reason already, or that this reason is gone."""
        if missing:
            self.note(ward, part, ward.missing.get(part, ""))
        elif ward.missing.get(part) == "":
            self.note(ward, part, None)

    def drop(self, ward: ProtectedProcess) -> None:
        """Nobody needs the ward any more."""
        for part in list(ward.missing):
            del ward.missing[part]
            self.review(part)

    def review(self, part: str, *, works: bool = False) -> None:
        """Tell the first sentence that there is of a kind, or none, perhaps since it `works` again."""
        said = [ward.missing[part] for ward in self._wards if ward.missing.get(part)]
        if said:
            self.degraded.set(f"keep-alive: {part}", said[0])
        elif works:
            self.degraded.set(f"keep-alive: {part}", None, quiet=True)
        else:
            self.degraded.drop(f"keep-alive: {part}")
