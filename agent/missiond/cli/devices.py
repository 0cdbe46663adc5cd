# SPDX-License-Identifier: Apache-2.0
"""Devices as people name them: an id, its beginning, or a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from missiond.cli.exits import CommandError, Exit
from missiond.cli.table import safe
from missiond.client_peers import Peer

SHOWN = 16
"""Digits of an id that lists show."""
_BEGINNING = re.compile("[0-9a-f]{4,64}")
_WHOLE = 64


def whole_id(word: str) -> bool:
    """Whether this is the id of a device, known or not."""
    return len(word) == _WHOLE and _BEGINNING.fullmatch(word) is not None


def find(peers: Sequence[Peer], word: str) -> Peer:
    """Return the one that is meant; raises CommandError where none is, or several are."""
    found = [peer for peer in peers if peer.device_id == word]
    if not found and _BEGINNING.fullmatch(word):
        found = [peer for peer in peers if peer.device_id.startswith(word)]
    found = found or [peer for peer in peers if word and peer.name == word]
    if len(found) == 1:
        return found[0]
    what = safe(word[:80])
    if found:
        raise CommandError(Exit.USAGE, f"{len(found)} devices are called {what}; name one by its id")
    raise CommandError(
        Exit.NOT_FOUND, f"no device {what} is known; `missionctl peers list` shows those that are"
    )


def called(peer: Peer) -> str:
    """Return its name, or the beginning of its id without one."""
    return safe(peer.name) or peer.device_id[:SHOWN]
