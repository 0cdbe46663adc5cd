# SPDX-License-Identifier: Apache-2.0
"""The first words on a link: the identity of the peer, and the version for both."""

from __future__ import annotations

from missiond.core.link.checks import BadMessage
from missiond.core.link.message_types import Accepted, Hello
from missiond.core.sync.session_config import Local


class IncompatibleVersion(Exception):
    """No version in common."""


class Handshake:
    """Hello and accepted, both ways; `deadline` is the latest moment (ms) for `done`."""

    def __init__(self, local: Local, device: str, deadline: int) -> None:
        self._local = local
        self._device = device
        self._version = 0
        self.deadline = deadline
        self.peer: Hello | None = None
        self.done = False

    @property
    def hello(self) -> Hello:
        """The hello of this host."""
        local = self._local
        return Hello(local.versions, local.device, local.name, local.instance, local.software, local.features)

    @property
    def conflict(self) -> str | None:
        """A sentence about different newest versions, None for the same or an unknown one."""
        if self.peer is None or self.peer.versions[1] == self._local.versions[1]:
            return None
        return (
            f"protocol version {self._local.versions[1]} of {self._local.device[:8]}… meets version "
            f"{self.peer.versions[1]} of {self.peer.device[:8]}…; pass fix_conflict to use "
            f"version {self._version}, or upgrade the older one"
        )

    def hear(self, hello: Hello) -> Accepted:
        """Return the answer to the peer's hello; raises BadMessage, IncompatibleVersion."""
        if self.peer is not None:
            raise BadMessage("hello a second time")
        if hello.device != self._device:
            raise BadMessage("a hello with another device's id")
        mine, theirs = self._local.versions, hello.versions
        version = min(mine[1], theirs[1])
        if version < max(mine[0], theirs[0]):
            raise IncompatibleVersion(
                f"versions {mine[0]} to {mine[1]} are spoken here, {theirs[0]} to {theirs[1]} there; "
                "upgrade the older one"
            )
        self.peer, self._version = hello, version
        return Accepted(version)

    def accepted(self, version: int) -> Hello:
        """Take the answer to this host's hello, and return the peer's; raises BadMessage."""
        if self.peer is None or version != self._version:
            raise BadMessage("accepted what was not offered")
        self.done = True
        return self.peer
