# SPDX-License-Identifier: Apache-2.0
"""missionctl unlock."""

from __future__ import annotations

import argparse

from missiond.cli.exit_codes import Exit
from missiond.cli.verbs import lock


def main(arguments: argparse.Namespace) -> Exit:
    """Take the mark away."""
    return lock.main(arguments, locked=False)
