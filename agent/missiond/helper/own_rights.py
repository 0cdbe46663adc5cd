# SPDX-License-Identifier: Apache-2.0
"""Does in this process what the helper would be asked for, with the rights that the process has itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from missiond.helper.processes import Users
from missiond.helper.requests import Request, encode
from missiond.helper.service import answer, carrier
from missiond.host.helper import SOCKET, error_of


class OwnRights:
    """In the helper's place: does what this process may do, to processes of these users (its own)."""

    path = SOCKET
    stay = False

    def __init__(self, users: Users | None = None) -> None:
        self._carry_out = carrier(users or Users(frozenset({os.getuid()})))
        self.stirred: Callable[[], None] = lambda: None

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Do one after the other; for each the name of an errno(3), or "" where it was done."""
        return [error_of(answer(encode(request), self._carry_out)) for request in requests]

    async def prepare(self) -> None:
        """It is there."""

    def rest(self) -> None:
        """Nothing to leave for now."""

    def close(self) -> None:
        """Nothing to leave."""
