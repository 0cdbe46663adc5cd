# SPDX-License-Identifier: Apache-2.0
"""`python3 -m missiond.cli.url_quote COMMAND...`: execution of a URL-quoted command.

For service managers that can't keep some characters as they are.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import quote_from_bytes, unquote_to_bytes


def quote(argument: str) -> str:
    """Letters, digits and a few signs only."""
    return quote_from_bytes(os.fsencode(argument))


if __name__ == "__main__":
    words = [unquote_to_bytes(word) for word in sys.argv[1:]]
    os.execv(words[0], words)  # noqa: S606 - what it is for
