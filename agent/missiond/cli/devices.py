# SPDX-License-Identifier: Apache-2.0
"""Devices named by people: an id, the beginning of an id, or a name."""

from __future__ import annotations

import missiond
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import safe

SHOWN = 16
"""Digits of an id in lists."""


async def known_as(agent: missiond.Agent, word: str) -> missiond.PeerInfo:
    """Return the peer of a word; raises CommandError for this host."""
    try:
        return await agent.peer(word)
    except missiond.NotFound as error:
        if error.code is None and _is(agent, await agent.this_device(), word):
            text = f"{safe(word)} is this host itself; `missionctl peers list` shows the others"
            raise CommandError(Exit.USAGE, text) from None
        raise


def _is(agent: missiond.Agent, device: missiond.ThisDevice, word: str) -> bool:
    named = bool(word) and word == device.name
    return named or (agent.peers.is_beginning(word) and device.id.startswith(word))
