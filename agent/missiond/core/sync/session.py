# SPDX-License-Identifier: Apache-2.0
"""One link with one peer proved by TLS: both directions, without sockets or clock."""

from __future__ import annotations

from collections.abc import Callable

from missiond.common.clock import Clock
from missiond.core.link.channel import HandoverChannel
from missiond.core.link.checks import MAX_REASON, BadMessage
from missiond.core.link.letters import HandoverMessage
from missiond.core.link.message_types import (
    Accepted,
    AgentBack,
    Ask,
    Bye,
    DetailsAnswer,
    Hello,
    Ignored,
    LinkRefused,
    Message,
    Ping,
    Pong,
    Renamed,
    SnapshotsMessage,
    Update,
)
from missiond.core.link.values import Values
from missiond.core.sync.events import Reply, SessionEvents
from missiond.core.sync.handshake import Handshake, IncompatibleVersion
from missiond.core.sync.replica import Replica
from missiond.core.sync.requests import MissionRequests
from missiond.core.sync.server_half import ServerHalf
from missiond.core.sync.session_config import Local, Timing
from missiond.core.sync.silence import Silence, SilenceTimer
from missiond.core.sync.subscriber import ListSubscriber
from missiond.core.sync.versioned_list import VersionedList
from missiond.errors import AgentError, DistributedServiceFailed


class Session:
    """The talk over one link, from hello to bye; times are ms of the clock.

    After each call, `next_deadline` says when `tick` has to be called. `send` takes a message; it must
    neither raise nor block, and may call `can_send`. While that is false nothing is given to it and nothing
    piles up here either: what is to be sent is derived when there is room.
    """

    def __init__(
        self,
        local: Local,
        published: VersionedList,
        clock: Clock,
        send: Callable[[Message], None],
        events: SessionEvents,
        *,
        device: str,
        view: Replica,
        permitted: bool = True,
        timing: Timing | None = None,
        handovers: HandoverChannel | None = None,
    ) -> None:
        """Begin with the peer `device`, proved by TLS, and with the `view` of the peer, older than the link.

        `permitted` says whether it has the permission `sync`. A session without `handovers` takes no message
        of theirs.
        """
        timing = timing or Timing()
        now = clock.now()
        self._clock = clock
        self._send = send
        self._events = events
        self._handshake = Handshake(local, device, now + timing.greet)
        self._silence = SilenceTimer(timing, now)
        self._subscriber = ListSubscriber(view)
        self._server = ServerHalf(published, events, timing)
        self._server.permit(permitted, now)
        self._requests = MissionRequests(timing.answer)
        self._handovers = handovers
        self._writable = True
        self._pumping = False
        self._closed = False
        self._ping = False
        self._pong: int | None = None
        self._name: str | None = None
        """What this host is called now, until the peer is told."""
        self._agent_back = False

    @property
    def peer(self) -> Hello | None:
        """The hello of the peer, None before."""
        return self._handshake.peer

    @property
    def up(self) -> bool:
        """Whether both hosts have accepted each other and the session goes on."""
        return self._handshake.done and not self._closed

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self._closed

    @property
    def view(self) -> Replica:
        """The view of the peer's list."""
        return self._subscriber.view

    # What the peer unit wants.

    def start(self) -> None:
        """Say hello."""
        self._send(self._handshake.hello)

    def sync(self, tag: int, fix_conflict: bool) -> None:
        """Keep the view in step from now on; before the link is up, from then on.

        Raises DistributedServiceFailed where versions differ and `fix_conflict` is false.
        """
        conflict = None if fix_conflict else self._handshake.conflict
        if conflict is not None:
            raise DistributedServiceFailed(conflict)
        self._subscriber.sync(tag, fix_conflict)
        self._pump()

    def stop_sync(self) -> None:
        """Empty the view, and keep nothing in step any more."""
        self._subscriber.stop()
        self._pump()

    def want_snapshots(self, on: bool) -> None:
        """Begin or stop to follow new snapshots of missions in the view."""
        self._subscriber.want_snapshots(on)
        self._pump()

    def ask(self, what: str, mission: int, callback: Reply) -> None:
        """Ask for INFO or SNAPSHOT of one of the peer's missions; `callback` is called once.

        Raises DistributedServiceFailed where the link is not up or too many questions wait.
        """
        if not self.up:
            raise DistributedServiceFailed("the peer is not connected; ask again when it is")
        self._requests.ask(what, mission, callback, self._clock.now())
        self._pump()

    def published_changed(self) -> None:
        """Tell the peer of changes in the published list."""
        self._server.list.changed(self._clock.now())
        self._pump()

    def snapshot_changed(self, mission: int) -> None:
        """Tell a peer with an interest in snapshots of a new one of a mission of this host."""
        self._server.list.snapshot_changed(mission, self._clock.now())
        self._pump()

    def rename(self, name: str) -> None:
        """Tell the peer a new name of this host, of at most 255 characters."""
        self._name = name
        self._pump()

    def agent_back(self) -> None:
        """Tell a connected peer of the restart of this host's agent."""
        self._agent_back = self.up
        self._pump()

    def permit(self, permitted: bool) -> None:
        """Give or take the peer's permission `sync`; a subscription without permission waits."""
        self._server.permit(permitted, self._clock.now())
        self._pump()

    def stir(self) -> None:
        """Send messages of hand-overs."""
        self._pump()

    def probe(self, patience: int) -> None:
        """End the link unless the peer answers within `patience` ms; for when the network has changed."""
        if self.up:
            self._silence.probe(self._clock.now(), patience)
            self._ping = True
            self._pump()

    def close(self, reason: str) -> None:
        """Say bye and end the session."""
        self._finish(reason, broken=False, bye=True)

    # What happens on the link.

    def can_send(self, writable: bool) -> None:
        """Take note whether the link takes messages now."""
        if writable and not self._writable:
            self._silence.heard(self._clock.now())  # what was sent has arrived
        self._writable = writable
        self._pump()

    def received(self, message: Message) -> None:
        """Take in a message of the peer."""
        if self._closed:
            return
        self._silence.heard(self._clock.now())
        try:
            if self.up:
                self._take(message)
            else:
                self._greet(message)
        except BadMessage as error:
            self.broken(str(error))
        except IncompatibleVersion as error:
            self._send(LinkRefused(str(error)))
            self._finish(str(error), broken=False)
        self._pump()

    def broken(self, reason: str) -> None:
        """End the session after a breach of the protocol; also for bytes without a message."""
        self._finish(reason, broken=True, bye=True)

    def next_deadline(self) -> int | None:
        """Return the time for `tick`; None for never."""
        if self._closed:
            return None
        if not self._handshake.done:
            return self._handshake.deadline
        dues = (
            self._silence.next(),
            self._requests.next_deadline(),
            self._server.next_deadline(self._writable),
            self._handovers.next_deadline() if self._handovers is not None else None,
        )
        return min(due for due in dues if due is not None)

    def tick(self) -> None:
        """Act on due deadlines; too early does no harm."""
        if self._closed:
            return
        now = self._clock.now()
        if not self._handshake.done:
            if now >= self._handshake.deadline:
                self._finish("no hello in time", broken=False)
            return
        self._requests.expire(now)
        self._server.answers.expire(now)
        if self._handovers is not None:
            self._handovers.expire(now)
        silence = self._silence.look(now)
        if silence is Silence.DEAD:
            self._finish("no word from the peer", broken=False)
            return
        self._ping |= silence is Silence.ASK
        self._pump()

    def _greet(self, message: Message) -> None:
        match message:
            case Hello():
                self._send(self._handshake.hear(message))
            case Accepted(version):
                peer = self._handshake.accepted(version)
                self._check_conflict()
                self._events.up(peer)
            case LinkRefused(reason) | Bye(reason):
                self._finish(f"the peer said: {reason}", broken=False)
            case Ignored():
                pass
            case _:
                raise BadMessage(f"{message.kind} before accepted")

    def _check_conflict(self) -> None:
        wanted = self._subscriber.wanted
        conflict = self._handshake.conflict
        if wanted is not None and conflict is not None and not wanted[1]:
            self._subscriber.stop()
            self._events.sync_refused(DistributedServiceFailed(conflict))

    def _take(self, message: Message) -> None:
        now = self._clock.now()
        match message:
            case Update():
                if self._subscriber.received(message, now):
                    self._events.list_changed()
            case SnapshotsMessage(missions):
                for mission in missions:
                    if mission in self.view:
                        self._events.snapshot_changed(mission)
            case LinkRefused(reason, sub):
                if self._subscriber.refused(sub):
                    self._events.sync_refused(DistributedServiceFailed(f"the peer refuses: {reason}"))
            case DetailsAnswer():
                self._requests.answered(message)
            case Ask():
                self._asked(message, now)
            case Ping() | Pong() | Bye() | Renamed() | AgentBack() | Ignored():
                self._hear_of_itself(message)
            case HandoverMessage() if self._handovers is not None:
                self._handovers.received(message)
            case _:
                self._server.take(message, self._handshake.conflict, now)

    def _hear_of_itself(self, message: Ping | Pong | Bye | Renamed | AgentBack | Ignored) -> None:
        match message:
            case Renamed(name):
                self._events.renamed(name)
            case AgentBack():
                self._events.agent_back()
            case Ping(n):
                self._pong = n
            case Pong(n):
                self._silence.answered(n)
            case Bye(reason):
                self._finish(f"the peer said: {reason}", broken=False)

    def _asked(self, ask: Ask, now: int) -> None:
        reply = self._server.asked(ask, now)
        if reply is None:
            return
        take = reply

        def answer(found: Values | AgentError) -> None:
            take(found)
            self._pump()

        self._events.asked(ask.what, ask.mission, answer)

    def _pump(self) -> None:
        """Send what there is to be sent, as long as there is room."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self.up and self._writable and (message := self._next()) is not None:
                self._send(message)
        finally:
            self._pumping = False

    def _next(self) -> Message | None:
        if self._pong is not None:
            pong, self._pong = Pong(self._pong), None
            return pong
        if self._ping:
            self._ping = False
            return Ping(self._silence.ping)
        if self._name is not None:
            name, self._name = self._name, None
            return Renamed(name)
        if self._agent_back:
            self._agent_back = False
            return AgentBack()
        own = self._subscriber.next() or self._requests.next() or self._server.next(self._clock.now())
        if own is not None or self._handovers is None:
            return own
        return self._handovers.next()

    def _finish(self, reason: str, *, broken: bool, bye: bool = False) -> None:
        if self._closed:
            return
        if bye and self._writable:
            self._send(Bye(reason[:MAX_REASON]))
        self._closed = True
        self._subscriber.view.abandon()
        self._server.close()
        self._requests.close(reason)
        if self._handovers is not None:
            self._handovers.close(reason)
        self._events.closed(reason, broken=broken)
