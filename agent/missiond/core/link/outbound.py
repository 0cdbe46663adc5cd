# SPDX-License-Identifier: Apache-2.0
"""Requests of this host: letters in order, and states beside letters at the pace of the other side."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from missiond.core.link.checks import BadMessage
from missiond.core.link.interfaces import Reply, StateSource
from missiond.core.link.letters import Cancel, Chunk, Got, HandoverMessage, Letter, State, Taken
from missiond.core.link.timeouts import MAX_CHUNK, MAX_LETTERS, MAX_STATES, MAX_WAITING, WINDOW, Patience
from missiond.errors import AgentError, DistributedServiceFailed, TransactionFailed

_TOO_LATE = "the peer has not answered in time; ask again"
_STALLED = "the peer takes nothing more of the state; ask again later"


@dataclass(slots=True)
class _Written:
    """A letter without an answer."""

    reply: Reply | None
    """None once it has been called; the place is taken until the peer answers all the same."""
    deadline: int


@dataclass(slots=True)
class _Flow:
    """A state under way."""

    state: State
    source: StateSource
    reply: Reply
    deadline: int
    announced: bool = False
    sent: int = 0
    kept: int | None = None
    """What the other side has said that it keeps."""


class OutboundRequests:
    """Times are ms. Numbers of requests are never used again."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._n = 0
        self._waiting: deque[Letter] = deque()
        self._letters: dict[int, _Written] = {}
        """Both those that wait and those under way, in the order of their deadlines."""
        self._under_way: set[int] = set()
        self._flows: dict[int, _Flow] = {}
        self._cancelled: deque[Cancel] = deque()
        self._given_up: set[int] = set()
        """States that were taken back, for which the peer's answer is still to come."""

    def send(self, transfer: str, step: str, body: str, reply: Reply, now: int) -> None:
        """Send a letter; raises TransactionFailed where too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise TransactionFailed("too many messages wait for this peer; send it again later")
        self._n += 1
        self._waiting.append(Letter(self._n, transfer, step, body))
        self._letters[self._n] = _Written(reply, now + self._patience.answer)

    def send_state(
        self, transfer: str, source: StateSource, offset: int, size: int, reply: Reply, now: int
    ) -> None:
        """Send a state, from `offset` at the earliest; raises TransactionFailed where too many are sent."""
        if len(self._flows) + len(self._given_up) >= MAX_STATES:
            raise TransactionFailed("too many states are sent to this peer; let one end first")
        self._n += 1
        state = State(self._n, transfer, offset, size)
        self._flows[self._n] = _Flow(state, source, reply, now + self._patience.stall)

    def abandon(self, transfer: str, error: AgentError) -> None:
        """Send nothing more of a transfer."""
        gone = {letter.n for letter in self._waiting if letter.transfer == transfer}
        self._waiting = deque(letter for letter in self._waiting if letter.n not in gone)
        for n in gone:
            self._reply(self._letters.pop(n), error)
        for n in [n for n, flow in self._flows.items() if flow.state.transfer == transfer]:
            self._give_up(n, error)

    def answered(self, answer: Got | Taken, now: int) -> None:
        """Take in an answer of the peer; raises BadMessage for an answer to no request."""
        if answer.n in self._given_up:
            if isinstance(answer, Taken):
                self._given_up.discard(answer.n)
            return
        flow = self._flows.get(answer.n)
        if flow is not None and flow.announced:
            if isinstance(answer, Got):
                self._got(flow, answer.offset, now)
            else:
                self._taken(answer.n, flow, answer)
        elif isinstance(answer, Taken) and answer.n in self._under_way:
            self._under_way.discard(answer.n)
            self._reply(self._letters.pop(answer.n), answer.error)
        else:
            raise BadMessage("an answer to no request")

    def next(self) -> HandoverMessage | None:
        """Return the next message, taken as sent."""
        if self._cancelled:
            return self._cancelled.popleft()
        if self._waiting and len(self._under_way) < MAX_LETTERS:
            letter = self._waiting.popleft()
            self._under_way.add(letter.n)
            return letter
        for n in list(self._flows):
            found = self._next_of(n)
            if found is not None:
                return found
        return self._cancelled.popleft() if self._cancelled else None

    def next_deadline(self) -> int | None:
        """Return the time of the next timeout."""
        dues = [flow.deadline for flow in self._flows.values()]
        letter = next((each.deadline for each in self._letters.values() if each.reply is not None), None)
        return min([*dues, *([] if letter is None else [letter])], default=None)

    def expire(self, now: int) -> None:
        """Give up requests out of time."""
        late = [n for n, each in self._letters.items() if each.reply is not None and each.deadline <= now]
        for n in late:
            under_way = n in self._under_way
            self._reply(self._letters[n] if under_way else self._letters.pop(n), _failed(_TOO_LATE))
        if late:
            self._waiting = deque(letter for letter in self._waiting if letter.n in self._letters)
        for n in [n for n, flow in self._flows.items() if flow.deadline <= now]:
            self._give_up(n, _failed(_STALLED))

    def close(self, reason: str) -> None:
        """Give up all."""
        error = _failed(f"the link to the peer has ended ({reason}); send it again when it is back")
        letters, self._letters = self._letters, {}
        flows, self._flows = self._flows, {}
        self._waiting.clear()
        self._cancelled.clear()
        for letter in letters.values():
            self._reply(letter, error)
        for flow in flows.values():
            flow.source.close()
            flow.reply(error)

    # --- states

    def _next_of(self, n: int) -> HandoverMessage | None:
        flow = self._flows[n]
        if not flow.announced:
            flow.announced = True
            return flow.state
        if flow.kept is None:
            return None
        room = min(MAX_CHUNK, flow.state.size - flow.sent, flow.kept + WINDOW - flow.sent)
        if room <= 0:
            return None
        try:
            data = flow.source.read(flow.sent, room)
        except AgentError as error:
            self._give_up(n, error)
            return None
        if data is None:
            return None
        chunk = Chunk(n, flow.sent, data)
        flow.sent += len(data)
        # the others first, next time
        self._flows[n] = self._flows.pop(n)
        return chunk

    def _got(self, flow: _Flow, offset: int, now: int) -> None:
        if offset > flow.state.size or (flow.kept is not None and not flow.kept <= offset <= flow.sent):
            raise BadMessage("it got more of a state than was sent, or less than before")
        if flow.kept is None:
            if offset < flow.state.offset:
                text = f"the peer has {offset} bytes of the state, and it is sent from {flow.state.offset} on"
                self._give_up(flow.state.n, _failed(f"{text}; send it from {offset} on"))
                return
            flow.sent = offset
        flow.kept = offset
        flow.deadline = now + self._patience.stall
        flow.source.progress(offset)

    def _taken(self, n: int, flow: _Flow, answer: Taken) -> None:
        if not answer.code and (flow.kept is None or flow.sent != flow.state.size):
            raise BadMessage("it took more of a state than was sent")
        del self._flows[n]
        flow.source.close()
        flow.reply(answer.error)

    def _give_up(self, n: int, error: AgentError) -> None:
        flow = self._flows.pop(n)
        if flow.announced:
            self._cancelled.append(Cancel(n))
            self._given_up.add(n)
        flow.source.close()
        flow.reply(error)

    @staticmethod
    def _reply(letter: _Written, outcome: AgentError | None) -> None:
        reply, letter.reply = letter.reply, None
        if reply is not None:
            reply(outcome)


def _failed(text: str) -> AgentError:
    return DistributedServiceFailed(text)
