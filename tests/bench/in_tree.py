# SPDX-License-Identifier: Apache-2.0
"""Programs of tests/bench, run with a release's own Python and libraries."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hosts.trees import SOURCE


def figures(tree: Path, program: str, *arguments: str) -> dict[str, Any]:
    """Run bench_<program>.py as alice in a tree; return the JSON of its last line."""
    done = subprocess.run(
        [
            *(str(SOURCE / "packaging/lib/container"), "run", str(tree), f"bench-{program}-{os.getpid()}"),
            *("--user=alice", f"--bind-ro={SOURCE}:/src", "--setenv=PYTHONDONTWRITEBYTECODE=1"),
            *("--setenv=PYTHONPATH=/src/agent", "--"),
            *("python3", f"/src/tests/bench/bench_{program}.py", *arguments),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
