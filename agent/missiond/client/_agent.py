# SPDX-License-Identifier: Apache-2.0
"""The agent, for programs with an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from missiond.bus import standard
from missiond.bus.library import Variant
from missiond.bus.variants import to_variants, variant
from missiond.bus_names import BACKGROUND_TASK_MANAGER, MANAGER, MANAGER_PATH
from missiond.client import _moves
from missiond.client._bus import PATIENCE, TIMEOUT, AgentBus, ConnectionSettings
from missiond.client._continuable import ContinuableMission, OnMove
from missiond.client._errors import warn
from missiond.client._events import TaskEvents
from missiond.client._loop import Loop
from missiond.client._missions import Description, MissionInfo, OwnMissions
from missiond.client._moves import Move, MoveInfo
from missiond.client._peers import PeerInfo, Peers, ThisDevice, find_peer
from missiond.client._task_infos import DelayInfo, TaskInfo, live_tasks
from missiond.client._tasks import Delay, Held, Starting, Task
from missiond.client._types import (
    AgentStatus,
    BatteryStatus,
    Inhibit,
    KeepAlive,
    Mode,
    Modes,
    QuotaInfo,
    Span,
    milliseconds,
    mode_names,
)
from missiond.errors import Error, Invalid, NotSystemApp

if TYPE_CHECKING:
    from missiond.client._blocking import BlockingAgent

_WANT_TYPES = {"uris": "as", "object-path": "o"}


def connect(
    *,
    session: bool = False,
    interactive: bool = False,
    on_denial: Callable[[], Awaitable[bool]] | None = None,
    timeout: float = TIMEOUT,
    patience: float = PATIENCE,
) -> Agent:
    """Return a connection to the agent, for `async with` or `with`, once; raises Unreachable there.

    `session`: the agent on the session bus. `interactive`: polkit may ask the user for a password.
    `on_denial` is awaited where polkit denies a call; where it returns True the call is made again, and
    polkit may ask then. `timeout`: seconds for an answer that polkit does not wait for. `patience`: seconds
    after which a call without an answer is given up where the agent does not even answer Ping.
    """
    return Agent(
        ConnectionSettings(
            session=session, interactive=interactive, on_denial=on_denial, timeout=timeout, patience=patience
        )
    )


class Agent:
    """Connection to the agent; tasks without `pid` end with the connection.

        async with missiond.connect() as agent:
            async with agent.keep_awake("nightly copy", mode=missiond.Mode.DATA_TRANSFER) as task:
                async for event in task.events():  # Suspended, Resumed, GivenUp, Ended
                    print(event)
            for mission in await agent.missions():
                print(mission.label, mission.started)
            laptop = await agent.peer("laptop")  # its name, id, or the beginning of that
            print(await laptop.missions())

    Every method raises an Error: Unreachable without an agent, else the one that stands for its answer. A
    restart of the agent is no end: tasks, watches and registrations continue.
    """

    def __init__(self, settings: ConnectionSettings | None = None, *, listens: bool = True) -> None:
        """Prepare a connection; `listens`: False for a program without events."""
        self._bus = AgentBus(settings or ConnectionSettings())
        self._events = TaskEvents(self._bus, listens=listens)
        self._blocking: BlockingAgent | None = None

    def __repr__(self) -> str:
        state = "connected" if self._bus.is_open else "not connected"
        return f"<missiond.Agent on the {self._bus.settings.bus}, {state}>"

    async def __aenter__(self) -> Agent:
        await self._bus.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bus.close()

    def __enter__(self) -> BlockingAgent:
        from missiond.client._blocking import BlockingAgent  # noqa: PLC0415 (which imports this module)

        if self._blocking is not None:
            raise RuntimeError("a connection is entered once; call `missiond.connect()` again")
        self._blocking = BlockingAgent(Loop(), Agent(self._bus.settings, listens=False))
        self._blocking.open()
        return self._blocking

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._blocking is not None:
            self._blocking.close()

    @property
    def interactive(self) -> bool:
        """Whether polkit may ask the user for a password, from the next call on."""
        return self._bus.interactive

    @interactive.setter
    def interactive(self, may: bool) -> None:
        self._bus.interactive = may

    async def may_unasked(self, action: str) -> bool:
        """Ask polkit whether this connection may do an action without a password; False without an answer."""
        return await self._bus.may_unasked(action)

    # --- tasks

    def keep_awake(
        self,
        reason: str = "",
        *,
        mode: Modes = Mode.TASK_KEEPING,
        at_most: Span | None = None,
        context: str | None = None,
        pid: int | None = None,
        keep_alive: KeepAlive | None = None,
        text: str | None = None,
        inhibit: Inhibit | Iterable[Inhibit] = (),
        on_click: Mapping[str, Any] | None = None,
        required: bool = True,
    ) -> Starting[Task]:
        """Keep the host awake while something works: `async with agent.keep_awake("copy") as task`.

        `reason` and `text` are for lists and the notification, `mode` is what is being done. It ends with the
        block, with this process, or after `at_most` (a second to a week). `context` tells several tasks of
        one application apart; by default each is one of its own. `pid` is the process that it belongs to.
        `keep_alive` is protect (default: its processes are kept when memory runs out, frozen or logged out),
        restart or none. `inhibit` is locked beside what the modes lock. `on_click` is what a click on the
        notification does: plain values under the keys of the option `want-agent`, such as `{"uri":
        "https://example.org"}`.

        Raises Invalid, Denied, Refused (too many, battery critical), NotFound (no such process), Unreachable;
        with `required=False` what is no mistake of the program's is one warning (NotKeptAwake), and the block
        runs without.
        """
        options = {
            "title": reason or None,
            "text": text,
            "time_out": None if at_most is None else milliseconds(at_most),
            "pid": pid,
            "keep_alive": keep_alive,
            "inhibit": ([inhibit] if isinstance(inhibit, str) else [*inhibit]) or None,
            "want_agent": None if on_click is None else _want(on_click),
        }
        names = mode_names(mode)

        async def start() -> Task:
            whose = self._bus.unique() if context is None else context
            chosen = self._bus.options(
                BACKGROUND_TASK_MANAGER, "StartBackgroundRunning", {**options, "context": whose}
            )
            async with self._events.asking():
                answer = await self._bus.call(
                    BACKGROUND_TASK_MANAGER, "StartBackgroundRunning", names, chosen
                )
                return Task(self._bus, self._events, int(answer[-1]), context=whose, pid=pid)

        return Starting(self._bus, start if required else _or_without(start, self.no_task))

    def delay_sleep(
        self,
        reason: str,
        *,
        at_most: Span | None = None,
        pid: int | None = None,
        required: bool = True,
    ) -> Starting[Delay]:
        """Keep the host awake for a while: `async with agent.delay_sleep("saving") as delay`.

        It comes out of a quota of this application.
        `at_most`: less than the agent would grant. The rest is as of `keep_awake`; Refused: the quota is used
        up, or there are too many.
        """
        options = {"pid": pid, "delay": None if at_most is None else milliseconds(at_most)}

        async def start() -> Delay:
            chosen = self._bus.options(BACKGROUND_TASK_MANAGER, "RequestSuspendDelay", options)
            async with self._events.asking():
                number, granted = await self._bus.call(
                    BACKGROUND_TASK_MANAGER, "RequestSuspendDelay", reason, chosen
                )
                return Delay(self._bus, self._events, int(number), int(granted))

        return Starting(self._bus, start if required else _or_without(start, self.no_delay))

    def no_task(self) -> Task:
        """Return a Task for a block without a task."""
        return Task(self._bus, self._events, 0)

    def no_delay(self) -> Delay:
        """Return a Delay for a block without a delay."""
        return Delay(self._bus, self._events, 0, 0)

    async def tasks(self) -> list[TaskInfo | DelayInfo]:
        """List every user's live tasks: continuous ones first, by id."""
        [objects] = await self._bus.call(standard.OBJECT_MANAGER, "GetManagedObjects", path=MANAGER_PATH)
        return live_tasks(self._bus, objects)

    async def quota(self) -> QuotaInfo:
        """Return the rest of this application's quota of delays."""
        left, delays = await self._bus.call(BACKGROUND_TASK_MANAGER, "GetTransientTaskInfo")
        return QuotaInfo(left / 1000, {number: remaining / 1000 for number, remaining in delays})

    async def remaining(self, delay: int) -> float:
        """Return the remaining seconds of a delay of this user; raises NotFound."""
        [left] = await self._bus.call(BACKGROUND_TASK_MANAGER, "GetRemainingDelayTime", delay)
        return int(left) / 1000

    # --- missions, peers, moves

    @cached_property
    def missions(self) -> OwnMissions:
        """Missions of this host: `await agent.missions()`."""
        return OwnMissions(self._bus)

    @cached_property
    def peers(self) -> Peers:
        """Other hosts: `await agent.peers()`."""
        return Peers(self._bus)

    async def peer(self, word: str) -> PeerInfo:
        """Return the peer with this name, id or beginning of an id; raises NotFound, Invalid (several)."""
        return find_peer(await self.peers(), word)

    async def this_device(self) -> ThisDevice:
        """Return this host as seen by peers."""
        return await self.peers.this_device()

    def move(
        self,
        mission: MissionInfo | int | str,
        *,
        to: PeerInfo | str | None = None,
        origin: PeerInfo | str | None = None,
        keep_source: bool = False,
        install: bool = False,
        with_tasks: bool = True,
        require_tasks: bool = False,
        want: Mapping[str, Any] | None = None,
    ) -> Move:
        """Move a mission to a peer, or from one: `async for step in agent.move(mission, to=laptop)`.

            [mission, *others] = await agent.missions()
            async for step in agent.move(mission, to=await agent.peer("laptop")):
                print(step.phase, step.done, step.size)

        `mission` is one of a list, its number, or its application. Devices are peers or their ids; left out,
        they are this host. `keep_source`: it also continues where it was. `install`: a missing program may be
        installed first. Its continuous tasks go along, as far as the target lets them: `with_tasks` False
        leaves them behind, `require_tasks` has it stay where one can't. `want` is for the new process, as
        JSON can express it.
        """
        options = {
            "keep-source": True if keep_source else None,
            "install": True if install else None,
            "with-tasks": None if with_tasks else False,
            "require-tasks": True if require_tasks else None,
            "want": want,
        }
        return _moves.move(self._bus, mission, to, origin, options)

    async def moves(self) -> list[MoveInfo]:
        """List the unfinished moves of the caller's missions."""
        return await _moves.moves(self._bus)

    def continuable(
        self, *, on_move: OnMove | None = None, **description: Unpack[Description]
    ) -> ContinuableMission:
        """Make this program movable: `async with agent.continuable(...) as mission`.

            handed = missiond.handed_state()  # None on an ordinary start
            count = int(handed.state) if handed else 0
            async with agent.continuable(label="Counter") as mission:
                mission.on_move = lambda request: str(count).encode()

        On another host it is started as it was started here, and finds its state with `handed_state()`.
        Raises as `missions.register`.
        """
        return ContinuableMission(self._bus, description, on_move)

    # --- the agent itself

    async def status(self) -> AgentStatus:
        """Return the state of the agent and of this host's power."""
        found = await self._bus.properties(MANAGER)
        percent = found["BatteryPercent"]
        return AgentStatus(
            version=found["Version"],
            degraded=tuple(found["Degraded"]),
            battery=BatteryStatus(
                present=found["BatteryPresent"],
                percent=None if percent < 0 else percent,
                on_external_power=found["OnExternalPower"],
                low=found["LowBattery"],
                critical=found.get("CriticalBattery", False),
            ),
            transient_tasks=found["TransientTasks"],
            continuous_tasks=found["ContinuousTasks"],
            suspended_tasks=found["SuspendedTasks"],
            locks_held=found["LocksHeld"],
        )

    async def reload(self) -> None:
        """Have the agent read the configuration again; uid 0 only."""
        await self._bus.call(MANAGER, "Reload")

    async def own_pid(self) -> int:
        """Return the agent's number of this process; not os.getpid() in a pid namespace."""
        return await self._bus.own_pid()


def _or_without(
    start: Callable[[], Coroutine[Any, Any, Held]], without: Callable[[], Held]
) -> Callable[[], Coroutine[Any, Any, Held]]:
    """Return a start that does without what can't be had, and says so."""

    async def begin() -> Held:
        try:
            return await start()
        except (Invalid, NotSystemApp):  # a mistake of the program's
            raise
        except Error as error:
            warn(error)
            return without()

    return begin


def _want(values: Mapping[str, Any]) -> dict[str, Variant]:
    """Wrap what a click does; `parameter` becomes the variant that JSON would have."""
    wanted = {key: value for key, value in values.items() if not isinstance(value, Variant)}
    parameter = {key: wanted.pop(key) for key in ("parameter",) if key in wanted}
    return {
        **values,
        **to_variants(parameter),
        **{key: variant(_WANT_TYPES.get(key, "s"), value) for key, value in wanted.items()},
    }
