# SPDX-License-Identifier: Apache-2.0
"""Hand-overs as people name them: by the beginning of an id."""

from __future__ import annotations

from collections.abc import Sequence

import missiond
from missiond.cli.exit_codes import CommandError, Exit


def find(in_flight: Sequence[missiond.MoveInfo], word: str) -> missiond.MoveInfo:
    """Return the one that is meant; raises CommandError where none is, or several are."""
    found = [each for each in in_flight if each.transfer.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(Exit.USAGE, f"{len(found)} transfers begin with {word}; say more of it")
    raise CommandError(
        Exit.NOT_FOUND, f"nothing in flight begins with {word}; `missionctl in-flight` lists what is"
    )
