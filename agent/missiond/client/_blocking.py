# SPDX-License-Identifier: Apache-2.0
"""Agent for programs without an event loop: every object of the client with blocking methods."""

# ruff: noqa: ANN401 (a face has whatever the object behind it has)

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any

from missiond.client._blocks import BlockingDelay, BlockingTask
from missiond.client._missions import Changes, MissionDetails, MissionInfo, Missions
from missiond.client._moves import Move, MoveInfo
from missiond.client._peers import PeerInfo, Peers
from missiond.client._task_infos import DelayInfo, TaskInfo
from missiond.client._tasks import Delay, Task

if TYPE_CHECKING:
    from missiond.client._agent import Agent
    from missiond.client._loop import Loop

_OBJECTS = (
    Changes, DelayInfo, MissionDetails, MissionInfo, Missions, Move, MoveInfo, PeerInfo, Peers, TaskInfo,
)  # fmt: skip
"""Classes of results that have coroutines, or hold objects that have."""
_NEEDS_LOOP = ("continuable", "on_move")
_END = object()


class BlockingObject:
    """Blocking face of an object of the client: coroutines return, `for` and `with` need no `async`."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self._inner).__name__!r} object has no attribute {name!r}")
        if name in _NEEDS_LOOP:
            raise AttributeError(f"{name} needs an event loop; use `async with missiond.connect()`")
        return blocking(self._loop, getattr(self._inner, name))

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._inner, name, value)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _caller(self._loop, self._inner.__call__)(*arguments, **options)

    def __iter__(self) -> Iterator[Any]:
        items: AsyncIterator[Any] = aiter(self._inner)
        if inspect.isasyncgen(items):
            self._loop.reads(items)
        try:
            while (item := self._loop.run(partial(_next, items))) is not _END:
                yield blocking(self._loop, item)
        finally:
            if inspect.isasyncgen(items) and self._loop.may_wait:  # else asyncio closes it
                self._loop.run(partial(_run, items.aclose), cancels=False)

    def __enter__(self) -> Any:
        return blocking(self._loop, self._loop.run(partial(_run, self._inner.__aenter__)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(partial(_run, self._inner.__aexit__, kind, error, trace), cancels=False)

    @property  # type: ignore[misc] # as unittest.mock has it, for isinstance()
    def __class__(self) -> Any:
        return type(self._inner)

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._inner) if name not in _NEEDS_LOOP]

    def __repr__(self) -> str:
        return repr(self._inner)

    def __eq__(self, other: object) -> bool:
        return bool(self._inner == inner_of(other))

    def __hash__(self) -> int:
        return hash(self._inner)


class BlockingAgent(BlockingObject):
    """Connection to the agent without an event loop; `with missiond.connect() as agent` makes one.

        with missiond.connect() as agent:
            with agent.keep_awake("nightly copy", mode="data-transfer") as task:
                task.progress = 50
            for mission in agent.missions():
                print(mission.label, mission.started)

    Everything is as in Agent, without `await`, and without `async` in front of `with` and `for`; only
    events of a task and a program that can move need an event loop. Any thread may call. An exception of a
    signal handler ends the call.
    """

    def __init__(self, loop: Loop, inner: Agent) -> None:
        super().__init__(loop, inner)

    def open(self) -> None:
        """Connect; raises Unreachable."""
        try:
            self._loop.run(partial(_run, self._inner.__aenter__))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect and end tasks without `pid`; nothing happens in a fork."""
        if not self._loop.is_copy:
            try:
                self._loop.run(partial(_run, self._inner.__aexit__, None, None, None), cancels=False)
            finally:
                self._loop.close()


def blocking(loop: Loop, value: Any) -> Any:
    """Return the blocking face of an object of the client; other values unchanged."""
    if isinstance(value, list):
        return [blocking(loop, each) for each in value]
    if inspect.ismethod(value):
        return _caller(loop, value)
    if isinstance(value, _OBJECTS) or inspect.isasyncgen(value) or hasattr(value, "__aenter__"):
        return BlockingObject(loop, value)
    if isinstance(value, Task | Delay):
        return BlockingTask(loop, value) if isinstance(value, Task) else BlockingDelay(loop, value)
    return value


def inner_of(value: Any) -> Any:
    """Return the object behind a blocking face; other values unchanged."""
    return object.__getattribute__(value, "_inner") if issubclass(type(value), BlockingObject) else value


def _caller(loop: Loop, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function, assigned=("__doc__", "__name__"), updated=())
    def call(*arguments: Any, **options: Any) -> Any:
        given = {name: inner_of(value) for name, value in options.items()}
        called = partial(function, *map(inner_of, arguments), **given)
        return blocking(loop, loop.run(called) if inspect.iscoroutinefunction(function) else called())

    return call


async def _run(function: Callable[..., Any], *arguments: Any) -> Any:
    return await function(*arguments)


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)
