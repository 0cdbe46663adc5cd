# SPDX-License-Identifier: Apache-2.0
"""Peer units that really talk TLS over loopback, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from missiond.bus.variants import variant
from missiond.core.link.interfaces import Reply as Outcome
from missiond.core.link.values import Values
from missiond.core.missions.missions import Row
from missiond.core.sync.events import Reply
from missiond.core.sync.session_config import VERSIONS, Timing
from missiond.errors import AgentError, MissionNotFound
from missiond.peers.agent.feed import from_bus
from missiond.peers.agent.notifier import AgentNotifier
from missiond.peers.device import Device, PeerRow
from missiond.peers.link import Link
from missiond.peers.links import Links
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.make_identity import make, store
from missiond.peers.service import Peers1
from missiond.peers.unit import PeerUnit, PeerUnitOptions


def row(mission: int, label: str = "editor", tag: int = 0) -> Row:
    """A mission, for a list."""
    return mission, label, "", "org.example.Editor", 4000 + mission, 1000, "running", False, False, tag, 1


HOLD = AgentError("not yet")


class Heard:
    """What one unit has told, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.snapshots = False
        self.answer: AgentError | None = None
        """What letters are answered with; HOLD for nothing yet."""
        self.replies: list[Outcome] = []
        """Answers to letters that are still to be given."""
        self._news = asyncio.Event()

    def note(self, *event: Any) -> None:
        self.events.append(event)
        self.stir()

    def stir(self) -> None:
        """Something may be different now."""
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until it is so, looking again after each event."""
        while not (found := condition()):
            self._news.clear()
            await self._news.wait()
        return found

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """All events of one kind."""
        return [event[1:] for event in self.events if event[0] == kind]

    async def until_link(self, device_id: str, times: int = 1) -> None:
        """Wait for so many links to a device, one after the other."""
        await self.until(lambda: len([e for e in self.of("link up") if e[0] == device_id]) >= times)

    # --- as an AgentNotifier

    missing: ClassVar[list[str]] = []

    def follow_handovers(self, name: str, left: Callable[[], None]) -> None:
        pass

    def link_up(self, device: Device, *, handovers: bool) -> None:
        self.note("link up", device.device_id, handovers)

    def link_down(self, device: Device) -> None:
        self.note("link down", device.device_id)

    def handover(self, device: Device, transfer: str, step: str, body: str, reply: Outcome) -> None:
        self.replies.append(reply)
        self.note("letter", device.device_id, transfer, step, body)
        if self.answer is not HOLD:
            self.replies.pop()(self.answer)

    def state_progress(self, device: Device, transfer: str, done: int, size: int, *, sending: bool) -> None:
        self.note("sent" if sending else "kept", transfer, done, size)

    def state_complete(self, device: Device, transfer: str) -> None:
        self.note("complete", device.device_id, transfer)

    def state_failed(self, device: Device, transfer: str, error: AgentError) -> None:
        self.note("failed", transfer, error.text)

    def lacks(self, what: str, sentence: str | None) -> None:
        self.note("lacks", what, sentence)

    def peer_changed(self, device: Device) -> None:
        self.note("changed", device.device_id, device.state)

    def details_changed(self, device: Device) -> None:
        self.note("details", device.device_id, *device.details)

    def peer_gone(self, device_id: str) -> None:
        self.note("gone", device_id)

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        self.note("requested", device_id, name, code)

    def net_disconnect(self, device: Device) -> None:
        self.note("disconnected", device.device_id)

    def refused(self, device: Device) -> None:
        self.note("refused", device.device_id, device.refusal)

    def list_changed(self, device: Device) -> None:
        self.note("list", device.device_id)

    def snapshot_changed(self, device: Device, mission: int) -> None:
        self.note("snapshot", device.device_id, mission)

    def snapshots_wanted(self, *, on: bool) -> None:
        self.snapshots = on
        self.note("wanted", on)

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        if mission == 99:
            reply(MissionNotFound("there is no mission 99"))
        else:
            reply({"mission-id": ("u", mission), "what": ("s", what)})


class Commands:
    """The methods of Peers1 as the bus calls them, but for its types: plain values go in and come out."""

    sender = ""

    def __init__(self, unit: PeerUnit, heard: Heard) -> None:
        self._unit = unit
        self._service = Peers1(unit, cast(AgentNotifier, heard))

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._service, name), self)

    @staticmethod
    def lend_fd(fd: int) -> int:
        """Return the descriptor of a call, which is the argument itself here."""
        return fd

    @property
    def local_name(self) -> str:
        """A property."""
        return str(self._service.properties()["LocalDeviceName"])

    def list_peers(self) -> list[PeerRow]:
        return self._service.list_peers(self)  # type: ignore[arg-type]

    async def request_pairing(self, device_id: str) -> str:
        return await self._service.request_pairing(self, device_id)  # type: ignore[arg-type]

    def trust_device(self, device_id: str, options: dict[str, Any]) -> None:
        kinds = {"name": "s", "address": "s", "permissions": "as"}
        given = {name: variant(kinds[name], value) for name, value in options.items()}
        self._service.trust_device(self, device_id, given)  # type: ignore[arg-type]

    async def mission_info(self, device_id: str, mission: int) -> Values:
        return from_bus(await self._service.mission_info(self, device_id, mission))  # type: ignore[arg-type]

    async def mission_snapshot(self, device_id: str, mission: int) -> Values:
        return from_bus(await self._service.mission_snapshot(self, device_id, mission))  # type: ignore[arg-type]


class Place:
    """A host: a state directory, and perhaps a unit that runs."""

    def __init__(self, directory: Path, name: str, **options: Any) -> None:
        self.directory = directory / name
        self.directory.mkdir()
        store(self.directory, make())
        self.name = name
        self.options: dict[str, Any] = {"hosts": ("127.0.0.1",), "port": 0, "pace": 0.05} | options
        self.heard = Heard()
        self._unit: PeerUnit | None = None

    @property
    def unit(self) -> PeerUnit:
        """The one that runs."""
        assert self._unit is not None
        return self._unit

    @property
    def commands(self) -> Commands:
        """What it can be told."""
        return Commands(self.unit, self.heard)

    @property
    def id(self) -> str:
        """Of the device."""
        return self.unit.identity.device_id

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.unit.port}"

    def start(self) -> None:
        """Run a unit; after the first time on the port that it had."""
        self._unit = PeerUnit(
            PeerUnitOptions(self.directory, self.name, **self.options), cast(AgentNotifier, self.heard)
        )
        self._unit.complaints.report = self._complain  # type: ignore[method-assign]
        self._unit.links.closed = self._link_closed  # type: ignore[method-assign]
        self._unit.start()
        self.options["port"] = self._unit.port

    def _complain(self, who: str, what: str) -> None:
        PeerLogLimiter.report(self.unit.complaints, who, what)
        self.heard.note("complaint", who, what)

    def _link_closed(self, link: Link, reason: str, *, broken: bool) -> None:
        Links.closed(self.unit.links, link, reason, broken=broken)
        self.heard.stir()

    async def stop(self) -> None:
        """End it."""
        if self._unit is not None:
            await self._unit.close()
        self._unit = None

    def device(self, other: Place | str) -> Device:
        """What is known of another."""
        found = self.unit.devices.get(other if isinstance(other, str) else other.id)
        assert found is not None
        return found

    def discover(self, *others: Place) -> None:
        """Let discovery find them."""
        for other in others:
            self.unit.found(other.id, "test", ["127.0.0.1"], other.unit.port)

    async def until_connected(self, other: Place) -> None:
        """Wait for a link on which both have accepted each other."""
        await self.heard.until(lambda: self.device(other).connected)

    async def until_lists(self, other: Place, rows: list[Row]) -> None:
        """Wait until exactly this is known of another's missions."""
        view = self.device(other).view
        await self.heard.until(lambda: view.complete and view.rows() == rows)


@asynccontextmanager
async def places(directory: Path, *names: str, **options: Any) -> AsyncIterator[list[Place]]:
    """Several hosts, in the order of their device ids so that tests can rely on it."""
    made = [Place(directory, name, **options) for name in names]
    try:
        for place in made:
            place.start()
        yield sorted(made, key=lambda place: place.id)
    finally:
        for place in made:
            await place.stop()
        await settle()


async def settle() -> None:
    """Let what was closed end: asyncio does that in later turns."""
    for _ in range(20):
        await asyncio.sleep(0)


def trust(one: Place, other: Place, *, address: bool = True, **options: Any) -> None:
    """Let one trust the other, by its id and perhaps its address."""
    one.commands.trust_device(other.id, {"address": other.address, **options} if address else options)


QUICK = Timing(batch=20, idle=60_000)
__all__ = ["HOLD", "QUICK", "VERSIONS", "Heard", "Place", "places", "row", "settle", "trust"]
