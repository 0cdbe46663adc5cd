# SPDX-License-Identifier: Apache-2.0
"""Ids of no device, of this one, and of devices that are not trusted, whatever is wanted of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from missiond.errors import InvalidParameter
from standins.agents.peer_units import Commands, places

STRANGER = "ab" * 32
CALLS: dict[str, Callable[[Commands, str], Any]] = {
    "request_pairing": lambda commands, device: commands.request_pairing(device),
    "confirm_pairing": lambda commands, device: commands.confirm_pairing(device, True),
    "unpair": lambda commands, device: commands.unpair(device),
    "set_peer_permissions": lambda commands, device: commands.set_peer_permissions(device, ["sync"]),
    "start_sync": lambda commands, device: commands.start_sync(device, True, 0),
    "stop_sync": lambda commands, device: commands.stop_sync(device),
    "missions": lambda commands, device: commands.missions(device, 1),
    "mission_info": lambda commands, device: commands.mission_info(device, 1),
    "mission_snapshot": lambda commands, device: commands.mission_snapshot(device, 1),
    "watch_snapshots": lambda commands, device: commands.watch_snapshots(device, True),
}
"""All that takes a device; trust_device takes one that nobody knows."""


async def ask(commands: Commands, name: str, device: str) -> None:
    """Call it to its end."""
    answer = CALLS[name](commands, device)
    if inspect.isawaitable(answer):
        await answer


@pytest.mark.parametrize("name", CALLS)
async def test_no_call_takes_them(tmp_path: Path, name: str) -> None:
    async with places(tmp_path, "alpha") as [one]:
        one.unit.found(STRANGER, "test", ["127.0.0.1"], 9)
        # one that was found may be asked to pair, and that alone
        known = STRANGER if name != "request_pairing" else "cd" * 32
        for wrong in ("", "x", STRANGER[:-1], STRANGER + "a", STRANGER.upper(), "g" * 64, one.id, known):
            with pytest.raises(InvalidParameter):
                await ask(one.commands, name, wrong)
        assert one.unit.subscriptions.load() == {}
        assert list(one.unit.trust) == []


async def test_ids_are_checked(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        stranger = "ab" * 32
        for bad in ("", "x", stranger.upper(), stranger[:-1], one.id):
            with pytest.raises(InvalidParameter):
                one.commands.trust_device(bad, {})
            with pytest.raises(InvalidParameter):
                await one.commands.request_pairing(bad)
        for wrong in ("", "host", "host:0", "host:99999", "::1:5", "[::1]", "a b:1", "-x:1"):
            with pytest.raises(InvalidParameter, match="address"):
                one.commands.trust_device(stranger, {"address": wrong or "x"})
        for call in (one.commands.unpair, one.commands.stop_sync):
            with pytest.raises(InvalidParameter, match="not paired"):
                call(stranger)
        with pytest.raises(InvalidParameter, match="no such device"):
            await one.commands.request_pairing(stranger)
        with pytest.raises(InvalidParameter, match="no pairing"):
            one.commands.confirm_pairing(stranger, True)
