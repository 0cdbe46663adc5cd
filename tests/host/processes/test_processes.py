# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from missiond.host.cgroups.units import unit_of
from missiond.host.processes import applications
from missiond.host.processes.processes import Process, ProcessWatch, inspect
from missiond.host.processes.procfs import ProcDirectory
from standins.open_files import open_files
from standins.programs.running import SHELL, copy_of_shell, running

AGENT = Path(__file__).parents[3] / "agent"
NASTY = [
    b"plain",
    b"with space",
    b"new\nline",
    b"bracket) S 1 1 1 (",
    b"((((",
    b"\xff\xfe not utf-8",
    b"tab\tand\x1besc",
    "grüße-世界".encode(),
    "\u202eright to left".encode(),
    b"Uid:\t0",
    b"x" * 255,
]


def _expected(name: bytes) -> str:
    text = name.decode("utf-8", "surrogateescape")
    return "".join(char if char.isprintable() else "_" for char in text)


@pytest.fixture
def _no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host where the test run belongs to no unit."""
    monkeypatch.setattr(applications, "unit_of", lambda _: None)


@pytest.fixture
def _unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    def executable(self: ProcDirectory) -> bytes:
        raise PermissionError(self.pid)

    monkeypatch.setattr(ProcDirectory, "executable", executable)


@pytest.mark.usefixtures("_no_unit")
@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_of_programs(tmp_path: Path, name: bytes) -> None:
    program = copy_of_shell(os.fsencode(tmp_path) + b"/" + name)
    before = open_files()
    with running(program) as pid:
        opened = open_files()
        process = inspect(pid)
        assert open_files() == opened
        assert process == Process(pid, os.getuid(), process.start_ticks, _expected(name), None)
        assert process.start_ticks == inspect(pid).start_ticks > 0
        with pytest.raises(AttributeError):
            process.pid = 1  # type: ignore[misc]
    assert open_files() == before


@pytest.mark.usefixtures("_no_unit")
def test_deleted_program(tmp_path: Path) -> None:
    program = tmp_path / "updated"
    copy_of_shell(os.fsencode(program))
    with running(program) as pid:
        program.unlink()
        assert inspect(pid).app_id == "updated"


def test_application_of_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org.x.Y-12.scope\n"
    monkeypatch.setattr(applications, "unit_of", lambda _: unit_of(content))
    process = inspect(os.getpid())
    assert (process.app_id, process.unit) == ("org.x.Y", "app-gnome-org.x.Y-12.scope")


def test_scope_of_a_session_gives_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "unit_of", lambda _: "session-3.scope")
    with running() as pid:
        process = inspect(pid)
    assert (process.app_id, process.unit) == (Path(SHELL).name, "session-3.scope")


@pytest.mark.usefixtures("_no_unit", "_unprivileged")
class TestWithoutPrivilege:
    @pytest.mark.parametrize("argv0", ["sh", "-sh", "/bin/sh", "/usr/bin/sh"])
    def test_system_program_is_resolved(self, argv0: str) -> None:
        with running("/bin/sh", argv0) as pid:
            assert inspect(pid).app_id == Path(SHELL).name

    @pytest.mark.parametrize("name", NASTY)
    def test_nasty_names(self, tmp_path: Path, name: bytes) -> None:
        program = copy_of_shell(os.fsencode(tmp_path) + b"/" + name)
        with running(program) as pid:
            assert inspect(pid).app_id == _expected(name)

    def test_argv0_that_does_not_fit_is_not_believed(self, tmp_path: Path) -> None:
        program = tmp_path / "honest"
        copy_of_shell(os.fsencode(program))
        for claim in (b"systemd", b"/usr/bin/firefox", b"", b"honest-or-not", b"hon"):
            with running(program, claim) as pid:
                assert inspect(pid).app_id == "honest"

    def test_place_chosen_by_the_caller_is_not_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program, link = tmp_path / "real", tmp_path / "link"
        copy_of_shell(os.fsencode(program))
        link.symlink_to(program)
        with running(link) as pid:
            monkeypatch.setattr(os.path, "realpath", _never)
            assert inspect(pid).app_id == "link"

    def test_fit_is_by_what_the_kernel_keeps(self, tmp_path: Path) -> None:
        program = tmp_path / "a-name-longer-than-fifteen"
        copy_of_shell(os.fsencode(program))
        with running(program) as pid:
            assert inspect(pid).app_id == program.name


def _never(*_: object, **__: object) -> None:
    raise AssertionError("this must not be called")


@pytest.mark.usefixtures("_no_unit")
def test_hostile_process_changes_its_own_name(tmp_path: Path) -> None:
    """The name of the thread is the process's own; the start time behind it is still found."""
    script = "\n".join(
        [
            "import sys",
            "open('/proc/self/comm', 'wb').write(b') R 1 (\\n\\xff')",
            "print('ready', flush=True)",
            "sys.stdin.read()",
        ]
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            assert b") R 1 (" in Path(f"/proc/{child.pid}/stat").read_bytes()
            process = inspect(child.pid)
            assert process.start_ticks > 0
            assert process.uid == os.getuid()
        finally:
            child.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be another user")
def test_another_users_view_of_a_root_process() -> None:
    code = f"import sys, json; sys.path.insert(0, {str(AGENT)!r});"
    code += "from missiond.host.processes import processes as p;"
    code += "q = p.inspect(int(sys.argv[1])); print(json.dumps([q.uid, q.start_ticks, q.app_id]))"
    with running() as pid:
        seen = subprocess.run(
            ["/usr/bin/python3", "-c", code, str(pid)],
            user=65534,
            group=65534,
            extra_groups=[],
            check=True,
            stdout=subprocess.PIPE,
            env={"PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
        )
        mine = inspect(pid)
    assert json.loads(seen.stdout) == [0, mine.start_ticks, mine.app_id]


@pytest.mark.parametrize("pid", [0, -1, -(2**40), 2**22 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**64])
def test_no_such_pid(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        inspect(pid)


def test_thread_is_no_process() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        with pytest.raises(ProcessLookupError):
            inspect(thread.native_id)
    finally:
        stop.set()
        thread.join()


def test_zombie_is_gone() -> None:
    before = open_files()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessLookupError):
            inspect(pid)
    finally:
        os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        inspect(pid)
    assert open_files() == before


def test_process_that_exits_while_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as pid:

        def kill_first(directory: ProcDirectory) -> str:
            os.kill(directory.pid, signal.SIGKILL)
            os.waitid(os.P_PID, directory.pid, os.WEXITED | os.WNOWAIT)
            return "late"

        monkeypatch.setattr(applications, "unit_of", lambda _: None)
        monkeypatch.setattr(applications, "program_of", kill_first)
        with pytest.raises(ProcessLookupError):
            inspect(pid)


class _Exits:
    """Collects callbacks and lets a test wait for them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._more = asyncio.Event()

    def note(self, name: str) -> None:
        self.names.append(name)
        self._more.set()

    async def wait(self, count: int) -> None:
        while len(self.names) < count:
            self._more.clear()
            await self._more.wait()


@contextmanager
def _watching() -> Iterator[ProcessWatch]:
    before = open_files()
    watch = ProcessWatch()
    try:
        yield watch
    finally:
        watch.close()
    assert len(watch) == 0
    assert open_files() == before


async def test_watch_hears_of_the_exit_once() -> None:
    exits = _Exits()
    with _watching() as watch, running() as pid:
        watch.watch(pid, inspect(pid).start_ticks, lambda: exits.note("gone"))
        assert len(watch) == 1
        os.kill(pid, signal.SIGKILL)
        await exits.wait(1)
        assert exits.names == ["gone"]
        assert len(watch) == 0


async def test_watch_of_exited_or_replaced_process() -> None:
    with _watching() as watch:
        with running() as pid:
            start = inspect(pid).start_ticks
            with pytest.raises(ProcessLookupError, match="used again"):
                watch.watch(pid, start - 1, _never)
        with pytest.raises(ProcessLookupError):
            watch.watch(pid, start, _never)
        assert len(watch) == 0


async def test_one_pidfd_for_many_watches() -> None:
    exits = _Exits()
    with _watching() as watch, running() as pid:
        start = inspect(pid).start_ticks
        before = len(open_files())
        first = watch.watch(pid, start, _never)
        others = [watch.watch(pid, start, lambda n=n: exits.note(str(n))) for n in range(3)]  # type: ignore[misc]
        assert len(open_files()) == before + 1
        first.close()
        first.close()
        others[2].close()
        assert len(open_files()) == before + 1
        os.kill(pid, signal.SIGKILL)
        await exits.wait(2)
        assert exits.names == ["0", "1"]
        others[0].close()


async def test_last_close_gives_up_the_pidfd() -> None:
    with _watching() as watch, running() as pid:
        start = inspect(pid).start_ticks
        before = open_files()
        pair = [watch.watch(pid, start, _never) for _ in range(2)]
        pair[0].close()
        assert len(watch) == 1
        pair[1].close()
        assert len(watch) == 0
        assert open_files() == before


async def test_callback_may_close_others_and_fail(caplog: pytest.LogCaptureFixture) -> None:
    exits = _Exits()
    with _watching() as watch, running() as pid:
        start = inspect(pid).start_ticks

        def first() -> None:
            closed.close()
            raise RuntimeError("broken")

        watch.watch(pid, start, first)
        closed = watch.watch(pid, start, _never)
        watch.watch(pid, start, lambda: exits.note("last"))
        os.kill(pid, signal.SIGKILL)
        await exits.wait(1)
        assert exits.names == ["last"]
        assert [record.levelname for record in caplog.records] == ["ERROR"]


MANY = 1000
_FORK_MANY = """
import os, sys
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os.close(1)
        os.read(0, 1)
        os._exit(0)
    print(pid)
sys.stdout.flush()
os.read(0, 1)
"""


@pytest.fixture
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * MANY:
        pytest.skip(f"the limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _many_processes() -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """All of them wait for the end of one pipe, so they end with the test whatever happens."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORK_MANY, str(MANY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        yield [int(parent.stdout.readline()) for _ in range(MANY)], parent


@pytest.mark.slow
@pytest.mark.usefixtures("_many_files")
async def test_a_thousand_processes() -> None:
    exits = _Exits()
    with _watching() as watch, _many_processes() as (pids, parent):
        for pid in pids:
            watch.watch(pid, inspect(pid).start_ticks, lambda pid=pid: exits.note(str(pid)))  # type: ignore[misc]
        assert len(watch) == MANY
        assert parent.stdin is not None
        parent.stdin.close()
        await exits.wait(MANY)
        assert sorted(map(int, exits.names)) == sorted(pids)
