# SPDX-License-Identifier: Apache-2.0
"""Everything on the bus that is about other hosts, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from missiond.bus.interface import Interface
from missiond.bus.server import Server
from missiond.daemon.assembly import Assembly
from missiond.daemon.authority import Authority
from missiond.daemon.peering.peers_client import KnownPeer, PeersClient
from missiond.service.continuations import Continuations
from missiond.service.handover_assembly import HandoverAssembly
from missiond.service.peers import PeersInterface
from missiond.service.remote_missions import RemoteMissions
from missiond.service.sharing import SharingService


class OtherHosts:
    """The PeerEvents."""

    def __init__(
        self,
        server: Server,
        app: Assembly,
        authority: Authority,
        touched: Callable[[], None],
        unit: PeersClient,
        handing: HandoverAssembly,
    ) -> None:
        self._handing = handing
        self._unit = unit
        self._touched = touched
        watch = app.mission_watch
        self._peers = PeersInterface(server, self._unit, authority, handing.permitted)
        self.missions = RemoteMissions(server, self._unit, authority, watch.peer_listeners)
        self.continuing = Continuations(
            handing.handovers,
            watch.missions,
            handing.continuations,
            self._unit,
            authority,
            handing.requests,
            handing.whose,
        )
        self.interfaces: tuple[Interface, ...] = (
            self._peers,
            SharingService(server, watch.sharing, watch.snapshots, handing.handovers),
        )

    async def start(self, is_there: Callable[[str], Awaitable[bool]]) -> None:
        """Go on with an earlier run's listeners, and follow the peer unit; the bus name is ours now."""
        await self.missions.load(is_there)
        await self._handing.start()
        await self._unit.start(self)
        await self._handing.client.start(self._handing.handovers)
        self.missions.finish()

    @property
    def text(self) -> str:
        """How other hosts are, in a few words."""
        return self._unit.text

    def close(self) -> None:
        """Follow it no longer."""
        self._unit.close()
        self._handing.close()

    # --- what the peer unit tells

    def turned(self) -> None:
        """The unit came or went."""
        self._peers.turned()
        self._touched()

    def renamed(self) -> None:
        """Take note that this host is called otherwise."""
        self._peers.renamed()

    def peer_changed(self, before: KnownPeer | None, now: KnownPeer) -> None:
        """A device is new, or different."""
        self._peers.changed(now)
        self.missions.peer_changed(before, now)
        self._touched()

    def details_changed(self, device_id: str) -> None:
        """What there is to say of a device beside its row is another."""
        self._peers.detailed(device_id)

    def peer_gone(self, peer: KnownPeer) -> None:
        """A device is not known any more."""
        self._peers.gone(peer)
        self._touched()

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Somebody there wants to pair."""
        self._peers.pairing_requested(device_id, name, code)

    def missions_changed(self, device_id: str) -> None:
        """What is known of a device's missions is different."""
        self.missions.missions_changed(device_id)

    def snapshot_changed(self, device_id: str, mission_id: int) -> None:
        """There is something new to see of one of its missions."""
        self.missions.snapshot_changed(device_id, mission_id)

    def disconnected(self, device_id: str, state: int) -> None:
        """A device that was connected is not any more."""
        self.missions.disconnected(device_id, state)
