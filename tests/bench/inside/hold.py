# SPDX-License-Identifier: Apache-2.0
"""Holds many continuous tasks until its input ends: hold COUNT.  Prints "held" once all are there."""

from __future__ import annotations

import sys

from bench.inside.sdbus import TASKS, Bus

bus = Bus()
for index in range(int(sys.argv[1])):
    options = (1, b"context", b"s", b"context-%d" % index)
    bus.call(TASKS, b"StartBackgroundRunning", b"asa{sv}", 1, b"dataTransfer", *options)
print("held", flush=True)
sys.stdin.read()
