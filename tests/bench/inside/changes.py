# SPDX-License-Identifier: Apache-2.0
"""Starts and ends jobs, each a mission: changes COUNT SECONDS.  Both are changes, that long apart.

Prints "begun", then as JSON when each was made (ns of CLOCK_MONOTONIC, which containers share).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

COMMAND = ["sleep", "600"]


def main() -> None:
    """Make them."""
    count, pause = int(sys.argv[1]), float(sys.argv[2])
    made = []
    print("begun", flush=True)
    for _ in range(count // 2):
        time.sleep(pause)
        made.append(time.monotonic_ns())
        pid = os.posix_spawnp(COMMAND[0], COMMAND, os.environ, setpgroup=0)
        time.sleep(pause)
        made.append(time.monotonic_ns())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    time.sleep(pause)
    print(json.dumps(made), flush=True)


main()
