# SPDX-License-Identifier: Apache-2.0
"""Suspended tasks that become active again while the agent ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.core.power.believed import CONFIRM
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.owner import App, Owner
from missiond.daemon.tasks.continuous import TaskRequest
from standins.worlds.lease_world import World

OWNER = Owner(1, 1, App(1000, "app"), None, None)
KILL = pytest.mark.parametrize("kill", [False, True])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.boot()
    yield made
    await made.end()


def charge(world: World, percent: float) -> None:
    """Have so much in the battery, and the agent believe it."""
    world.supply.percent = percent
    world.power.look()
    while world.power.power.look_again is not None:
        world.clock.advance(CONFIRM)
        world.power.look()


async def activating(world: World) -> ContinuousTask:
    """A task that waits for logind to be active again."""
    task = await world.running.start((BackgroundMode.VOIP,), OWNER, OWNER.app, TaskRequest())
    charge(world, 3)
    assert world.bus.suspended == {task.id}
    world.logind.gate = asyncio.Event()
    charge(world, 90)
    assert world.bus.suspended == {task.id}
    return task


async def restart(world: World, *, kill: bool) -> None:
    await (world.kill() if kill else world.terminate())


@KILL
async def test_the_next_run_tells_that_it_is_active(world: World, kill: bool) -> None:
    task = await activating(world)
    await restart(world, kill=kill)
    assert world.bus.suspended == {task.id}
    await world.calm()
    assert world.bus.suspended == set()
    assert [spec.why for spec in world.logind.held()] == [task.lock.why]
    world.bus.suspended.add(task.id)
    await restart(world, kill=kill)
    await world.calm()
    assert world.bus.suspended == {task.id}  # told once: what was told by then is told by no later run


@KILL
async def test_it_may_be_suspended_again_before(world: World, kill: bool) -> None:
    task = await activating(world)
    charge(world, 3)
    await restart(world, kill=kill)
    await world.calm()
    assert world.bus.suspended == {task.id}
    assert world.logind.held() == []
    charge(world, 90)
    await world.calm()
    assert world.bus.suspended == set()


@KILL
async def test_the_next_run_may_suspend_it_before(world: World, kill: bool) -> None:
    task = await activating(world)
    await restart(world, kill=kill)
    charge(world, 3)
    await world.calm()
    assert world.bus.suspended == {task.id}
    assert world.logind.held() == []
