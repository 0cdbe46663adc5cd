# SPDX-License-Identifier: Apache-2.0
"""The working directory by a shell's name, links on the way included."""

from __future__ import annotations

import os
from collections.abc import Mapping

_MOVES = {"", ".", ".."}


def working_directory(environment: Mapping[str, str] | None = None) -> str:
    """Return $PWD where right, else the kernel's name (POSIX, pwd -L); raises OSError.

    Hosts on which a name leads elsewhere, such as a home on another disk, have only this name in common.
    """
    given = (os.environ if environment is None else environment).get("PWD", "")
    if given.startswith("/") and not _MOVES & set(given[1:].split("/")):
        try:
            if os.path.samefile(given, os.curdir):  # noqa: PTH121 (as the kernel resolves it)
                return given
        except (OSError, ValueError):  # not there any more, or not to be entered from above
            pass
    return os.getcwd()  # noqa: PTH109 (as text that is not made over)
