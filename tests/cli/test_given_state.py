# SPDX-License-Identifier: Apache-2.0
"""Whatever state missionctl is called in, CMD runs, and gets that very state; other verbs do their work."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from missiond.cli.agent import PATIENCE
from missiond.cli.verbs import run_task
from missiond.errors import SystemServiceFailed
from standins.agents.agent import StandInAgent
from standins.agents.stopped import stopped_agent

from .conftest import MISSIONCTL, Missionctl, Result

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def missionctl(missionctl_program: Missionctl) -> Missionctl:
    """Run missionctl as a process of its own, since it becomes another or has a caller."""
    return missionctl_program


CLOSED = [fds for count in range(4) for fds in itertools.combinations((0, 1, 2), count)]
OPEN_ONES = (
    "import os, sys; print(*sorted(map(int, os.listdir('/proc/self/fd'))), file=open(sys.argv[1], 'w'))"
)


async def run_with(
    *arguments: str,
    environment: dict[str, str],
    prepare: Callable[[], None] | None = None,
    cwd: str | bytes | None = None,
) -> Result:
    """Run missionctl after something was done to its process."""
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL,
        *arguments,
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        preexec_fn=prepare,
        cwd=cwd,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def closing(fds: tuple[int, ...]) -> Callable[[], None]:
    def close() -> None:
        for fd in fds:
            os.close(fd)

    return close


@pytest.mark.parametrize("fds", CLOSED, ids=str)
async def test_closed_descriptors_stay_closed_in_the_command(
    agent: StandInAgent, environment: dict[str, str], tmp_path: Path, fds: tuple[int, ...]
) -> None:
    """No socket of ours gets their numbers; the directory that is listed takes the lowest one."""
    report = tmp_path / "open"
    command = [sys.executable, "-IS", "-c", OPEN_ONES + "; sys.exit(7)", str(report)]
    result = await run_with("run", "--", *command, environment=environment, prepare=closing(fds))
    assert result.status == 7
    alone = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, preexec_fn=closing(fds)
    )
    seen = report.read_text()
    await alone.wait()
    assert seen == report.read_text()
    assert len(agent.script.calls) == 1


@pytest.mark.parametrize("fds", CLOSED[1:], ids=str)
@pytest.mark.parametrize(
    "verb", [["status"], ["tasks", "--json"], ["cancel", "9"], ["--help"], ["stat"]], ids=str
)
async def test_other_verbs_do_without_them(
    agent: StandInAgent, environment: dict[str, str], verb: list[str], fds: tuple[int, ...]
) -> None:
    usual = await run_with(*verb, environment=environment)
    result = await run_with(*verb, environment=environment, prepare=closing(fds))
    assert result.status == usual.status
    assert result.out == ("" if 1 in fds else usual.out)
    assert result.err == ("" if 2 in fds else usual.err)


@pytest.mark.parametrize("verb", [["status"], ["tasks", "--json"], ["--help"], ["version"]], ids=str)
async def test_a_full_disk(environment: dict[str, str], agent: StandInAgent, verb: list[str]) -> None:
    line = '"$0" "$@" >/dev/full'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", line, *MISSIONCTL, *verb, env=environment, stdout=PIPE, stderr=PIPE
    )
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"missionctl: cannot write: No space left on device\n")


async def test_nobody_can_be_warned(missionctl: Missionctl) -> None:
    """No agent, and standard error takes nothing; the command's is the same."""
    line = f"{' '.join(MISSIONCTL)} run -- sh -c 'echo ran; echo x >&2; exit 3' 2>/dev/full"
    result = await missionctl("run", "--", "sh", "-c", line)
    assert (result.status, result.out) == (3, "ran\n")


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "en_US.ISO-8859-1"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_CTYPE": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict", "PYTHONUTF8": "0"},
        {"LANG": ""},
    ],
    ids=str,
)
async def test_a_character_that_the_charset_lacks(
    agent: StandInAgent, missionctl: Missionctl, locale: dict[str, str]
) -> None:
    await agent_task(missionctl)
    [task] = agent.tasks.values()
    task.values["Reason"] = "photos → \N{CJK UNIFIED IDEOGRAPH-4E2D}"
    shown = await missionctl("tasks", "--all", **locale)
    assert shown.status == 0
    assert "photos" in shown.out
    listed = await missionctl("tasks", "--all", "--json", **locale)
    assert json.loads(listed.out)[0]["reason"] == task.values["Reason"]
    agent.script.failures["GetTransientTaskInfo"] = SystemServiceFailed("→")
    assert "Traceback" not in (await missionctl("remaining", **locale)).err


async def agent_task(missionctl: Missionctl) -> None:
    """Have a task of this process."""
    assert (await missionctl("delay", "--pid", str(os.getpid()))).status == 0


@pytest.mark.parametrize("with_agent", [True, False])
@pytest.mark.parametrize("options", [[], ["--continuable"]], ids=str)
async def test_a_directory_that_has_no_name_in_unicode(
    environment: dict[str, str], system_bus: str, tmp_path: Path, with_agent: bool, options: list[str]
) -> None:
    from standins.agents.agent import standing_in

    place = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(place)  # noqa: PTH102
    if not with_agent:
        result = await run_with("run", *options, "--", "echo", "ran", environment=environment, cwd=place)
        assert (result.status, result.out) == (0, "ran\n")
        return
    async with standing_in(system_bus) as agent:
        result = await run_with("run", *options, "--", "echo", "ran", environment=environment, cwd=place)
        assert (result.status, result.out) == (0, "ran\n")
        assert len(agent.script.calls) == 1
    if options:
        assert "can't continue on another host: the name of its directory is no Unicode text" in result.err
    else:
        assert (result.err, [set(each) for each in agent.script.registered]) == (
            "",
            [{"pid", "label", "argv"}],
        )


async def test_a_directory_that_was_deleted(
    agent: StandInAgent, environment: dict[str, str], tmp_path: Path
) -> None:
    line = f'mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir ../gone && exec "$0" "$@"'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", line, *MISSIONCTL, "run", "--", "echo", "ran", env=environment, stdout=PIPE, stderr=PIPE
    )
    assert await process.communicate() == (b"ran\n", b"")
    assert [set(each) for each in agent.script.registered] == [{"pid", "label", "argv"}]


@pytest.mark.parametrize(
    "argument", ["", "x" * 70_000, "\udce9", "\n\t\x1b[31m"], ids=["empty", "long", "bytes", "odd"]
)
async def test_any_argument(agent: StandInAgent, missionctl: Missionctl, argument: str) -> None:
    program = f"import os, sys; sys.exit(os.fsencode(sys.argv[1]) != {os.fsencode(argument)!r})"
    result = await missionctl(
        "run", "--title", argument or "t", "--", sys.executable, "-c", program, argument
    )
    assert (result.status, result.err) == (0, "")
    assert len(agent.script.calls) == 1


async def test_as_many_arguments_as_the_kernel_takes(agent: StandInAgent, missionctl: Missionctl) -> None:
    arguments = ["y" * 100_000] * 15
    result = await missionctl("run", "--", "sh", "-c", "echo $#", "sh", *arguments)
    assert (result.status, result.out, result.err) == (0, "15\n", "")
    [described] = agent.script.registered
    assert set(described) == {"pid", "label", "cwd"}


async def test_the_environment_is_handed_on_to_the_byte(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    """Names that no shell takes, bytes that are no text, and what Python would set for itself."""
    given = {os.fsencode(key): os.fsencode(value) for key, value in environment.items()}
    given |= {
        b"a.b": b"1",
        b"BASH_FUNC_x%%": b"() { :; }",
        b"caf\xe9": b"\xff",
        b"E": b"",
        b"BIG": b"z" * 100_000,
    }
    given |= {b"LC_CTYPE": b"C"}
    command = ["cat", "/proc/self/environ"]
    process = await asyncio.create_subprocess_exec(*MISSIONCTL, "run", "--", *command, env=given, stdout=PIPE)
    through, _ = await process.communicate()
    process = await asyncio.create_subprocess_exec(*command, env=given, stdout=PIPE)
    alone, _ = await process.communicate()
    assert through == alone


@pytest.mark.parametrize("limit", [5, 6, 7, 8, 10, 16])
async def test_few_descriptors(agent: StandInAgent, environment: dict[str, str], limit: int) -> None:
    result = await run_with(
        "run",
        "--",
        "sh",
        "-c",
        "ulimit -n; exit 7",
        environment=environment,
        prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert (result.status, result.out) == (7, f"{limit}\n")


@pytest.mark.parametrize(
    "breakage",
    [
        "import missiond.client._bus as b; b.Connection.open = None",
        "import missiond.client._tasks as t; t.Task.info = None",
        "import sys; sys.modules['asyncio'] = None",
        "import missiond.client._missions as m; m.OwnMissions.register = None",
        "import asyncio; asyncio.run = lambda c: (c.close(), (_ for _ in ()).throw(MemoryError()))",
    ],
)
async def test_what_nobody_foresaw(agent: StandInAgent, environment: dict[str, str], breakage: str) -> None:
    program = f"{breakage}\nimport sys\nfrom missiond.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", program, "run"]
    process = await asyncio.create_subprocess_exec(
        *line, "--", "sh", "-c", "echo ran; exit 7", env=environment, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (7, b"ran\n")
    assert b"Traceback" not in err
    if b"register" in breakage.encode():
        return
    assert err.startswith(b"missionctl: warning: nothing keeps this host awake for sh: ")
    process = await asyncio.create_subprocess_exec(
        *line, "--require", "--", "echo", "ran", env=environment, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (125, b"")


async def test_an_agent_that_hangs(environment: dict[str, str], missionctl: Missionctl) -> None:
    """2 s for run, 5 s where a task is required, and for other verbs: begun together, one ends 3 s earlier.

    How long a start of Python takes is the same for both.
    """
    loop = asyncio.get_running_loop()

    async def run(*options: str) -> tuple[Result, float]:
        result = await missionctl("run", *options, "--", "echo", "ran")
        return result, loop.time()

    assert (run_task.SHORT_PATIENCE, PATIENCE) == (2.0, 5.0)
    async with stopped_agent(environment):
        begun = loop.time()
        (result, ended), (other, other_ended) = await asyncio.gather(run(), run("--require"))
    assert (result.status, result.out) == (0, "ran\n")
    assert result.err.endswith("; restart the agent with `systemctl restart missiond`\n")
    assert (other.status, other.out) == (125, "")
    assert ended - begun > 1.9
    assert other_ended - ended > 1.5


async def test_an_agent_that_answers_late_is_waited_for(agent: StandInAgent, missionctl: Missionctl) -> None:
    """It answers Ping meanwhile, later than the 2 s that run has for an agent that does not."""
    agent.script.waits = asyncio.Event()
    asyncio.get_running_loop().call_later(2.5, agent.script.waits.set)
    result = await missionctl("run", "--", "echo", "ran")
    assert (result.status, result.out, result.err) == (0, "ran\n", "")
    assert len(agent.script.calls) == 1


async def test_ctrl_c_while_missionctl_is_imported(environment: dict[str, str]) -> None:
    entry = (ROOT / "packaging/missionctl").read_text()
    source = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "missiond.cli.parser":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
{entry}"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, "-", "status", env=environment, stdout=PIPE, stderr=PIPE
    )
    assert await process.communicate() == (b"", b"")
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("ignored", [set(), {signal.SIGPIPE}, {signal.SIGPIPE, signal.SIGXFSZ}], ids=str)
async def test_signals_that_python_hides(
    agent: StandInAgent, environment: dict[str, str], ignored: set[signal.Signals]
) -> None:
    """As the launcher of the package names them."""
    word = ",".join(str(int(number)) for number in ignored) or "-"
    program = "import sys\nfrom missiond.cli.main import launched\nsys.exit(launched())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, word, "run", "--", "grep", "^SigIgn", "/proc/self/status",
        env=environment, stdout=PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert int(out.split()[1], 16) == sum(1 << (number - 1) for number in ignored)
