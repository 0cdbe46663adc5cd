# SPDX-License-Identifier: Apache-2.0
"""Files that are made of the sources: completions, manual pages, the sample of the settings."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def generated() -> Path:
    """Make them once, and return their directory."""
    directory = tempfile.mkdtemp(prefix="missiond-generated-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    subprocess.run(
        [ROOT / "packaging/lib/generate", directory],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    return Path(directory)


def manual(name: str) -> str:
    """Return the text of a manual page."""
    made = generated() / "man" / name
    return (made if made.exists() else ROOT / "packaging/man" / name).read_text(encoding="utf-8")
