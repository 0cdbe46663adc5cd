# SPDX-License-Identifier: Apache-2.0
"""Programs are asked for their state over a real bus, and answer."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from missiond.agent.continue_requests import INLINE_MAX, Answer, Outcome
from missiond.bus import aside
from missiond.bus.values import variant
from missiond.client import Client
from missiond.client_continue import Callback, ContinueRequest, Mission
from missiond.errors import ContinueInProgress, InvalidParameter
from missiond.service.names import DISTRIBUTED_MISSION_MANAGER

from .test_missions import Service, service

__all__ = ["service"]
DEVICE = "d" * 64
FILE_MAX = 200 * 1024


async def asked(service: Service, mission_id: int, seconds: float = 5, continuation: int = 1) -> Answer:
    mission = service.agent.table.find(mission_id)
    want = {"why": variant("s", "just so")}
    return await service.requests.ask(mission, continuation, DEVICE, want, seconds)


@pytest.fixture
async def mission(service: Service) -> Mission:
    return await Mission.register(service.client, label="me", argv=["/bin/true"])


async def test_a_program_hands_its_state_over(service: Service, mission: Mission) -> None:
    heard: list[ContinueRequest] = []

    def save(request: ContinueRequest) -> bytes:
        heard.append(request)
        return b"\0state\xff"

    async with mission.on_continue(save):
        assert await asked(service, mission.id) == Answer(Outcome.AGREED, b"\0state\xff")
    assert heard == [ContinueRequest(1, mission.id, DEVICE, {"why": "just so"})]
    assert not service.requests.wants_files


@pytest.mark.parametrize("size", [INLINE_MAX, INLINE_MAX + 1, FILE_MAX])
async def test_more_state_goes_as_a_file(service: Service, mission: Mission, size: int) -> None:
    state = os.urandom(size)
    async with mission.on_continue(lambda _: state):
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


async def test_a_file_of_the_program_is_copied(service: Service, mission: Mission, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"x" * 150_000)
    with (tmp_path / "state").open("rb") as file:
        file.seek(100)
        async with mission.on_continue(lambda _: file):
            answer = await asked(service, mission.id)
    (tmp_path / "state").write_bytes(b"other")
    assert answer.file is not None
    assert os.pread(answer.file.fd, 200_000, 0) == b"x" * 150_000
    answer.file.close()


def fails(_request: ContinueRequest) -> bytes:
    raise RuntimeError("no")


async def hangs(_request: ContinueRequest) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize(
    ("callback", "outcome"),
    [(lambda _: None, Outcome.REFUSED), (fails, Outcome.REFUSED), (hangs, Outcome.SILENT)],
)
async def test_no_state(service: Service, mission: Mission, callback: Callback, outcome: Outcome) -> None:
    async with mission.on_continue(callback):
        assert await asked(service, mission.id, 0.3) == Answer(outcome)


async def test_who_is_gone_is_not_waited_for(service: Service) -> None:
    async with Client() as other:
        mission = await Mission.register(other, argv=["/bin/true"])
        async with other.signals("ContinueRequested", DISTRIBUTED_MISSION_MANAGER) as requests:
            question = asyncio.ensure_future(asked(service, mission.id, 60))
            await asyncio.wait_for(anext(requests), 5)
    assert await asyncio.wait_for(question, 5) == Answer(Outcome.NOBODY)
    assert await asyncio.wait_for(asked(service, mission.id, 60), 5) == Answer(Outcome.NOBODY)


async def test_nobody_to_ask(service: Service) -> None:
    only_relaunch = await service.missions.register(relaunch=True)
    assert await asked(service, only_relaunch) == Answer(Outcome.NOBODY)
    await service.missions.register()
    assert await asked(service, only_relaunch) == Answer(Outcome.NOBODY)


async def provide(client: Client, *body: object, file: bool = False, fds: tuple[int, ...] = ()) -> None:
    member, signature = ("ProvideContinueStateFile", "ubh") if file else ("ProvideContinueState", "ubay")
    await client.manage(DISTRIBUTED_MISSION_MANAGER, member, signature, body, fds=fds)


async def test_only_who_was_asked_answers_and_once(
    service: Service, mission: Mission, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameter, match="does not wait"):
        await provide(service.client, 1, True, b"")
    async with service.client.signals("ContinueRequested", DISTRIBUTED_MISSION_MANAGER) as requests:
        question = asyncio.ensure_future(asked(service, mission.id))
        assert (await asyncio.wait_for(anext(requests), 5))[0] == 1
        with pytest.raises(ContinueInProgress):
            await asked(service, mission.id)
        async with Client() as other:
            with pytest.raises(InvalidParameter, match="answer of yours"):
                await provide(other, 1, True, b"mine")
            with pytest.raises(InvalidParameter, match="answer of yours"):
                await provide(other, 1, True, 0, file=True, fds=(0,))
        with pytest.raises(InvalidParameter, match="longer than 102400"):
            await provide(service.client, 1, True, b"x" * (INLINE_MAX + 1))
        read, write = os.pipe()
        closed = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
        long = os.memfd_create("long")
        os.ftruncate(long, FILE_MAX + 1)
        directory = os.open(tmp_path, os.O_RDONLY)
        for fd, said in (
            (read, "regular file"),
            (directory, "regular file"),
            (closed, "open it for reading"),
            (long, "StateMax="),
        ):
            with pytest.raises(InvalidParameter, match=said):
                await provide(service.client, 1, True, 0, file=True, fds=(fd,))
            os.close(fd)
        os.close(write)
        with pytest.raises(InvalidParameter, match="no file with the call"):
            await provide(service.client, 1, True, 0, file=True)
        assert not question.done()
        await provide(service.client, 1, True, b"at last")
        assert await question == Answer(Outcome.AGREED, b"at last")
        with pytest.raises(InvalidParameter, match="does not wait"):
            await provide(service.client, 1, True, b"again")
    for thread in list(aside._under_way):
        await asyncio.to_thread(thread.join, 5)
