# SPDX-License-Identifier: Apache-2.0
"""missionctl run, with real commands and a stand-in agent that really watches them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cli.conftest import MISSIONCTL, Missionctl
from missiond.errors import (
    InvalidParameter,
    NotSystemApp,
    PermissionDenied,
    SystemServiceFailed,
    TransientTaskVerificationFailed,
)
from standins.agents.agent import StandInAgent
from standins.programs.running import SHELL

pytestmark = pytest.mark.slow


@pytest.fixture
def missionctl(missionctl_program: Missionctl) -> Missionctl:
    """Run missionctl as a process of its own, since it becomes another or has a caller."""
    return missionctl_program


Started = Callable[..., Awaitable[Process]]
TELL = "echo ready; read line; exit 7"


@pytest.fixture
async def started(environment: dict[str, str]) -> AsyncIterator[Started]:
    """Start missionctl run; what is left at the end is killed."""
    processes: list[Process] = []

    async def start(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *MISSIONCTL, "run", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_the_task_is_the_commands_and_lives_as_long(agent: StandInAgent, started: Started) -> None:
    process = await started("--title", "photos", "--", "sh", "-c", TELL)
    assert await line_of(process) == "ready"
    assert agent.script.calls == [
        (
            "StartBackgroundRunning",
            ["taskKeeping"],
            {"pid": process.pid, "title": "photos", "context": f"run-{process.pid}"},
        )
    ]
    assert await asyncio.to_thread(Path(f"/proc/{process.pid}/exe").samefile, SHELL)
    out, err = await process.communicate(b"go on\n")
    await agent.until(tasks=0)
    assert (process.returncode, out, err) == (7, b"", b"")


async def test_the_command_is_a_mission(agent: StandInAgent, missionctl: Missionctl) -> None:
    await missionctl(
        "run", "--title", "photos", "--", "sh", "-c", "exit 0", b"\xff".decode(errors="surrogateescape")
    )
    [described] = agent.script.registered
    assert described.pop("pid") > 0
    assert described == {"label": "photos", "argv": ["sh", "-c", "exit 0", "?"], "cwd": str(Path.cwd())}
    agent.script.failures["RegisterMission"] = SystemServiceFailed("no")
    assert (await missionctl("run", "--require", "--", "sh", "-c", "exit 3")).status == 3


async def test_a_command_that_may_go_on_elsewhere(
    agent: StandInAgent, missionctl: Missionctl, environment: dict[str, str]
) -> None:
    environment |= {"LANG": "C.UTF-8", "LC_TIME": "C", "LD_LIBRARY_PATH": "/nowhere", "SECRET": "x"}
    await missionctl("run", "--continuable", "--", "sh", "-c", "exit 0", "a\nb")
    [described] = agent.script.registered
    assert described["argv"] == [shutil.which("sh"), "-c", "exit 0", "a\nb"]
    assert (described["relaunch"], described["cwd"]) == (True, str(Path.cwd()))
    names = {entry.partition("=")[0] for entry in described["environment"]}
    assert {"LANG", "LC_TIME", "PATH"} <= names <= {"LANG", "LANGUAGE", "LC_TIME", "LC_ALL", "PATH", "TZ"}
    refused = await missionctl("run", "--continuable", "--", "sh", "-c", "exit 3", "\udcff")
    assert refused.status == 3
    assert "sh can't continue on another host: its arguments are not all Unicode" in refused.err
    agent.script.failures["RegisterMission"] = SystemServiceFailed("no")
    refused = await missionctl("run", "--continuable", "--", "sh", "-c", "exit 3")
    assert (refused.status, "can't continue on another host: no" in refused.err) == (3, True)


async def test_the_task_goes_when_the_command_is_killed(agent: StandInAgent, started: Started) -> None:
    process = await started("--", "sh", "-c", TELL)
    await line_of(process)
    os.kill(process.pid, signal.SIGKILL)
    await agent.until(tasks=0)
    assert await process.wait() == -signal.SIGKILL


async def test_what_the_command_leaves_behind_does_not_hold_the_task(
    agent: StandInAgent, started: Started
) -> None:
    process = await started("--", "sh", "-c", "cat <&0 >/dev/null 2>&1 & echo ready")
    await line_of(process)
    await agent.until(tasks=0)
    assert await process.wait() == 0


@pytest.mark.parametrize("status", [0, 1, 42, 125, 255])
async def test_exit_status(agent: StandInAgent, missionctl: Missionctl, status: int) -> None:
    assert (await missionctl("run", "--", "sh", "-c", f"exit {status}")).status == status


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "PIPE", "KILL"])
async def test_death_by_a_signal_is_the_commands(
    agent: StandInAgent, missionctl: Missionctl, name: str
) -> None:
    result = await missionctl("run", "--", "sh", "-c", f"ulimit -c 0; kill -{name} $$")
    assert result.status == -signal.Signals[f"SIG{name}"]


async def test_a_shell_sees_128_and_the_signal(
    agent: StandInAgent, missionctl: Missionctl, environment: dict[str, str]
) -> None:
    line = " ".join(MISSIONCTL) + " run -- sh -c 'kill -TERM $$'; echo $?"
    result = await missionctl("run", "--", "sh", "-c", line)
    assert result.out == "143\n"


@pytest.mark.parametrize(("how", "status"), [("protect", 5), ("none", -signal.SIGHUP)])
async def test_a_hangup_is_ignored_where_it_is_to_be_kept(
    agent: StandInAgent, started: Started, how: str, status: int
) -> None:
    process = await started(f"--keep-alive={how}", "--", "sh", "-c", "echo ready; read line; exit 5")
    await line_of(process)
    [(_, _, wanted)] = agent.script.calls
    assert wanted["keep-alive"] == how
    process.send_signal(signal.SIGHUP)
    await process.communicate(b"\n")
    assert process.returncode == status


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"])
async def test_signals_reach_the_command(agent: StandInAgent, started: Started, name: str) -> None:
    command = f"trap 'echo got {name}; exit 3' {name}; echo ready; while :; do read line || exit 9; done"
    process = await started("--", "bash", "-c", command)
    await line_of(process)
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert process.stdin is not None
    process.stdin.write(b"\n")
    assert await line_of(process) == f"got {name}"
    assert await process.wait() == 3


async def test_stopping_and_continuing_keeps_the_task(agent: StandInAgent, started: Started) -> None:
    process = await started("--", "sh", "-c", TELL)
    await line_of(process)
    # SIGTSTP would do nothing where the tests run without a terminal: their process group is orphaned then.
    process.send_signal(signal.SIGSTOP)
    stopped = await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert stopped is not None
    assert stopped.si_code == os.CLD_STOPPED
    assert len(agent.tasks) == 1
    process.send_signal(signal.SIGCONT)
    await process.communicate(b"\n")
    assert process.returncode == 7


async def test_signals_that_python_ignores_are_not_ignored_in_the_command(
    agent: StandInAgent, missionctl: Missionctl
) -> None:
    result = await missionctl("run", "--", "grep", "^Sig[IB]", "/proc/self/status")
    assert result.out.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


async def test_signals_ignored_by_the_caller_stay_so(agent: StandInAgent, missionctl: Missionctl) -> None:
    line = f"trap '' INT HUP; exec {' '.join(MISSIONCTL)} run -- grep ^SigIgn /proc/self/status"
    result = await missionctl("run", "--", "sh", "-c", line)
    assert int(result.out.split()[1], 16) == 1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1)


async def test_nothing_of_ours_stays_open_in_the_command(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("run", "--", "ls", "/proc/self/fd")
    assert result.out.split() == ["0", "1", "2", "3"]  # 3 is the directory


async def test_the_environment_is_handed_on_as_it_is(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    given = {key: environment[key] for key in ("PATH", "PYTHONPATH", "DBUS_SYSTEM_BUS_ADDRESS")}
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "run", "--", "env", "-0", stdout=PIPE, env=given
    )
    out, _ = await process.communicate()
    assert dict(entry.split("=", 1) for entry in out.decode().split("\0") if entry) == given


async def test_a_callers_own_lc_ctype_is_kept(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("run", "--", "printenv", "LC_CTYPE", LC_CTYPE="C.UTF-8")
    assert result.out == "C.UTF-8\n"


async def test_stdin_is_the_commands(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("run", "--", "cat", stdin=b"x" * 300_000)
    assert len(result.out) == 300_000


def _until_hung_up(terminal: int) -> str:
    """All that was written to a terminal that nobody has open any more; it comes in pieces."""
    written = b""
    with contextlib.suppress(OSError):  # EIO once there is no more
        while piece := os.read(terminal, 4096):
            written += piece
    return written.decode()


async def test_the_terminal_is_the_commands(agent: StandInAgent, environment: dict[str, str]) -> None:
    main, secondary = os.openpty()
    terminal = os.ttyname(secondary)
    # A session leader without a terminal gets the one that it opens, tty_ioctl(4).
    line = f'exec <{terminal} >{terminal} 2>&1; exec "$0" "$@"'
    command = ["sh", "-c", "tty; stty size; read answer; echo $answer"]
    try:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, *MISSIONCTL, "run", "--", *command,
            env=environment, start_new_session=True, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip
        os.close(secondary)
        os.write(main, b"hello\n")
        assert await process.wait() == 0
        lines = _until_hung_up(main).split()
    finally:
        os.close(main)
    assert terminal in lines
    assert lines.count("hello") == 2  # the terminal's echo, and the command's


async def test_ctrl_c_ends_the_command_as_ever(agent: StandInAgent, environment: dict[str, str]) -> None:
    main, secondary = os.openpty()
    terminal = os.ttyname(secondary)
    line = f'exec <{terminal} >{terminal} 2>&1; exec "$0" "$@"'
    try:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, *MISSIONCTL, "run", "--", "sh", "-c", "read answer",
            env=environment, start_new_session=True, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip
        os.close(secondary)
        await agent.until(tasks=1)
        os.write(main, b"\x03")
        assert await process.wait() == -signal.SIGINT
        await agent.until(tasks=0)
    finally:
        os.close(main)


async def test_modes_and_context(agent: StandInAgent, missionctl: Missionctl) -> None:
    arguments = ["--mode", "voip", "--mode", "dataTransfer", "--context", "call"]
    assert (await missionctl("run", *arguments, "--", "true")).status == 0
    [(_, modes, options)] = agent.script.calls
    assert modes == ["voip", "dataTransfer"]
    assert (options["context"], options["title"]) == ("call", "true")


async def test_a_transient_task(agent: StandInAgent, started: Started) -> None:
    process = await started("--delay", "90s", "--reason", "why", "--", "sh", "-c", TELL)
    assert await line_of(process) == "ready"
    assert agent.script.calls == [("RequestSuspendDelay", "why", {"pid": process.pid, "delay": 90_000})]
    await process.communicate(b"\n")
    await agent.until(tasks=0)


WARNING = "missionctl: warning: nothing keeps this host awake for sh: "
REFUSALS = [
    (
        PermissionDenied("polkit denies it; see polkit(8)"),
        "polkit denies it; run it with sudo, or see polkit in missiond(8) (201)\n",
    ),
    (TransientTaskVerificationFailed("no quota; wait"), "no quota; wait (9900002)\n"),
    (SystemServiceFailed("failed; see journalctl"), "failed; see journalctl (9800004)\n"),
]


@pytest.mark.parametrize(("error", "text"), REFUSALS)
async def test_refused_it_warns_and_runs(
    agent: StandInAgent, missionctl: Missionctl, error: Exception, text: str
) -> None:
    agent.script.failures["StartBackgroundRunning"] = error
    result = await missionctl("run", "--", "sh", "-c", "exit 7")
    assert (result.status, result.err) == (7, WARNING + text)
    result = await missionctl("run", "--require", "--", "sh", "-c", "exit 7")
    assert (result.status, result.err) == (125, "missionctl: sh was not started: " + text)


@pytest.mark.parametrize("error", [InvalidParameter("context is too long"), NotSystemApp("for uid 0 only")])
async def test_what_is_the_users_own_mistake_is_not_run(
    agent: StandInAgent, missionctl: Missionctl, error: Exception
) -> None:
    agent.script.failures["StartBackgroundRunning"] = error
    result = await missionctl("run", "--", "sh", "-c", "echo ran")
    assert (result.status, result.out) == (125, "")
    assert result.err.startswith("missionctl: sh was not started: ")


async def test_without_an_agent_it_warns_and_runs(missionctl: Missionctl) -> None:
    result = await missionctl("run", "--", "sh", "-c", "echo ran")
    assert (result.status, result.out) == (0, "ran\n")
    assert result.err.startswith(WARNING + "there is no agent on the system bus")
    assert result.err.endswith("; start the agent with `systemctl start missiond`\n")
    result = await missionctl("run", "--require", "--", "sh", "-c", "echo ran")
    assert (result.status, result.out) == (125, "")


async def test_a_task_without_a_lock_is_warned_of(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.locked = False
    agent.script.manager["Degraded"] = ["no logind: tasks run, but nothing keeps the host awake"]
    result = await missionctl("run", "--", "sh", "-c", "exit 7")
    assert result.status == 7
    assert result.err == WARNING + "no logind: tasks run, but nothing keeps the host awake\n"
    result = await missionctl("run", "--require", "--", "sh", "-c", "exit 7")
    assert result.status == 125
    await agent.until(tasks=0)


async def test_a_delay_that_is_over_at_once(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.over_at_once = True
    result = await missionctl("run", "--delay", "1ms", "--", "echo", "ran")
    assert (result.status, result.out, result.err) == (0, "ran\n", "")


async def test_interrupted_before_the_command_nothing_runs(agent: StandInAgent, started: Started) -> None:
    agent.script.hangs = True
    process = await started("--", "sh", "-c", "echo ran")
    await agent.until(calls=1)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


async def test_commands_that_are_not_there(
    agent: StandInAgent, missionctl: Missionctl, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_text("no program")
    assert (await missionctl("run", "--", "no-such-command")).status == 127
    assert (await missionctl("run", "--", str(tmp_path / "nothing"))).status == 127
    assert (await missionctl("run", "--", str(data))).status == 126
    assert (await missionctl("run", "--", str(tmp_path))).status == 126
    assert agent.script.calls == []


async def test_what_the_kernel_cannot_execute(
    agent: StandInAgent, missionctl: Missionctl, tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    odd.write_text("#!/no/such/interpreter\n")
    odd.chmod(0o755)
    result = await missionctl("run", "--", str(odd))
    assert result.status == 126
    assert result.err.count("\n") == 1
    await agent.until(tasks=0)


async def test_a_script_without_an_interpreter_is_one_for_sh(
    agent: StandInAgent, missionctl: Missionctl, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$1"; exit 4\n')
    script.chmod(0o755)
    result = await missionctl("run", "--", str(script), "one")
    assert (result.status, result.out) == (4, "one\n")


async def test_arguments_that_are_no_text(
    agent: StandInAgent, missionctl: Missionctl, tmp_path: Path
) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n(")
    await asyncio.to_thread(Path(name).symlink_to, "/bin/true")
    assert (await missionctl("run", "--", name, "\udcff")).status == 0
    assert agent.script.calls[0][2]["title"] == "??\n("
