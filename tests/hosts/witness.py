# SPDX-License-Identifier: Apache-2.0
"""A program in a host that owns tasks and listens, by the host's own clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hosts.machine import Host

_PROGRAM = (Path(__file__).parent / "inside/witness.py").read_text()
SLACK = 0.1
"""Seconds for what is rounded to milliseconds, or done one after the other."""
LATE = 15.0
"""Seconds that a machine without a processor of its own may be late where others have work as well."""


class Answer(NamedTuple):
    """What a call returned, and the seconds since boot around it."""

    value: Any
    before: float
    after: float


class Heard(NamedTuple):
    """A signal, and the seconds since boot at which it came."""

    member: str
    at: float
    arguments: list[Any]


class Witness:
    """See inside/witness.py for what it does; tasks end with it."""

    def __init__(self, host: Host, user: str | None = "alice") -> None:
        self._host = host
        self._process = host.spawn(["python3", "-c", _PROGRAM], user=user)

    def do(self, method: str, *arguments: object) -> Answer:
        """Have it call one of its methods."""
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        line = self._process.stdout.readline()
        assert line, f"the witness ended at {method} {arguments}"
        return Answer(*json.loads(line))

    def heard(self, member: str, first: object = None) -> list[Heard]:
        """Return the signals of this name so far, those with this first argument if it is given."""
        signals = [Heard(name, at, arguments) for name, at, *arguments in self.do("heard").value]
        return [each for each in signals if each.member == member and first in (None, *each.arguments[:1])]

    def wait(self, member: str, first: object, timeout: float = 15.0) -> Heard:
        """Wait until it has heard this."""
        try:
            self._host.wait_for(lambda: self.heard(member, first), timeout)
        except TimeoutError:
            raise AssertionError(f"no {member} {first}: {self.do('heard').value}") from None
        return self.heard(member, first)[0]

    def close(self) -> None:
        """End it."""
        self._process.close()


class Ledger:
    """What must be left of requests and quota, by the host's own clock."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._quota = witness.do("quota").value / 1000
        self._first: Answer | None = None
        self._requests: dict[int, tuple[Answer, float]] = {}

    def request(self, delay: float) -> int:
        """Ask for so many seconds; there is always one that runs from then on."""
        answer = self._witness.do("request", "test", round(delay * 1000))
        self._first = self._first or answer
        self._requests[answer.value] = (answer, delay)
        return int(answer.value)

    def ends(self, number: int) -> tuple[float, float]:
        """Return between which seconds since boot it ends."""
        answer, delay = self._requests[number]
        return answer.before + delay, answer.after + delay

    def check(self, number: int) -> None:
        """Look at what is left of a request and of the quota now."""
        left = self._witness.do("left", number)
        earliest, latest = self.ends(number)
        assert earliest - left.after - SLACK <= left.value / 1000 <= latest - left.before + SLACK
        assert self._first is not None
        quota = self._witness.do("quota")
        most, least = quota.after - self._first.before, quota.before - self._first.after
        assert self._quota - most - SLACK <= quota.value / 1000 <= self._quota - least + SLACK
