# SPDX-License-Identifier: Apache-2.0
"""Times how long a command runs: spawn COUNT COMMAND...  Prints nanoseconds as JSON."""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter_ns

times = []
for _ in range(int(sys.argv[1])):
    begun = perf_counter_ns()
    pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status = os.waitpid(pid, 0)
    times.append(perf_counter_ns() - begun)
    if status != 0:
        sys.exit(f"{sys.argv[2:]} failed")
print(json.dumps(times))
