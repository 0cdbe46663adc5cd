# SPDX-License-Identifier: Apache-2.0
"""Requests of the peer: letters go to the handler one after the other, state to where the handler says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from missiond.common.clock import Clock
from missiond.core.link.checks import BadMessage
from missiond.core.link.inbound_state import InboundState
from missiond.core.link.interfaces import RequestHandler
from missiond.core.link.letters import Cancel, Chunk, HandoverMessage, Letter, State, Taken
from missiond.core.link.timeouts import MAX_LETTERS, MAX_REFUSED, MAX_STATES, REFUSED_PERIOD, Patience
from missiond.errors import AgentError, DistributedServiceFailed, TransactionFailed

_REMEMBERED = 16
_SLOW = "the agent of that host does not answer; send it again later"
_CANCELLED = "it was taken back"


class InboundRequests:
    """`stir` is called when there is something to send."""

    def __init__(
        self, handler: RequestHandler, clock: Clock, patience: Patience, stir: Callable[[], None]
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._patience = patience
        self._stir = stir
        self._letters: deque[Letter] = deque()
        self._reading: int | None = None
        """Number of the letter that is with the handler."""
        self._deadline: int | None = None
        self._answers: deque[Taken] = deque()
        self._states: dict[int, InboundState] = {}
        self._refused: deque[int] = deque()
        """States that ended with an error: pieces of them may be under way. The latest few."""
        self._refusals: deque[int] = deque()
        """When something was refused."""
        self._closed = False

    @property
    def receiving(self) -> bool:
        """Whether a state comes in."""
        return bool(self._states)

    def received(self, message: Letter | State | Chunk | Cancel) -> None:
        """Take in a message of the peer; raises BadMessage."""
        if len(self._refusals) > MAX_REFUSED and self._clock.now() - self._refusals[0] < REFUSED_PERIOD:
            raise BadMessage("too many messages that had to be refused")
        match message:
            case Letter():
                self._letter(message)
            case State():
                self._state(message)
            case Chunk():
                self._chunk(message)
            case Cancel(n):
                state = self._states.get(n)
                if state is not None:
                    state.failed(DistributedServiceFailed(_CANCELLED))

    def next(self) -> HandoverMessage | None:
        """Return the next message, taken as sent."""
        if self._answers:
            return self._answers.popleft()
        for n, state in self._states.items():
            found = state.next()
            if found is not None:
                if state.over:
                    self._over(n, state, found)
                return found
        return None

    def next_deadline(self) -> int | None:
        """Return the time of the agent's next timeout."""
        return self._deadline

    def expire(self, now: int) -> None:
        """Answer for an agent out of time."""
        if self._deadline is not None and self._deadline <= now and self._reading is not None:
            self._answer(self._reading, DistributedServiceFailed(_SLOW))

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._letters.clear()
        self._answers.clear()
        self._reading = self._deadline = None
        states, self._states = self._states, {}
        for state in states.values():
            state.end()

    # --- letters

    def _letter(self, letter: Letter) -> None:
        under_way = len(self._letters) + len(self._answers) + (self._reading is not None)
        if under_way >= MAX_LETTERS + MAX_STATES:
            raise BadMessage("more messages at once than allowed")
        self._letters.append(letter)
        self._read()

    def _read(self) -> None:
        """Give the handler the next one, unless it has one."""
        while self._reading is None and self._letters and not self._closed:
            letter = self._letters.popleft()
            self._reading, self._deadline = letter.n, self._clock.now() + self._patience.reply
            self._handler.letter(letter.transfer, letter.step, letter.body, self._reply_to(letter.n))

    def _reply_to(self, n: int) -> Callable[[AgentError | None], None]:
        def reply(outcome: AgentError | None) -> None:
            if self._reading == n:
                self._answer(n, outcome)

        return reply

    def _answer(self, n: int, outcome: AgentError | None) -> None:
        self._reading = self._deadline = None
        self._answers.append(Taken.of(n, outcome))
        if outcome is not None:
            self._count()
        self._read()
        self._stir()

    # --- states

    def _state(self, state: State) -> None:
        if state.n in self._states:
            raise BadMessage("a state twice under one number")
        try:
            if len(self._states) >= MAX_STATES:
                raise TransactionFailed("too many states are taken in from this peer; let one end first")
            sink = self._handler.state(state.transfer, state.offset, state.size)
        except AgentError as error:
            if len(self._answers) >= MAX_LETTERS + MAX_STATES:
                raise BadMessage("more states at once than allowed") from None
            self._answers.append(Taken.of(state.n, error))
            self._forget(state.n)
            self._count()
            return
        found = self._states[state.n] = InboundState(state, sink, self._stir)
        found.begin()

    def _chunk(self, chunk: Chunk) -> None:
        state = self._states.get(chunk.n)
        if state is not None:
            state.take(chunk)
        elif chunk.n not in self._refused:
            raise BadMessage("a piece of a state that was not announced")

    def _over(self, n: int, state: InboundState, last: HandoverMessage) -> None:
        del self._states[n]
        state.end()
        if isinstance(last, Taken) and last.code:
            self._forget(n)
            self._count()

    def _forget(self, n: int) -> None:
        self._refused.append(n)
        if len(self._refused) > _REMEMBERED:
            self._refused.popleft()

    def _count(self) -> None:
        """Note a refusal."""
        self._refusals.append(self._clock.now())
        if len(self._refusals) > MAX_REFUSED + 1:
            self._refusals.popleft()
