# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.BackgroundTaskManager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Caller, Interface
from missiond.bus.library import Variant
from missiond.bus.variants import parse_options, variant
from missiond.bus.wire.encode import encode
from missiond.core.tasks.continuous import ContinuousTask, Progress, check_modes
from missiond.core.tasks.locks import parse_inhibit, printable
from missiond.core.tasks.modes import parse_modes, slot_of
from missiond.core.tasks.owner import Owner
from missiond.core.tasks.want import Want, parse_want
from missiond.daemon.authority import Action, Authority
from missiond.daemon.tasks.continuous import TEXT_LENGTH, ContinuousTaskService, TaskRequest
from missiond.daemon.tasks.leases import Leases
from missiond.daemon.tasks.owners import Owners
from missiond.daemon.tasks.transient import TransientTaskService
from missiond.errors import ContinuousTaskVerificationFailed, InvalidParameter, PermissionDenied
from missiond.host.clocks.boottime import since_epoch
from missiond.service.task_objects import CHECK

Options = dict[str, Any]
Notification = tuple[int, int, int, int]

START_OPTIONS = {
    "context": "s",
    "pid": "u",
    "keep-alive": "s",
    "want-agent": "a{sv}",
    "title": "s",
    "text": "s",
    "inhibit": "as",
    "time-out": "u",
}

_WANT_KEYS = {
    "desktop-id": "s",
    "action": "s",
    "uris": "as",
    "uri": "s",
    "bus-name": "s",
    "object-path": "o",
}
"""The option want-agent."""


class BackgroundTaskManager(Interface):
    """Face of transient and continuous tasks: checks of callers and arguments."""

    name = bus_names.BACKGROUND_TASK_MANAGER

    def __init__(
        self,
        requests: TransientTaskService,
        running: ContinuousTaskService,
        owners: Owners,
        leases: Leases,
        authority: Authority,
    ) -> None:
        self._leases = leases
        self._requests = requests
        self._running = running
        self._owners = owners
        self._authority = authority

    async def request_suspend_delay(self, call: Call, reason: str, options: Options) -> tuple[int, int]:
        """Hold the host awake for the owner, for a while."""
        chosen = parse_options(options, {"pid": "u", "delay": "u"})
        caller = await call.caller()
        requester = self._owners.caller(caller.name, caller.pid, caller.uid)
        owner = await self._owner(call, caller, requester, chosen)
        task = await self._requests.request(owner, requester.app, reason, chosen.get("delay"))
        return task.id, task.actual_delay

    async def get_remaining_delay_time(self, call: Call, request_id: int) -> int:
        """Ms until the request expires."""
        tasks = self._requests.tasks
        return tasks.remaining(tasks.find(request_id, (await call.caller()).uid))

    async def cancel_suspend_delay(self, call: Call, request_id: int) -> None:
        """End a request."""
        self._requests.cancel(request_id, (await call.caller()).uid)

    async def get_transient_task_info(self, call: Call) -> tuple[int, list[tuple[int, int]]]:
        """Quota and live requests of the caller's application."""
        caller = await call.caller()
        app = self._owners.caller(caller.name, caller.pid, caller.uid).app
        tasks = self._requests.tasks
        live = [(task.id, tasks.remaining(task)) for task in tasks.of(app)]
        return tasks.remaining_quota(app), live

    async def start_background_running(
        self, call: Call, bg_modes: list[str], options: Options
    ) -> Notification:
        """Hold the host awake for the owner until the end of the task."""
        modes = parse_modes(bg_modes)
        chosen = parse_options(options, START_OPTIONS)
        wish = _wish(chosen, _read_want(options["want-agent"].value) if "want-agent" in options else None)
        caller = await call.caller()
        check_modes(modes, caller.uid)
        await self._may_run(call, caller)
        requester = self._owners.caller(caller.name, caller.pid, caller.uid)
        owner = await self._owner(call, caller, requester, chosen)
        if wish.want is not None and owner.uid != caller.uid:
            raise PermissionDenied("want-agent is for processes of the caller's own user; leave it out")
        await self._authority.require_locks(wish.inhibit, call, caller.uid)
        return _notification(await self._running.start(modes, owner, requester.app, wish))

    async def update_background_running(
        self, call: Call, bg_modes: list[str], options: Options
    ) -> Notification:
        """Give a task other modes."""
        modes = parse_modes(bg_modes)
        chosen = parse_options(options, {"context": "s", "pid": "u"})
        caller = await call.caller()
        check_modes(modes, caller.uid)
        await self._may_run(call, caller)
        owner = await self._own_or_named(call, caller, chosen)
        task = await self._running.update(modes, caller.uid, owner.app, chosen.get("context", ""))
        return _notification(task)

    async def stop_background_running(self, call: Call, options: Options) -> None:
        """End a task for the application."""
        chosen = parse_options(options, {"context": "s", "pid": "u"})
        owner = await self._own_or_named(call, await call.caller(), chosen)
        self._running.stop(owner.app, chosen.get("context", ""))

    async def cancel_continuous_task(self, call: Call, continuous_task_id: int) -> None:
        """End a task for the user."""
        caller = await call.caller()
        task = self._running.tasks.find(continuous_task_id)
        if task.owner.uid != caller.uid:
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
            task = self._running.tasks.find(continuous_task_id)
        self._running.cancel(task)

    async def get_all_continuous_tasks(self, call: Call, include_suspended: bool) -> list[dict[str, Any]]:
        """Live tasks of the caller's user."""
        caller = await call.caller()
        await self._may_run(call, caller)
        found = self._running.tasks.visible_to(caller.uid, suspended=include_suspended)
        return [self._describe(task) for task in found]

    async def update_data_transfer_progress(
        self, call: Call, continuous_task_id: int, progress: Options
    ) -> None:
        """How far a transfer is."""
        chosen = parse_options(progress, {"title": "s", "file-name": "s", "value": "u"})
        caller = await call.caller()
        task = self._running.tasks.find(continuous_task_id)
        if caller.uid not in (0, task.owner.uid):
            raise ContinuousTaskVerificationFailed(
                f"no live continuous task {continuous_task_id} of this user"
            )
        before = task.progress
        self._running.progress(
            task,
            Progress(
                title=printable(chosen.get("title", before.title), TEXT_LENGTH),
                file_name=printable(chosen.get("file-name", before.file_name), TEXT_LENGTH),
                value=chosen.get("value", before.value),
            ),
        )

    def _describe(self, task: ContinuousTask) -> dict[str, Any]:
        """As its user and root see it."""
        return {
            "continuous-task-id": variant("u", task.id),
            "app-id": variant("s", task.owner.app.app_id),
            "uid": variant("u", task.owner.uid),
            "pid": variant("u", task.owner.pid),
            "context": variant("s", task.context),
            "bg-modes": variant("as", [mode.item for mode in task.modes]),
            "notification-id": variant("i", task.notification_id),
            "suspended": variant("b", task.suspended),
            "suspend-reason": variant("u", task.suspend_reason),
            "what": variant("s", task.lock.what_text),
            "title": variant("s", task.title),
            "text": variant("s", task.text),
            "started": variant("t", since_epoch(task.started)),
            "deadline": variant("t", 0 if task.deadline is None else since_epoch(task.deadline)),
            "inhibit": variant("as", list(task.inhibit)),
            "missing": variant("as", self._leases.missing(task)),
            "check": variant("s", CHECK),
        }

    async def _may_run(self, call: Call, caller: Caller) -> None:
        await self._authority.require(Action.KEEP_BACKGROUND_RUNNING, call, caller.uid)

    async def _owner(self, call: Call, caller: Caller, requester: Owner, chosen: Options) -> Owner:
        """Return the process that owns a new task; another user's takes manage-others."""
        if "pid" not in chosen:
            return requester
        return await self._named(call, caller, chosen["pid"])

    async def _own_or_named(self, call: Call, caller: Caller, chosen: Options) -> Owner:
        if "pid" in chosen:
            return await self._named(call, caller, chosen["pid"])
        return self._owners.caller(caller.name, caller.pid, caller.uid)

    async def _named(self, call: Call, caller: Caller, pid: int) -> Owner:
        owner = self._owners.named(pid, caller.pid)
        if owner.uid != caller.uid:
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        return owner


def _notification(task: ContinuousTask) -> Notification:
    slot, content = slot_of(task.modes)
    return int(slot), int(content), task.notification_id, task.id


def _wish(chosen: Options, want: Want | None) -> TaskRequest:
    """Return the options of StartBackgroundRunning; raises InvalidParameter."""
    return TaskRequest(
        context=chosen.get("context", ""),
        keep_alive=chosen.get("keep-alive", "protect"),
        title=chosen.get("title", ""),
        text=chosen.get("text", ""),
        inhibit=parse_inhibit(chosen.get("inhibit", ())),
        time_out=chosen.get("time-out"),
        want=want,
    )


def _read_want(given: Mapping[str, Variant]) -> Want:
    """Return a checked want-agent; raises InvalidParameter."""
    parameter = given.get("parameter")
    try:
        plain = parse_options({key: value for key, value in given.items() if key != "parameter"}, _WANT_KEYS)
    except InvalidParameter as error:
        raise InvalidParameter(f"want-agent: {error.text}") from None
    if parameter is not None:
        plain["parameter"] = _encoded(parameter)
    return parse_want(plain)


def _encoded(parameter: Variant) -> bytes:
    """Any value will do; one in a variant of its own is taken out of it."""
    if parameter.signature == "v":
        parameter = parameter.value
    if "h" in parameter.signature:
        raise InvalidParameter("parameter of want-agent can't be a file descriptor; name the file")
    return bytes(encode("v", (parameter,)))
