# SPDX-License-Identifier: Apache-2.0
"""Missions start as units of their users' managers, through missiond-units asked by the agent's user."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hosts.people import alices_manager, mission_of

if TYPE_CHECKING:
    from hosts.machine import Host

PROGRAM = (Path(__file__).parent / "inside/launch.py").read_text()
ALICE = 1000
ROUNDS, AT_ONCE = 4, 5
SHOW = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user"]
TELL = """
import json, os, sys
def content(name):
    path = os.environ.get(name)
    if path is None: return None
    status, above = os.stat(path), os.stat(os.path.dirname(path))
    return [open(path).read(), oct(status.st_mode & 0o777), status.st_uid, oct(above.st_mode & 0o777)]
about = {"argv": sys.argv[1:], "umask": os.umask(0o077), "cwd": os.getcwd(),
         "uid": os.getuid(), "groups": os.getgroups(),
         "env": {k: v for k, v in os.environ.items() if k.startswith(("LANG", "T_", "MISSIOND_CONT"))},
         "state": content("MISSIOND_STATE_FILE"), "want": content("MISSIOND_WANT_PARAM_FILE"),
         "preload": os.environ.get("LD_PRELOAD")}
with open("/var/lib/launch/told.tmp", "w") as out: json.dump(about, out)
os.rename("/var/lib/launch/told.tmp", "/var/lib/launch/told")
__import__("time").sleep(600)
"""


def unit(app: str = "org.example.Counter") -> str:
    return f"app-missiond-{app}@{secrets.token_hex(16)}.service"


def question(
    verb: str, name: str, uid: int = ALICE, files: dict[str, str] | None = None, **what: Any
) -> list[Any]:
    return [verb, uid, name, {"argv": ["/bin/sleep", "600"], **what}, files or {}]


def answers(host: Host, *questions: list[Any]) -> list[Any]:
    """Ask one after the other; each answer, and the ms that it took."""
    command = ["python3", "-", json.dumps(questions)]
    return [
        json.loads(line) for line in host.run(command, user="missiond", stdin=PROGRAM).stdout.splitlines()
    ]


def ask(host: Host, *words: Any, **what: Any) -> Any:
    [[answer, took]] = answers(host, question(*words, **what))
    print(f"{words[0]}: {took} ms")
    return answer


def show(host: Host, name: str, prop: str) -> str:
    return host.run([*SHOW, "show", f"--property={prop}", "--value", name], user="alice").stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def alice(host: Host) -> None:
    alices_manager(host)
    host.wait_active()
    host.run(["install", "-d", "-o", "alice", "/var/lib/launch"])
    host.run(["sh", "-c", "cat >/var/lib/launch/tell.py"], stdin=TELL)


@pytest.fixture
def name(host: Host) -> Iterator[str]:
    unit_name = unit()
    yield unit_name
    assert ask(host, "stop", unit_name) is None
    host.run([*SHOW, "reset-failed"], user="alice")
    left = host.run(["find", "/run/user/1000/missiond", "-mindepth", "1"], check=False).stdout
    assert left == ""


def test_it_gets_all_that_it_is_to_have(host: Host, name: str) -> None:
    argv = [
        "/usr/bin/python3",
        "/var/lib/launch/tell.py",
        "a\nb",
        "$HOME ${x} $$",
        "; %h %%",
        "",
        "ü \\ \" '",
    ]
    environment = ["LANG=de_DE.UTF-8", 'T_X=a b\n"$HOME" \\ %h ü', *(f"T_{n}={n}" for n in range(990))]
    files = {"state": "s" * 5_000_000, "want_param": '{"keep": true}'}
    # sent as argv of a command, which has its limits
    files["state"] = "s" * 60_000
    pid = ask(
        host, "start", name, argv=argv, environment=environment, cwd="/var/lib/launch", label="Counter\nx",
        files=files, properties=["MemoryMax=1073741824", "Nice=5"], umask=0o077,
    )  # fmt: skip
    assert isinstance(pid, int)
    host.wait_for(lambda: host.run(["test", "-e", "/var/lib/launch/told"], check=False).returncode == 0)
    told = json.loads(host.run(["cat", "/var/lib/launch/told"]).stdout)
    host.run(["rm", "/var/lib/launch/told"])
    assert told["argv"] == argv[2:]
    assert (told["cwd"], told["uid"], told["umask"]) == ("/var/lib/launch", ALICE, 0o077)
    assert told["env"].pop("MISSIOND_CONTINUED_FROM") == "a" * 64
    assert told["env"] == dict(entry.split("=", 1) for entry in environment)
    assert told["state"] == [files["state"], "0o600", ALICE, "0o700"]
    assert told["want"] == [files["want_param"], "0o600", ALICE, "0o700"]
    assert show(host, name, "Description") == "Counter x"
    assert show(host, name, "MemoryMax") == "1073741824"
    assert int(show(host, name, "MainPID")) == pid
    mission = mission_of(host, "org.example.Counter")
    assert (mission.pid, mission.uid) == (pid, ALICE)
    assert ask(host, "start", name, argv=argv) == pid, "asked again, it is the same"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"argv": ["/usr/bin/no-such-program"]}, "can't be executed"),
        ({"argv": ["/etc/passwd"]}, "can't be executed"),
        ({"cwd": "/no/such/directory"}, "directory can't be entered"),
        ({"cwd": "/root"}, "directory can't be entered"),
    ],
)
def test_what_can_t_start_says_why(host: Host, name: str, what: dict[str, Any], reason: str) -> None:
    said = ask(host, "start", name, files={"state": "x"}, **what)
    assert said.startswith("StartFailed: ")
    assert reason in said
    assert show(host, name, "LoadState") == "not-found"


def test_what_could_start_is_known_before(host: Host, name: str) -> None:
    fine = ask(host, "check", name, cwd="/home/alice")
    assert (fine["cwd"], fine["executable"]) == (True, True)
    assert fine["free"] > 1_000_000
    assert ask(host, "check", name, cwd="/root")["cwd"] is False
    assert ask(host, "check", name, cwd="/no/such")["cwd"] is False
    for program in ("/no/such", "/etc/passwd", "/bin", "/root/x"):
        found = ask(host, "check", name, argv=[program])
        assert (found["cwd"], found["executable"]) == (True, False), program
    host.run(["install", "-d", "-o", "alice", "-m", "700", "/tmp/of-alice"])
    assert ask(host, "check", name, cwd="/tmp/of-alice")["cwd"] is True
    host.run(["rmdir", "/tmp/of-alice"])


def test_links_lead_nowhere(host: Host, name: str) -> None:
    host.run(["mkdir", "-p", "/var/lib/launch/elsewhere"])
    host.run(
        [
            "sh",
            "-c",
            "rm -rf /run/user/1000/missiond; ln -s /var/lib/launch/elsewhere /run/user/1000/missiond",
        ]
    )
    try:
        assert ask(host, "start", name, files={"state": "x"}) in (
            "NotAnswered: ELOOP",
            "NotAnswered: ENOTDIR",
        )
        assert host.run(["ls", "/var/lib/launch/elsewhere"]).stdout == ""
    finally:
        host.run(["rm", "/run/user/1000/missiond"])
    place = "/run/user/1000/missiond"
    host.run(["install", "-d", "-o", "alice", "-m", "700", place])
    link = f"{place}/{name.partition('@')[2].removesuffix('.service')}"
    host.run(["ln", "-s", "/var/lib/launch", link], user="alice")
    assert isinstance(ask(host, "start", name, files={"state": "x"}), int)
    assert "state" not in host.run(["ls", "/var/lib/launch"]).stdout


def test_only_users_who_are_people_and_have_a_manager(host: Host) -> None:
    assert ask(host, "start", unit(), uid=999) == "NotAnswered: EPERM"
    assert ask(host, "start", unit(), uid=1001) == "NotAnswered: ENOENT"
    assert ask(host, "stop", unit(), uid=1001) is None
    assert ask(host, "start", unit(), uid=54321) == "NotAnswered: ESRCH"


def test_prepared_it_starts_at_the_word(host: Host, name: str) -> None:
    pid, took = ask(host, "prepare", name, files={"state": "s" * 5000, "want_param": "{}"})
    assert int(show(host, name, "MainPID")) == pid
    print(f"from the word: {took} ms")
    directory = f"/run/user/1000/missiond/{name.partition('@')[2].removesuffix('.service')}"
    assert host.run(["cat", f"{directory}/state"]).stdout == "s" * 5000
    assert host.run(["ls", "/run/user/1000/missiond"]).stdout.split() == [directory.rpartition("/")[2]]


def test_without_the_word_it_never_starts(host: Host, name: str) -> None:
    """The process that had it prepared is killed."""
    questions = json.dumps([["hold", ALICE, name, {"argv": ["/bin/sleep", "600"]}, {"state": "x"}]])
    place = "/run/user/1000/missiond"
    code = f"""
import subprocess, sys
asker = subprocess.Popen(["python3", "-c", sys.stdin.read(), {questions!r}], stdout=subprocess.PIPE)
assert asker.stdout.readline() == b"held\\n"
asker.kill()
asker.wait()
"""
    host.run(["python3", "-c", code], user="missiond", stdin=PROGRAM)
    host.wait_for(lambda: not host.run(["find", place, "-mindepth", "1"]).stdout)
    assert show(host, name, "LoadState") == "not-found"


def test_from_the_word_to_running(host: Host) -> None:
    """How long nothing runs for the start's sake, against what it takes without."""
    prepared, anew = [], []
    for _ in range(ROUNDS):
        names = [unit() for _ in range(AT_ONCE)]
        asked = [
            question(verb, name, files={"state": "x"})
            for name in names
            for verb in ("prepare", "stop", "start", "stop")
        ]
        said = answers(host, *asked)
        for (pid, took), _ in said[::4]:
            assert pid > 1
            prepared.append(took)
        for pid, took in said[2::4]:
            assert isinstance(pid, int)
            anew.append(took)
    for what, times in (("prepared", sorted(prepared)), ("anew", sorted(anew))):
        print(f"{what}: p50 {times[len(times) // 2]} ms, worst of {len(times)} {times[-1]} ms")
    assert sum(prepared) < sum(anew)


def test_much_state(host: Host, name: str) -> None:
    pid, _ = ask(host, "prepare", name, files={"state": "100"})
    assert isinstance(pid, int)
    directory = f"/run/user/1000/missiond/{name.partition('@')[2].removesuffix('.service')}"
    assert int(host.run(["stat", "-c", "%s", f"{directory}/state"]).stdout) == 100 << 20


def test_the_directory_goes_with_the_unit(host: Host, name: str) -> None:
    pid = ask(host, "start", name, argv=["/bin/sh", "-c", "sleep 600 & wait"], files={"state": "x"})
    directory = f"/run/user/1000/missiond/{name.partition('@')[2].removesuffix('.service')}"
    assert host.run(["ls", directory]).stdout == "state\n"
    host.run(["kill", "-KILL", str(pid)])
    host.wait_for(lambda: host.run(["test", "-e", directory], check=False).returncode != 0)


def test_a_user_who_is_not_logged_in_gets_a_manager(host: Host) -> None:
    """As the agent has it: the unit that holds logins brings the user's manager."""
    name, keeper = unit(), "missiond-keep@1001.service"
    systemd = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
    assert ask(host, "check", name, uid=1001) == "NotAnswered: ENOENT"
    host.busctl("call", *systemd, "StartUnit", "ss", keeper, "replace", user="missiond")
    host.wait_active(keeper)
    assert ask(host, "check", name, uid=1001, cwd="/home/bob")["cwd"] is True
    assert isinstance(ask(host, "start", name, uid=1001, files={"state": "x"}), int)
    mission = mission_of(host, "org.example.Counter", user="bob")
    assert mission.uid == 1001
    assert ask(host, "stop", name, uid=1001) is None
    host.busctl("call", *systemd, "StopUnit", "ss", keeper, "replace", user="missiond")
    host.wait_for(lambda: ask(host, "stop", name, uid=1001) is None)
