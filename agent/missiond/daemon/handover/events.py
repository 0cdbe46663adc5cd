# SPDX-License-Identifier: Apache-2.0
"""What the peer unit tells of hand-overs, and what happens to missions, told to the book."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from typing import Any

from missiond import audit
from missiond.core.handover.messages import MAX_REASON
from missiond.core.handover.record import Role
from missiond.core.link.checks import BadMessage
from missiond.core.missions.missions import Mission
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.handover.messages import HandoverLetter
from missiond.daemon.handover.outbox import BEGINS
from missiond.errors import InvalidParameter, PermissionDenied

_UNPERMITTED = (
    "this device may neither start programs here nor fetch missions from here; somebody has to give it the "
    "permission 'continue' on this host first"
)


class HandoverListener:
    """The CourierListener, and a MissionObserver."""

    def __init__(self, handovers: Handovers, permitted: Container[str]) -> None:
        """:param permitted: devices that may begin hand-overs, whatever the peer unit says."""
        self._handovers = handovers
        self._permitted = permitted
        self._tell = handovers.work.tell
        self.name_of: Callable[[str], str] = lambda _device: ""
        """Names devices, for people: whose words a reason is, and so where its "here" is."""

    async def received(self, letter: HandoverLetter) -> None:
        """Take a message of a peer; raises AgentError."""
        self._handovers.check_ready()
        may = letter.may_continue and letter.device_id in self._permitted
        if letter.step in BEGINS and not may:
            audit.mission_refused(letter.device_id, "", None, "", "it has no permission 'continue' here")
            raise PermissionDenied(_UNPERMITTED)
        try:
            body = json.loads(letter.body)
            if not isinstance(body, dict):
                raise BadMessage("not an object")
            body = self._in_its_words(letter.device_id, body)
            await self._handovers.received(letter.device_id, letter.transfer, letter.step, body)
        except (ValueError, RecursionError) as error:  # a BadMessage is a ValueError
            raise InvalidParameter(f"{letter.step!r:.40} of a hand-over: {error!s:.200}") from None
        await self._handovers.states.expected(letter.transfer)

    def _in_its_words(self, device_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Put before what a peer says to people who says it."""
        name = self.name_of(device_id)
        if not name:
            return body
        said = {key: body[key] for key in ("reason", "note") if isinstance(body.get(key), str) and body[key]}
        if any(len(text) > MAX_REASON for text in said.values()):
            return body  # which the book refuses
        return body | {key: f"{name}: {text}"[:MAX_REASON] for key, text in said.items()}

    def progress(self, _device_id: str, transfer: str, done: int, _size: int, *, sending: bool) -> None:
        """So many bytes of a state are there, or here."""
        if sending:
            self._tell(lambda book: book.state_sent(transfer, done))
        else:
            self._handovers.states.arrived(transfer, done)
            self._tell(lambda book: book.state_received(transfer, done))

    def state_complete(self, _device_id: str, transfer: str) -> None:
        """All of one is in its file."""
        self._handovers.states.complete(transfer)

    def state_failed(self, _device_id: str, transfer: str, reason: str) -> None:
        """One can't be written."""
        self._handovers.states.failed(transfer, reason)

    def link_up(self, device_id: str, *, handovers: bool) -> None:
        """There is a link."""
        self._handovers.link(device_id, up=handovers)

    def link_down(self, device_id: str) -> None:
        """There is none."""
        self._handovers.link(device_id, up=False)

    def added(self, mission: Mission) -> None:
        """Nothing to do."""

    def changed(self, mission: Mission, *properties: str) -> None:
        """Nothing to do."""

    def removed(self, mission: Mission) -> None:
        """One has ended; of one that is being stopped, whoever stops it tells."""
        flying = self._handovers.in_flight()
        leaving = {each.record.mission for each in flying if each.record.role is Role.SOURCE}
        if mission.id in leaving - self._handovers.stopping:
            self._tell(lambda book: book.mission_ended(mission.id))
