# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from missiond.helper.processes import Users
from missiond.units import units
from missiond.units.requests import DROP_IN
from missiond.units.units import SystemctlManager, answer

SYSTEMCTL = """#!/bin/sh
# What a manager would say: the state in `state`, Restart= as of the last reload.
cd "$(dirname "$0")" || exit 1
echo "$*" >>calls
case $* in
*hang*) exec sleep 60 ;;
*show*DropInPaths*) cat paths ;;
*show*Transient*) cat transient ;;
*show*) cat state; echo "Restart=$(cat restart)" ;;
*daemon-reload*)
    [ ! -e broken ] || { echo "it is broken" >&2; exit 1; }
    if [ -e drop-ins/a.service.d/50-missiond.conf ]; then
        echo drop-ins/a.service.d/50-missiond.conf >paths
        [ -e stubborn ] || echo always >restart
    else
        : >paths
        echo no >restart
    fi ;;
esac
"""


class Fake:
    """A manager that is a shell script."""

    def __init__(self, place: Path) -> None:
        self.place = place
        tool = place / "systemctl"
        tool.write_text(SYSTEMCTL)
        tool.chmod(0o755)
        self.drop_in = place / "drop-ins/a.service.d" / DROP_IN
        self.manager = SystemctlManager([str(tool)], place / "drop-ins")
        self.write("state", "LoadState=loaded\nType=simple\n")
        self.write("restart", "no\n")
        self.write("transient", "Transient=no\nFragmentPath=\n")
        self.write("paths", "")

    def write(self, name: str, text: str) -> None:
        (self.place / name).write_text(text)

    @property
    def reloads(self) -> int:
        return (self.place / "calls").read_text().count("daemon-reload")


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_a_drop_in_comes_and_goes(fake: Fake) -> None:
    assert "Restart=always" in fake.manager.keep("a.service")
    assert fake.drop_in.read_text().endswith("[Service]\nRestart=always\n")
    assert fake.drop_in.stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert "Restart=always" in fake.manager.keep("a.service")
    assert fake.reloads == 1
    fake.manager.unkeep("a.service")
    assert not fake.drop_in.parent.exists()
    assert "Restart=no" in fake.manager.show("a.service")
    assert fake.reloads == 2
    fake.manager.unkeep("a.service")
    assert fake.reloads == 2


def test_all_drop_ins_go_and_nothing_else(fake: Fake) -> None:
    fake.manager.keep("a.service")
    second = fake.place / "drop-ins/b.service.d" / DROP_IN
    others = [second.with_name("60-own.conf"), fake.place / "drop-ins/c.service.d" / DROP_IN]
    second.parent.mkdir()
    second.write_text(fake.drop_in.read_text())
    others[1].parent.mkdir()
    for other in others:
        other.write_text("[Service]\n")
    waits = fake.place / "drop-ins/d.service.d" / DROP_IN
    waits.parent.mkdir()
    os.mkfifo(waits)
    reloads = fake.reloads
    for _ in range(2):
        fake.manager.unkeep_all()
        assert not fake.drop_in.parent.exists()
        assert not second.exists()
        assert all(other.exists() for other in others)
        assert fake.reloads == reloads + 1


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_its_own_restart_is_left(fake: Fake) -> None:
    fake.write("restart", "on-failure")
    assert "Restart=on-failure" in fake.manager.keep("a.service")
    assert not fake.drop_in.exists()
    assert fake.reloads == 0


@pytest.mark.parametrize("state", ["LoadState=not-found\n", "LoadState=loaded\nType=oneshot\n"])
def test_what_would_be_no_valid_unit_any_more_is_refused(fake: Fake, state: str) -> None:
    fake.write("state", state)
    with pytest.raises(OSError, match="can be started again"):
        fake.manager.keep("a.service")
    assert not fake.drop_in.exists()


@pytest.mark.parametrize(
    ("line", "spoilt"),
    [
        (r'ExecStart="/bin/sh" "-c" "a\;b"', True),
        (r'ExecStart="/bin/sh" "-c" "\$HOME"', True),
        (r'ExecStart="/bin/sh" "-c" "$$HOME"', True),
        (r'ExecStart=:"/bin/sh" "-c" "$HOME"', False),
        (r'ExecStart="/bin/sh" "-c" "a;b"', False),
        (r'Description="\$HOME"', False),
    ],
)
def test_commands_that_a_reload_would_spoil(fake: Fake, line: str, spoilt: bool) -> None:
    fake.write("fragment", f"[Service]\n{line}\n")
    fake.write("transient", f"Transient=yes\nFragmentPath={fake.place}/fragment\n")
    if spoilt:
        with pytest.raises(OSError, match="transient") as caught:
            fake.manager.keep("a.service")
        assert caught.value.errno == errno.ENOEXEC
        assert fake.reloads == 0
    else:
        assert "Restart=always" in fake.manager.keep("a.service")


def test_another_drop_in_may_have_the_last_word(fake: Fake) -> None:
    fake.write("stubborn", "")
    with pytest.raises(FileExistsError):
        fake.manager.keep("a.service")
    assert not fake.drop_in.exists()


def test_a_manager_that_fails_leaves_nothing(fake: Fake) -> None:
    fake.write("broken", "")
    with pytest.raises(OSError, match="it is broken"):
        fake.manager.keep("a.service")
    assert not fake.drop_in.exists()


def test_a_manager_that_hangs_is_not_waited_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "TIMEOUT", 0.2)
    with pytest.raises(TimeoutError):
        fake.manager.show("hang.service")


def test_no_manager_and_one_that_is_gone(tmp_path: Path) -> None:
    manager = SystemctlManager(["false"], tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError):
        manager.show("a.service")
    (tmp_path / "systemd").mkdir()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "systemd/private"))
    with pytest.raises(ConnectionRefusedError):
        manager.show("a.service")


def test_only_of_people() -> None:
    assert answer(b"show 999 a.service", Users()) == b"no EPERM"
    assert answer(b"show 65534 a.service", Users()) == b"no EPERM"
    assert answer(b"stop system a.service", Users()) == b"no EINVAL"
    assert answer(b"show 1000 ../a.service", Users()) == b"no EINVAL"


def test_answers(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemctlManager, "system", lambda: fake.manager)
    assert answer(b"show system a.service", Users()) == b"ok\nLoadState=loaded\nType=simple\nRestart=no\n"
    assert answer(b"keep system a.service", Users()).endswith(b"Restart=always\n")
    assert answer(b"unkeep system a.service", Users()) == b"ok\n"
    fake.write("state", "LoadState=masked\n")
    assert answer(b"keep system a.service", Users()) == b"no EINVAL"


def test_it_is_started_by_its_socket_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert units.main() == 2
    assert "missiond-units.socket" in capsys.readouterr().err
