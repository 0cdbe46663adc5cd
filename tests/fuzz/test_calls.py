# SPDX-License-Identifier: Apache-2.0
"""Everything in the shipped XML called with everything: each call is answered, and nothing is left behind.

MISSIOND_FUZZ_CALLS says how many calls are made.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.calls import Call, calls
from fuzz.world import World, world_on
from standins.worlds.scene import KEEP, OTHERS

pytestmark = pytest.mark.slow

CALLS = int(os.environ.get("MISSIOND_FUZZ_CALLS", "5000"))
BATCH = 50
"""Sequences, after which it is looked whether everything is as it was."""
GROWTH = 8 * 1024
"""KiB that caches with a limit may add to what the first sequences left."""


def batch(runner: asyncio.Runner, world: World, most: int) -> None:
    """Play some sequences; what fails is made as small as it gets."""

    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(calls(), min_size=5, max_size=60),
        st.booleans(),
        st.sampled_from([set(), {KEEP}, {KEEP}, {KEEP, OTHERS}]),
    )
    def play(sequence: list[Call], pipelined: bool, allowed: set[str]) -> None:
        world.scene.polkit.allowed = set(allowed)
        runner.run(world.play(sequence, pipelined=pipelined))

    play()
    world.check()


@pytest.mark.timeout(120 + CALLS // 50)
def test_calls_of_every_kind(system_bus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        scene = world_on(system_bus, tmp_path)
        world = runner.run(scene.__aenter__())
        try:
            batch(runner, world, BATCH)
            before = world.held()
            while world.calls < CALLS:
                batch(runner, world, BATCH)
            after = world.held()
            with capsys.disabled():
                print(
                    f"\n{world.calls} calls, {world.refused} refused; fds {before.fds} -> {after.fds},"
                    f" RSS {before.kilobytes} -> {after.kilobytes} KiB"
                )
            assert after.fds == before.fds
            assert after.kilobytes - before.kilobytes < GROWTH
            world.process.send(signal.SIGTERM)
            assert runner.run(world.process.exited()) == 0
        finally:
            runner.run(scene.__aexit__(None, None, None))
