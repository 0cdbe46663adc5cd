# SPDX-License-Identifier: Apache-2.0
"""The signals of continuations, for callers and for listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from missiond import audit, bus_names
from missiond.bus.server import Server
from missiond.bus.variants import variant
from missiond.core.handover.effects import ContinueState
from missiond.core.handover.record import Phase, Record, Role
from missiond.core.tasks.locks import printable
from missiond.daemon.handover.pending_continuations import PendingContinuations

_TEXT = 1024
_PHASE_WORDS = {
    "resolving": "looking for the mission",
    "offered": "asking the other host whether it can go on there",
    "asked": "asking the application for its state",
    "sending": "sending the state",
    "stopping": "ending it here",
    "committed": "starting it there",
    "restarting": "starting it here again",
    "stranded": "it could not be started here again",
    "pulling": "asking the other host for the mission",
    "checking": "looking whether it can go on here",
    "receiving": "receiving the state",
    "prepared": "waiting for the other host to end it",
    "started": "it goes on here",
    "failed": "it could not be started here",
}


class ContinuationSignals:
    """The HandoverEvents of Handovers on the bus; `listeners` returns the listeners of a user."""

    def __init__(
        self,
        server: Server,
        continuations: PendingContinuations,
        whose: Callable[[Record], int],
        listeners: Callable[[int], list[str]],
        number_here: Callable[[str], int],
        name_of: Callable[[str], str],
    ) -> None:
        """Tell of hand-overs by `server`.

        :param number_here: returns the number here of the mission started for a transfer, or 0.
        :param name_of: names a device for people; empty where no name is known.
        """
        self._server = server
        self._continuations = continuations
        self._whose = whose
        self._listeners = listeners
        self._number_here = number_here
        self._name_of = name_of

    def next_number(self) -> int:
        """Return a number for a continuation."""
        return self._continuations.next()

    def done(self, continuation: int, code: int, reason: str) -> None:
        """Send ContinueDone, once, after a last ContinueProgress with the reason of a failure."""
        waiting = self._continuations.who(continuation)
        if waiting is None:
            return
        word = "failed" if code else "done"
        self._progress(waiting.name, continuation, word, 0, 0, reason)
        self._emit(waiting.name, "ContinueDone", continuation, code)
        self._continuations.done(continuation)

    def progress(self, record: Record, done: int) -> None:
        """Send ContinueProgress."""
        waiting = self._continuations.who(record.continuation) if record.asked_here else None
        if waiting is None or record.phase.value not in _PHASE_WORDS:
            return
        words = _PHASE_WORDS[record.phase.value]
        if record.phase is Phase.COMMITTED and record.role is Role.TARGET:
            words = "starting it here"
        text = f"{words}: {record.reason}" if record.reason else words
        self._progress(waiting.name, record.continuation, record.phase.value, done, record.size, text)

    def installing(self, record: Record, percent: int) -> None:
        """Send ContinueProgress of an installation, in per cents."""
        waiting = self._continuations.who(record.continuation) if record.asked_here else None
        if waiting is not None:
            where = "there" if record.role is Role.SOURCE else "here"
            text = f"installing its program {where}"
            self._progress(waiting.name, record.continuation, "installing", percent, 100, text)

    def changed(self, state: ContinueState, record: Record) -> None:
        """Send ContinueStateChange, and at the end write a record for administrators."""
        if state is ContinueState.INACTIVE:
            self._record(record)
        info = hand_over_info(record)
        for name in self._listeners(self._whose(record)):
            self._emit(name, "ContinueStateChange", int(state), info)

    def _record(self, record: Record) -> None:
        """Write down that it came, went, or was refused."""
        uid, device = self._whose(record), record.peer
        name = self._name_of(device)
        app_id = printable(app_of(record), _TEXT)
        if record.result:
            known = None if uid < 0 else uid
            audit.mission_refused(device, name, known, app_id, printable(record.reason, _TEXT))
        elif record.role is Role.TARGET:
            audit.mission_came(device, name, uid, app_id, self._number_here(record.transfer))
        else:
            audit.mission_went(device, name, uid, app_id, record.mission)

    def _progress(self, name: str, continuation: int, phase: str, done: int, size: int, text: str) -> None:
        self._emit(name, "ContinueProgress", continuation, phase, done, size, printable(text, _TEXT))

    def _emit(self, destination: str, member: str, *arguments: object) -> None:
        self._server.emit(
            bus_names.MANAGER_PATH,
            bus_names.DISTRIBUTED_MISSION_MANAGER,
            member,
            *arguments,
            destination=destination,
        )


def app_of(record: Record) -> str:
    """Return the application of a hand-over, as asked for or as described; empty where neither is known."""
    return record.app_id or str(record.description.get("app_id", ""))


def hand_over_info(record: Record) -> dict[str, Any]:
    """Return the common members of ContinueStateChange and ListContinuations, as variants."""
    label = record.description.get("label", "")
    return {
        "transfer": variant("s", record.transfer),
        "role": variant("s", record.role.value),
        "device-id": variant("s", record.peer),
        "mission-id": variant("u", record.mission),
        "app-id": variant("s", app_of(record)),
        "label": variant("s", label if isinstance(label, str) else ""),
    }
