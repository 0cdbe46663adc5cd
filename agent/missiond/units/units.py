# SPDX-License-Identifier: Apache-2.0
"""`missiond-units`: answers one question about a service, and ends; see `requests` and missiond(8).

systemd starts one for each connection. About a service of a user's manager it becomes that user before it
does anything: whatever lies in that user's directories, and whoever answers there in place of a manager, has
to do with that user's own rights only.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from missiond.helper.processes import Users
from missiond.logs import set_up
from missiond.units.launches import Launches
from missiond.units.requests import (
    DROP_IN,
    MAX_FDS,
    MAX_MESSAGE,
    OF_MISSIONS,
    PROPERTIES,
    WITH_ORDER,
    Order,
    Question,
    parse,
    read_order,
)
from missiond.units.unit_watch import serve as watch
from missiond.units.user_manager import UserManager

AGENT = "missiond"
COMMENT = "# Written by missiond while a task with keep-alive restart lives.\n"
CHANGES = {
    "Restart=no": "[Service]\nRestart=always\n",
    "CollectMode=inactive-or-failed": "[Unit]\nCollectMode=inactive\n",
}
"""Lines of `systemctl show`, and the text of a drop-in for each: the service is to be started again, and
to be remembered after a failure.
"""

TIMEOUT, RELOAD_TIMEOUT = 5.0, 20.0
"""Seconds for one answer of a manager's, and for a reload, slow on a large host."""

_SPOILT = re.compile(r"^Exec\w+=(?:.*\\[;$]|[^:\n].*\$)", re.MULTILINE)
_SYSTEMCTL = ("/usr/bin/systemctl", "--no-pager", "--no-ask-password")
_FIRST_FD = 3
_CREDENTIALS = struct.Struct("iII")
_LOGGER = logging.getLogger(__name__)


class SystemctlManager:
    """A service manager, reached by systemctl(1); `directory` has the runtime drop-ins.

    `runtime` is a user's own directory, None for the system's manager.
    """

    def __init__(self, systemctl: Sequence[str], directory: Path, runtime: Path | None = None) -> None:
        self._systemctl = systemctl
        self._directory = directory
        self.runtime = runtime

    @classmethod
    def system(cls) -> SystemctlManager:
        """Return the system's manager."""
        return cls(_SYSTEMCTL, Path("/run/systemd/system"))

    @classmethod
    def of_user(cls, uid: int) -> SystemctlManager:
        """Return the user's manager, for this user alone to ask."""
        runtime = Path(f"/run/user/{uid}")
        return cls((*_SYSTEMCTL, "--user"), runtime / "systemd/user", runtime)

    def show(self, service: str, properties: Sequence[str] = PROPERTIES) -> str:
        """Return properties as lines; raises OSError."""
        return self._run("show", f"--property={','.join(properties)}", "--", service)

    def keep(self, service: str) -> str:
        """Write the drop-in for a service in need of CHANGES; return the new properties. Raises OSError.

        A service of Type=oneshot is refused: the drop-in would make the unit invalid. A service that is
        restarted anyway is left alone if a reload would spoil its command.
        """
        shown = self.show(service)
        lines = shown.split("\n")
        if "LoadState=loaded" not in lines or "Type=oneshot" in lines:
            raise OSError(errno.EINVAL, f"{service} is no service that can be started again")
        changes = [text for line, text in CHANGES.items() if line in lines]
        if not changes:
            return shown
        try:
            self._check_command(service)
        except OSError as error:
            if "Restart=no" in lines or error.errno != errno.ENOEXEC:
                raise
            return shown
        directory = self._directory / f"{service}.d"
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        (directory / DROP_IN).write_text(COMMENT + "".join(changes))
        try:
            self._run("daemon-reload")
            return self._shown_kept(service)
        except OSError:
            with contextlib.suppress(OSError):
                self.unkeep(service)
            raise

    def unkeep(self, service: str) -> None:
        """Remove the drop-in, and reload the manager where the drop-in is loaded. Raises OSError."""
        directory = self._directory / f"{service}.d"
        try:
            (directory / DROP_IN).unlink()
        except FileNotFoundError:
            return
        with contextlib.suppress(OSError):
            directory.rmdir()
        if DROP_IN in self.show(service, ("DropInPaths",)):
            self._run("daemon-reload")

    def unkeep_all(self) -> None:
        """Remove all drop-ins of `keep`, and reload the manager; raises OSError."""
        removed = False
        for file in sorted(self._directory.glob(f"*.service.d/{DROP_IN}")):
            if file.is_symlink() or not file.is_file():
                continue
            if not file.read_text(errors="replace").startswith(COMMENT):
                continue
            file.unlink()
            removed = True
            with contextlib.suppress(OSError):
                file.parent.rmdir()
        if removed:
            self._run("daemon-reload")

    def thaw(self, unit: str) -> None:
        """Thaw a unit, in the manager's books too; raises OSError, EAGAIN while still being frozen.

        A cgroup thawed behind the manager's back leaves the unit frozen in its books, and then systemd 257
        refuses to stop it.
        """
        with UserManager(self.runtime or Path("/run"), TIMEOUT) as manager:
            if manager.thaw(unit) != "running":
                raise OSError(errno.EAGAIN, f"{unit} is not thawed yet")

    def _check_command(self, service: str) -> None:
        """Raise OSError where a reload would spoil the command.

        systemd writes the commands of transient services to files, and until now reads some of what it has
        escaped there (252: ; and $, 257: $) back as something else.
        """
        values = self.show(service, ("Transient", "FragmentPath")).splitlines()
        path = next((line.partition("=")[2] for line in values if line.startswith("FragmentPath=")), "")
        if "Transient=yes" in values and _SPOILT.search(Path(path).read_text(errors="replace")):
            raise OSError(errno.ENOEXEC, f"{service} is transient, with ; or $ in its command")

    def _shown_kept(self, service: str) -> str:
        shown = self.show(service)
        if "Restart=no" in shown.split("\n"):
            raise OSError(errno.EEXIST, f"another drop-in of {service} has the last word on Restart=")
        return shown

    def _check_there(self) -> None:
        """Raise OSError where no such manager runs."""
        if self.runtime is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT)
                connection.connect(os.fspath(self.runtime / "systemd/private"))

    def _run(self, *arguments: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        if self.runtime is not None:
            environment["XDG_RUNTIME_DIR"] = os.fspath(self.runtime)
        try:
            done = subprocess.run(  # noqa: S603 - systemctl with checked arguments
                [*self._systemctl, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=RELOAD_TIMEOUT if arguments[0] == "daemon-reload" else TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(errno.ETIMEDOUT, "the service manager gives no answer") from None
        if done.returncode:
            self._check_there()
            said = done.stderr.decode(errors="replace").strip()
            raise OSError(errno.EIO, f"systemctl {arguments[0]}: {said[:200]!r}")
        return done.stdout[: MAX_MESSAGE - 3].decode(errors="replace")


def answer(
    data: bytes, users: Users, fds: Sequence[int] = (), connection: socket.socket | None = None
) -> bytes:
    """Carry out one question, and return the answer; this process may be another user's after.

    Empty where nobody waits for the answer: a prepared start was not wanted.
    """
    try:
        question = parse(data)
        order = read_order(fds) if question.verb in WITH_ORDER else None
    except (ValueError, OSError) as error:
        _LOGGER.warning("refused a message: %s", error)
        return b"no EINVAL"
    try:
        manager = _manager(question, users)
        if question.verb == "watch":
            if connection is not None:
                watch(connection, manager.runtime or Path("/run"), question.service)
            return b""
        if question.verb in OF_MISSIONS:
            launches = Launches(Path(f"/run/user/{question.manager}"))
            launched = _launch(launches, question, order, fds[1:], connection)
            if launched is None:
                return b""
            said = launched
        else:
            said = _ask(manager, question)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "EIO")
        if name not in ("ENOENT", "ESRCH", "ECONNREFUSED", "EAGAIN"):
            _LOGGER.warning("%s: %s", question, error)
        return b"no " + name.encode()
    return f"ok\n{said}".encode()


def _ask(manager: SystemctlManager, question: Question) -> str:
    match question.verb:
        case "show":
            return manager.show(question.service)
        case "keep":
            return manager.keep(question.service)
        case "thaw":
            manager.thaw(question.service)
            return ""
    manager.unkeep(question.service)
    return ""


def _launch(
    launches: Launches,
    question: Question,
    order: Order | None,
    fds: Sequence[int],
    connection: socket.socket | None,
) -> str | None:
    if order is None:
        ask = launches.ended if question.verb == "ended" else launches.stop
        return ask(question.service)
    if question.verb == "check":
        return launches.check(question.service, order.what)
    files = [(name, fd, size) for (name, size), fd in zip(order.files, fds, strict=True)]
    if question.verb == "prepare" and connection is not None:
        return launches.serve_prepared(connection, question.service, order, files)
    return launches.start(question.service, order.what, files, order.origin)


def become(uid: int) -> None:
    """Become a user for good, without capabilities and further groups; raises OSError."""
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        raise ProcessLookupError(errno.ESRCH, f"no user {uid}") from None
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _manager(question: Question, users: Users) -> SystemctlManager:
    if question.manager is None:
        return SystemctlManager.system()
    if question.manager not in users:
        raise PermissionError(errno.EPERM, f"{question.manager} is no person's uid")
    become(question.manager)
    return SystemctlManager.of_user(question.manager)


def main() -> int:
    """Serve the one connection passed by systemd (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        print("missiond-units is started by missiond-units.socket", file=sys.stderr)
        return 2
    set_up()
    os.umask(0o022)
    with socket.socket(fileno=_FIRST_FD) as connection:
        connection.settimeout(TIMEOUT)
        size = _CREDENTIALS.size
        pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        if uid not in (0, pwd.getpwnam(AGENT).pw_uid):
            _LOGGER.warning("refused process %d of uid %d", pid, uid)
            return 1
        with contextlib.suppress(OSError):  # whoever asked may be gone
            data, fds, _, _ = socket.recv_fds(connection, MAX_MESSAGE + 1, MAX_FDS)
            if data and (said := answer(data, Users(), fds, connection)):
                connection.send(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
