# SPDX-License-Identifier: Apache-2.0
"""State files of every kind, cut, of other versions, and with every value replaced: the agent serves.

All variants of one kind lie side by side under ids of their own: one start meets all of them.
"""

from __future__ import annotations

import copy
import errno
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from missiond import bus_names
from missiond.store import safe_files
from missiond.store.record_store import RecordStore
from standins.clients.agent_client import agent_client, options
from standins.programs.running import running
from standins.worlds.scene import Scene

pytestmark = pytest.mark.slow

Record = dict[str, Any]
MISSIONS = bus_names.DISTRIBUTED_MISSION_MANAGER
RESTART: Record = {"manager": 1000, "service": "x.service", "cgroup": "/x.service", "changed": False}
PROTECTION: Record = {
    "pid": 1, "start_ticks": 2, "uid": 1000, "since": 3, "cgroup": "/a", "mark": [1, "/a"],
    "home": [2, "/user.slice/user-1000.slice/session-1.scope"], "processes": [[7, 8, 500, 300]],
}  # fmt: skip
PEER_LISTENER: Record = {"bus": "x", "devices": {"aa" * 32: [":1.1"]}}
KINDS = ("transient", "continuous", "mission", "listener", "peer-listener", "restart", "protection")
_NUMBERS = (0, -1, 1.5, 2**31, 2**32, 2**42, 2**42 + 1, 2**63, 2**70, -(2**70))
ODD: tuple[Any, ...] = (None, True, *_NUMBERS, "", "x", "\0", "\udc80", [], [1], [[]], {}, {"a": 1})
FIRST = 1000
VERSIONS: tuple[Any, ...] = (0, 2, 999, -1, "1", None, True, 1.0)


def odd_ones(record: Record) -> Iterator[Record]:
    """Copies in each of which one value, however deep, is missing or another."""
    for path in places(record):
        for value in (..., *ODD):
            changed = copy.deepcopy(record)
            *way, last = path
            inner: Any = changed
            for step in way:
                inner = inner[step]
            if value is ...:
                del inner[last]
            else:
                inner[last] = value
            yield changed
        if isinstance(path[-1], str):
            for key in ("", "x", "\0", ":\udc80", ":1", "bus"):
                changed = copy.deepcopy(record)
                inner = changed
                for step in way:
                    inner = inner[step]
                inner[key] = inner.pop(last)
                yield changed


def places(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are values in it."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for key, each in inner:
        yield (*way, key)
        yield from places(each, (*way, key))


@pytest.fixture
async def samples(scene: Scene) -> AsyncIterator[dict[str, Record]]:
    """A record of each kind, of an agent that was killed with live tasks; none is left in the directories."""
    with running() as pid:
        await scene.start()
        async with agent_client(scene.address) as client:
            await client.call("RequestSuspendDelay", "kept", options(pid=pid), signature="sa{sv}")
            await client.call(
                "StartBackgroundRunning", ["voip"], options(pid=pid, context="x"), signature="asa{sv}"
            )
            for member, body in (("RegisterMission", options(pid=pid)), ("RegisterMissionListener", "")):
                signature = "s" if body == "" else "a{sv}"
                await client.call(member, body, interface=MISSIONS, signature=signature)
            await scene.stop()
        found = {"restart": RESTART, "protection": PROTECTION, "peer-listener": PEER_LISTENER}
        for kind in KINDS[:4]:
            (name, *_) = scene.files(kind)
            found[kind] = json.loads((scene.runtime / kind / name).read_text())
        for file in list(scene.runtime.glob("*/*")):
            file.unlink()
        (scene.runtime / "counters").unlink()
        yield found


def write(place: Path, contents: list[bytes]) -> None:
    place.mkdir(mode=0o700, exist_ok=True)
    for number, content in enumerate(contents, FIRST):
        (place / str(number)).write_bytes(content)


async def serves(scene: Scene, caplog: pytest.LogCaptureFixture) -> int:
    """Start it, have it grant something, end it; return the id."""
    caplog.clear()
    await scene.start()
    async with agent_client(scene.address) as client:
        number, _ = await client.request()
        await client.objects()
        for member, body in (("GetMissionInfos", ("", 1000)),):
            await client.call(member, *body, interface=MISSIONS, signature="su")
        await client.call("GetAllContinuousTasks", True, signature="b")
        await client.call("CancelSuspendDelay", number)
    assert await scene.stop() == 0
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == []
    return int(number)


def errors(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    found = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    return [message for message in found if f"saved {kind} task" in message]


@pytest.mark.parametrize("kind", KINDS)
async def test_cut_at_any_length_and_of_other_versions(
    scene: Scene, samples: dict[str, Record], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    whole = json.dumps({"version": 1, **samples[kind]}, separators=(",", ":")).encode()
    cut = [whole[:length] for length in range(len(whole))]
    others = [json.dumps({**samples[kind], "version": version}).encode() for version in VERSIONS]
    write(scene.runtime / kind, [*cut, *others])
    await serves(scene, caplog)
    assert len(errors(caplog, kind)) == len(cut) + len(others)
    aside = scene.runtime / kind
    for number, content in enumerate([*cut, *others], FIRST):
        assert (aside / f"{number}.invalid").read_bytes() == content
    await serves(scene, caplog)
    assert errors(caplog, kind) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_every_value_replaced(
    scene: Scene, samples: dict[str, Record], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    variants = [record for record in odd_ones(samples[kind]) if record.get("version", 1) == 1]
    write(scene.runtime / kind, [json.dumps({"version": 1, **record}).encode() for record in variants])
    number = await serves(scene, caplog)
    if kind == "transient":
        assert number == FIRST + len(variants)
    await serves(scene, caplog)
    assert errors(caplog, kind) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_what_makes_no_sense_and_can_not_be_taken_away(
    scene: Scene,
    samples: dict[str, Record],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def refuse(*_arguments: object, **_named: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    write(scene.runtime / kind, [b"", b'{"version":1}', b'{"version":2}'])
    write(
        scene.runtime / kind,
        [json.dumps({"version": 1, **each}).encode() for each in odd_ones(samples[kind])],
    )
    monkeypatch.setattr(safe_files, "set_aside", refuse)
    monkeypatch.setattr(RecordStore, "remove", refuse)
    await serves(scene, caplog)
