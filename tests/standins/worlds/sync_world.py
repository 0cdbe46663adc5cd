# SPDX-License-Identifier: Apache-2.0
"""Hosts with a network between them, and what must be true of them at any time and at rest."""

from __future__ import annotations

import functools
from collections import Counter
from itertools import combinations, permutations

from missiond.core.link.message_types import Message, Resync, SnapshotsMessage, Update
from missiond.core.link.values import Values
from missiond.core.sync.session import Session
from missiond.core.sync.session_config import Local
from missiond.errors import AgentError, DistributedServiceFailed
from standins.worlds.sync_host import Ear, Host, Known, Rows, device, only
from standins.worlds.sync_network import End, Wire

QUIET = 20_000
"""Deliveries after which a network that is still busy will always be."""


class World:
    def __init__(self, versions: dict[str, tuple[int, int]]) -> None:
        self.hosts = {name: Host(name, both) for name, both in versions.items()}
        self.pairs = [frozenset(pair) for pair in combinations(self.hosts, 2)]
        self.ways = list(permutations(self.hosts, 2))
        self.wires: dict[frozenset[str], Wire] = {}
        self.cut: set[frozenset[str]] = set()
        self.stalled: set[str] = set()
        """Hosts that read nothing."""
        self.said: Counter[str] = Counter()
        self.generations: dict[int, int] = {}
        """List id to how many lists there were before it."""
        self.history: dict[tuple[int, int], Rows] = {}
        """List id and seq to what the owner had then."""
        self.answers: list[list[Values | AgentError]] = []
        for host in self.hosts.values():
            host.known = {peer: Known() for peer in self.hosts if peer != host.name}
            self.publish(host)

    # What happens to a host.

    def publish(self, host: Host) -> None:
        list_id = (len(self.generations) + 1) * 0x9E3779B97F4A7C15 % (2**63 - 1) + 1
        self.generations[list_id] = len(self.generations)
        host.publish(list_id)
        self.note(host)

    def note(self, host: Host) -> None:
        """Remember what the owner has, and tell its sessions."""
        self.history[host.published.list_id, host.published.seq] = dict(host.rows)
        for session in list(host.sessions.values()):
            session.published_changed()

    def restart(self, host: Host, *, store: bool, views: bool) -> None:
        """Kill the peer unit and start it; without its store it knows of no wish."""
        for peer in host.known:
            self.reset(host.name, peer, {peer})
            host.sessions.pop(peer, None)
        for known in host.known.values():
            known.view.abandon()
            if not (store and views):
                known.view.clear(known.view.tag)
                known.forget()
            if not store:
                known.wish = None
                known.view.clear()
        self.publish(host)

    def sync(self, name: str, peer: str, tag: int, fix_conflict: bool) -> None:
        host = self.hosts[name]
        known = host.known[peer]
        if peer in host.sessions:
            try:
                host.sessions[peer].sync(tag, fix_conflict)
            except DistributedServiceFailed:
                assert host.versions != self.hosts[peer].versions
                return
        elif known.view.tag != tag:
            known.view.clear(tag)
        if known.wish is None or known.wish[0] != tag:
            known.forget()
        known.wish = (tag, fix_conflict)

    def stop(self, name: str, peer: str) -> None:
        host = self.hosts[name]
        if peer in host.sessions:
            host.sessions[peer].stop_sync()
        else:
            host.known[peer].view.clear()
        host.known[peer].wish = None
        host.known[peer].forget()

    def ask(self, name: str, peer: str, what: str, number: int) -> None:
        session = self.hosts[name].sessions.get(peer)
        if session is not None and session.up:
            answers: list[Values | AgentError] = []
            try:
                session.ask(what, number, answers.append)
            except DistributedServiceFailed:  # too many wait
                return
            self.answers.append(answers)

    # What happens to the network.

    def connect(self, a: str, b: str) -> None:
        pair = frozenset((a, b))
        old = self.wires.get(pair)
        if pair in self.cut or (old is not None and old.whole):
            return
        if old is not None:
            old.replace()
        ends = {a: End(), b: End()}
        ends[a].other, ends[b].other = ends[b], ends[a]
        self.wires[pair] = Wire(ends)
        for host, peer in ((a, b), (b, a)):
            ends[host].session = self.hosts[host].sessions[peer] = self._session(host, peer, ends[host])
        for end in ends.values():
            assert end.session is not None
            end.session.start()

    def _session(self, name: str, peer: str, end: End) -> Session:
        host, known = self.hosts[name], self.hosts[name].known[peer]
        ear = host.ears[peer] = Ear(host, peer)
        end.see = functools.partial(self._look, known)
        local = Local(device(name), name, "1", "test", host.versions)
        session = Session(
            local, host.published, host.clock, end.send, ear,
            device=device(peer), view=known.view, permitted=known.permitted,
        )  # fmt: skip
        if known.wish is not None:
            session.sync(*known.wish)
        session.want_snapshots(known.snapshots)
        return session

    def _look(self, known: Known, message: Message) -> None:
        """See what a host says to the peer that it knows so."""
        self.said[message.kind] += 1
        assert not isinstance(message, Resync), "a host that does all right has to be asked again"
        if isinstance(message, Update | SnapshotsMessage):
            assert known.permitted

    def reset(self, a: str, b: str, noticed_by: set[str]) -> None:
        wire = self.wires.get(frozenset((a, b)))
        if wire is not None:
            wire.reset(noticed_by)

    def deliver(self, to: str, sender: str, most: int = QUIET) -> int:
        pair = frozenset((to, sender))
        wire = self.wires.get(pair)
        if wire is None or pair in self.cut or to in self.stalled:
            return 0
        count = 0
        while count < most and wire.ends[to].deliver():
            count += 1
        self._sweep()
        return count

    def drain(self) -> None:
        """Let everything arrive."""
        total = 0
        while arrived := sum(self.deliver(to, sender) for to, sender in self.ways):
            total += arrived
            assert total < QUIET, "the network never rests"

    def pass_time(self, ms: int, names: set[str] | None = None) -> None:
        """Let time pass for all, or jump for some (a host that slept)."""
        for name, host in self.hosts.items():
            if names is None or name in names:
                host.clock.advance(ms)
                for session in list(host.sessions.values()):
                    self._ring(session, host)
        self._sweep()

    def _ring(self, session: Session, host: Host) -> None:
        for _ in range(50):
            due = session.next_deadline()
            if due is None or due > host.clock.now():
                return
            session.tick()
        raise AssertionError("a session is never done with its clock")

    def _sweep(self) -> None:
        """Close what sessions have ended by themselves."""
        for wire in self.wires.values():
            for name, end in wire.ends.items():
                if end.session is not None and end.session.closed:
                    end.hang_up("closed")
                if end.session is None:
                    (peer,) = set(wire.ends) - {name}
                    if (current := self.hosts[name].sessions.get(peer)) is not None and current.closed:
                        del self.hosts[name].sessions[peer]

    # What must be true.

    def check(self) -> None:
        """At any time: each view is what its owner had at that point, and points follow each other."""
        for name, peer in self.ways:
            known = self.hosts[name].known[peer]
            view = known.view
            rows = {row[0]: row for row in view.rows()}
            if not view.complete:
                assert not rows
                continue
            assert rows == only(self.history[view.list_id, view.seq], view.tag)
            point = (self.generations[view.list_id], view.seq)
            assert not view.refused or known.withheld, "a refusal was not told"
            assert point >= known.latest, "the view went back"
            known.latest = point
            if view.tag == 0:
                assert not known.vanished & rows.keys(), "a removed mission returned"
                known.vanished |= known.shown[1].keys() - rows.keys()
            if known.wish is not None:
                assert known.shown == (True, rows), "a change was not told"

    def settle(self) -> None:
        """Mend everything, wait for quiet, and see that all is equal."""
        self.cut.clear()
        self.stalled.clear()
        for _ in range(9):
            for pair in self.pairs:
                self.connect(*sorted(pair))
            self.drain()
            self.pass_time(2_500)
            self.check()
        for name, peer in self.ways:
            self._check_equal(self.hosts[name], self.hosts[peer])
        assert all(len(answers) == 1 for answers in self.answers)

    def _check_equal(self, host: Host, owner: Host) -> None:
        known = host.known[owner.name]
        session, ear = host.sessions[owner.name], host.ears[owner.name]
        assert session.up
        assert ear.ups == 1
        tag, fix_conflict = known.wish or (0, True)
        conflict = host.versions[1] != owner.versions[1] and not fix_conflict
        served = owner.sessions[host.name]._server.list.subscription
        assert (served is not None) == (known.wish is not None and not conflict)
        if served is None:
            assert not known.view.complete
            assert known.wish is None or ear.refused
        elif not owner.known[host.name].permitted:
            assert ear.refused
            assert known.view.refused
        else:
            assert not known.view.refused
            assert owner.ears[host.name].wanted == known.snapshots
            assert known.view.complete
            assert {row[0]: row for row in known.view.rows()} == only(owner.rows, tag)
            assert known.view.list_id == owner.published.list_id
