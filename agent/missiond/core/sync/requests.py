# SPDX-License-Identifier: Apache-2.0
"""Questions about single missions: ours to the peer, and the peer's to this host."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from missiond.core.link.checks import MAX_REASON, BadMessage
from missiond.core.link.message_types import Ask, DetailsAnswer
from missiond.core.link.messages import serialise
from missiond.core.link.values import Values
from missiond.core.sync.events import Reply
from missiond.errors import AgentError, DistributedServiceFailed, from_code

AT_ONCE = 16
"""Questions under way in one direction; a peer with more at once breaks the protocol."""
MAX_WAITING = 256
"""Questions of this host in the queue."""
MAX_ANSWER = 256 * 1024
"""Bytes of an answer."""


@dataclass(slots=True)
class _Asked:
    callback: Reply | None
    """None once it has been called; the place is taken until the peer answers all the same."""
    deadline: int


class MissionRequests:
    """Ours; `patience` is in ms."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._n = 0
        self._waiting: deque[Ask] = deque()
        self._open: dict[int, _Asked] = {}
        """Both those that wait and those under way, in the order of their deadlines."""
        self._under_way: set[int] = set()

    def ask(self, what: str, mission: int, callback: Reply, now: int) -> None:
        """Put a question; raises DistributedServiceFailed where too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise DistributedServiceFailed("too many questions wait for this peer; ask again later")
        self._n += 1
        self._waiting.append(Ask(self._n, what, mission))
        self._open[self._n] = _Asked(callback, now + self._patience)

    def next(self) -> Ask | None:
        """Return the next question, taken as sent."""
        if not self._waiting or len(self._under_way) >= AT_ONCE:
            return None
        ask = self._waiting.popleft()
        self._under_way.add(ask.n)
        return ask

    def answered(self, answer: DetailsAnswer) -> None:
        """Pass an answer on; raises BadMessage for one to no question."""
        if answer.n not in self._under_way:
            raise BadMessage("an answer to no question")
        self._under_way.discard(answer.n)
        asked = self._open.pop(answer.n)
        if asked.callback is not None:
            asked.callback(answer.value if answer.value is not None else from_code(answer.code, answer.text))

    def next_deadline(self) -> int | None:
        """Return the time of the next timeout."""
        return next((asked.deadline for asked in self._open.values() if asked.callback is not None), None)

    def expire(self, now: int) -> None:
        """Give up questions without an answer in time."""
        error = DistributedServiceFailed("the peer has not answered in time; ask again")
        late = [n for n, asked in self._open.items() if asked.callback is not None and asked.deadline <= now]
        for n in late:
            asked = self._open[n] if n in self._under_way else self._open.pop(n)
            callback, asked.callback = asked.callback, None
            if callback is not None:
                callback(error)
        if late:
            self._waiting = deque(ask for ask in self._waiting if ask.n in self._open)

    def close(self, reason: str) -> None:
        """Give up all."""
        error = DistributedServiceFailed(f"the link to the peer has ended ({reason}); ask again later")
        found, self._open = self._open, {}
        self._waiting.clear()
        for asked in found.values():
            if asked.callback is not None:
                asked.callback(error)


class RequestAnswers:
    """The peer's questions; `patience` (ms) is for the agent."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._open: dict[int, int] = {}
        """Number to deadline, in that order."""
        self._ready: deque[DetailsAnswer] = deque()

    def asked(self, ask: Ask, now: int) -> Reply:
        """Take a question, and return the callback for the answer; raises BadMessage for one too many."""
        if len(self._open) + len(self._ready) >= AT_ONCE or ask.n in self._open:
            raise BadMessage("more questions at once than allowed, or one twice")
        self._open[ask.n] = now + self._patience

        def reply(answer: Values | AgentError) -> None:
            if self._open.pop(ask.n, None) is not None:
                self._ready.append(_answer(ask.n, answer))

        return reply

    def next(self) -> DetailsAnswer | None:
        """Return the next answer, taken as sent."""
        return self._ready.popleft() if self._ready else None

    def next_deadline(self) -> int | None:
        """Return the time of the agent's next timeout."""
        return next(iter(self._open.values()), None)

    def expire(self, now: int) -> None:
        """Answer for an agent out of time."""
        late = [n for n, deadline in self._open.items() if deadline <= now]
        for n in late:
            del self._open[n]
            self._ready.append(_answer(n, DistributedServiceFailed("the peer's agent does not answer")))

    def close(self) -> None:
        """Answer no more."""
        self._open.clear()
        self._ready.clear()


def _answer(n: int, found: Values | AgentError) -> DetailsAnswer:
    if isinstance(found, AgentError):
        return DetailsAnswer(n, None, int(found.code), found.text[:MAX_REASON])
    answer = DetailsAnswer(n, found)
    try:
        short = len(serialise(answer)) <= MAX_ANSWER
    except ValueError:  # NaN
        short = False
    return answer if short else _answer(n, DistributedServiceFailed("the answer is too long to be sent"))
