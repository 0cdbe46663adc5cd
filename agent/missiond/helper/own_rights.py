# SPDX-License-Identifier: Apache-2.0
"""Requests to the helper, carried out in this process with the own rights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from missiond.helper.processes import Users
from missiond.helper.requests import Request, encode
from missiond.helper.service import answer, carrier
from missiond.host.helper import SOCKET, error_of


class OwnRights:
    """A stand-in for the helper with the rights of this process, for `users` (by default the own one)."""

    path = SOCKET
    stay = False

    def __init__(self, users: Users | None = None) -> None:
        self._carry_out = carrier(users or Users(frozenset({os.getuid()})))
        self.stirred: Callable[[], None] = lambda: None

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Do one request after the other; for each the name of an errno(3), or "" where done."""
        return [error_of(answer(encode(request), self._carry_out)) for request in requests]

    async def prepare(self) -> None:
        """Return at once: nothing has to be started."""

    def rest(self) -> None:
        """Nothing to leave for now."""

    def close(self) -> None:
        """Nothing to leave."""
