# SPDX-License-Identifier: Apache-2.0
"""Programs are asked for their state over a real bus, and answer."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import missiond
from missiond import MoveRequest
from missiond.bus.variants import variant
from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER
from missiond.client._continuable import ContinuableMission, OnMove
from missiond.common import blocking_io
from missiond.daemon.handover.state_requests import INLINE_MAX, Outcome, StateAnswer
from missiond.errors import ContinueInProgress, InvalidParameter
from standins.clients.bus_signals import call, signals

from .test_missions import Service, service

__all__ = ["service"]
DEVICE = "d" * 64
FILE_MAX = 200 * 1024


async def asked(service: Service, mission_id: int, seconds: float = 5, continuation: int = 1) -> StateAnswer:
    mission = service.agent.table.find(mission_id)
    want = {"why": variant("s", "just so")}
    return await service.requests.ask(mission, continuation, DEVICE, want, seconds)


@pytest.fixture
async def mission(service: Service) -> AsyncIterator[ContinuableMission]:
    async with service.client.continuable(label="me", argv=["/bin/true"]) as mission:
        yield mission


async def test_a_program_hands_its_state_over(service: Service, mission: ContinuableMission) -> None:
    heard: list[MoveRequest] = []

    def save(request: MoveRequest) -> bytes:
        heard.append(request)
        return b"\0state\xff"

    mission.on_move = save
    assert await asked(service, mission.id) == StateAnswer(Outcome.AGREED, b"\0state\xff")
    assert heard == [MoveRequest(1, mission.id, DEVICE, {"why": "just so"})]
    assert not service.requests.wants_files


@pytest.mark.parametrize("size", [INLINE_MAX, INLINE_MAX + 1, FILE_MAX])
async def test_more_state_goes_as_a_file(service: Service, mission: ContinuableMission, size: int) -> None:
    state = os.urandom(size)
    mission.on_move = lambda _: state
    answer = await asked(service, mission.id)
    assert answer.outcome is Outcome.AGREED
    if size <= INLINE_MAX:
        assert answer.state == state
        return
    assert answer.file is not None
    assert answer.file.size == size
    assert answer.file.sha256 == hashlib.sha256(state).hexdigest()
    assert os.pread(answer.file.fd, size + 1, 0) == state
    assert os.fstat(answer.file.fd).st_nlink == 0
    answer.file.close()


async def test_a_file_of_the_program_is_copied(
    service: Service, mission: ContinuableMission, tmp_path: Path
) -> None:
    (tmp_path / "state").write_bytes(b"x" * 150_000)
    with (tmp_path / "state").open("rb") as file:
        file.seek(100)
        mission.on_move = lambda _: file
        answer = await asked(service, mission.id)
    (tmp_path / "state").write_bytes(b"other")
    assert answer.file is not None
    assert os.pread(answer.file.fd, 200_000, 0) == b"x" * 150_000
    answer.file.close()


def fails(_request: MoveRequest) -> bytes:
    raise RuntimeError("no")


async def hangs(_request: MoveRequest) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize(
    ("callback", "outcome"),
    [(lambda _: None, Outcome.REFUSED), (fails, Outcome.REFUSED), (hangs, Outcome.SILENT)],
)
async def test_no_state(
    service: Service, mission: ContinuableMission, callback: OnMove, outcome: Outcome
) -> None:
    mission.on_move = callback
    assert await asked(service, mission.id, 0.3) == StateAnswer(outcome)


async def test_a_request_waits_for_a_callback(service: Service, mission: ContinuableMission) -> None:
    async with signals(service.client, DISTRIBUTED_MISSION_MANAGER, "ContinueRequested") as requests:
        question = asyncio.ensure_future(asked(service, mission.id))
        await asyncio.wait_for(requests.get(), 5)
    mission.on_move = lambda _: b"at last"
    assert await question == StateAnswer(Outcome.AGREED, b"at last")


async def test_who_is_gone_is_not_waited_for(service: Service) -> None:
    async with missiond.connect() as other:
        number = await other.missions.register(argv=["/bin/true"], continuable=True)
        async with signals(other, DISTRIBUTED_MISSION_MANAGER, "ContinueRequested") as requests:
            question = asyncio.ensure_future(asked(service, number, 60))
            await asyncio.wait_for(requests.get(), 5)
    assert await asyncio.wait_for(question, 5) == StateAnswer(Outcome.NOBODY)
    assert await asyncio.wait_for(asked(service, number, 60), 5) == StateAnswer(Outcome.NOBODY)


async def test_nobody_to_ask(service: Service) -> None:
    only_relaunch = await service.missions.register(relaunch=True)
    assert await asked(service, only_relaunch) == StateAnswer(Outcome.NOBODY)
    await service.missions.register()
    assert await asked(service, only_relaunch) == StateAnswer(Outcome.NOBODY)


async def provide(
    client: missiond.Agent, *body: object, file: bool = False, fds: tuple[int, ...] = ()
) -> None:
    member = "ProvideContinueStateFile" if file else "ProvideContinueState"
    await call(client, DISTRIBUTED_MISSION_MANAGER, member, *body, fds=fds)


async def test_a_state_that_is_too_long_is_the_answer(service: Service, mission: ContinuableMission) -> None:
    """Nobody waits for another one, and whoever wanted it hears why."""
    async with signals(service.client, DISTRIBUTED_MISSION_MANAGER, "ContinueRequested") as requests:
        question = asyncio.ensure_future(asked(service, mission.id))
        await asyncio.wait_for(requests.get(), 5)
        long = os.memfd_create("long")
        os.ftruncate(long, FILE_MAX + 1)
        with pytest.raises(InvalidParameter, match="StateMax="):
            await provide(service.client, 1, True, 0, file=True, fds=(long,))
        os.close(long)
        answer = await asyncio.wait_for(question, 5)
        assert (answer.outcome, "StateMax=" in answer.reason) == (Outcome.REFUSED, True)
        with pytest.raises(InvalidParameter, match="does not wait"):
            await provide(service.client, 1, False, b"")


async def test_only_who_was_asked_answers_and_once(
    service: Service, mission: ContinuableMission, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameter, match="does not wait"):
        await provide(service.client, 1, True, b"")
    async with signals(service.client, DISTRIBUTED_MISSION_MANAGER, "ContinueRequested") as requests:
        question = asyncio.ensure_future(asked(service, mission.id))
        assert (await asyncio.wait_for(requests.get(), 5))[0] == 1
        with pytest.raises(ContinueInProgress):
            await asked(service, mission.id)
        async with missiond.connect() as other:
            with pytest.raises(InvalidParameter, match="answer of yours"):
                await provide(other, 1, True, b"mine")
            with pytest.raises(InvalidParameter, match="answer of yours"):
                await provide(other, 1, True, 0, file=True, fds=(0,))
        with pytest.raises(InvalidParameter, match="longer than 102400"):
            await provide(service.client, 1, True, b"x" * (INLINE_MAX + 1))
        read, write = os.pipe()
        closed = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
        directory = os.open(tmp_path, os.O_RDONLY)
        for fd, said in (
            (read, "regular file"),
            (directory, "regular file"),
            (closed, "open it for reading"),
        ):
            with pytest.raises(InvalidParameter, match=said):
                await provide(service.client, 1, True, 0, file=True, fds=(fd,))
            os.close(fd)
        os.close(write)
        with pytest.raises(InvalidParameter, match="no file with the call"):
            await provide(service.client, 1, True, 0, file=True)
        assert not question.done()
        await provide(service.client, 1, True, b"at last")
        assert await question == StateAnswer(Outcome.AGREED, b"at last")
        with pytest.raises(InvalidParameter, match="does not wait"):
            await provide(service.client, 1, True, b"again")
    for thread in list(blocking_io._under_way):
        await asyncio.to_thread(thread.join, 5)
