# SPDX-License-Identifier: Apache-2.0
"""Missing parts of keep-alive: each task shows the own ones, `Degraded` each kind once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.degraded import Degraded

OOM, OOMD, FREEZE, LOGOUT = "oom", "oomd", "freeze", "logout"
"""Spared by the kernel and by systemd-oomd when memory runs out, thawed when frozen, kept after logout."""
BY_RULE = ""
"""The sentence for tasks of root, system users and limited sessions: nothing is wrong with the host."""
PARTS = ("oom", "freeze", "logout", "restart")
"""The words of tasks for missing parts, in this order."""
_WORDS = {OOM: "oom", OOMD: "oom", FREEZE: "freeze", LOGOUT: "logout"}


def words(ward: ProtectedProcess) -> set[str]:
    """Return the words of a ward's tasks: `oom`, `freeze` and `logout`."""
    return {_WORDS[part] for part in ward.missing}


class Shortfalls:
    """Notes of missing parts at each ward; `changed` is called with the ids of the tasks."""

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
        """Note a missing part and the cost; None where nothing is missing, "" where nothing is to be said."""
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
        """Note a part with the reason in `Degraded` already, or the end of this reason."""
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
        """Tell the first sentence of a kind, or none, perhaps since the part `works` again."""
        said = [ward.missing[part] for ward in self._wards if ward.missing.get(part)]
        if said:
            self.degraded.set(f"keep-alive: {part}", said[0])
        elif works:
            self.degraded.set(f"keep-alive: {part}", None, quiet=True)
        else:
            self.degraded.drop(f"keep-alive: {part}")
