# SPDX-License-Identifier: Apache-2.0
"""Installs packages of the host's own repositories by PackageKit (org.freedesktop.PackageKit).

Each step is a transaction, an object of its own that ends with the signal Finished. PackageKit asks polkit
about the agent's bus name: org.freedesktop.packagekit.package-install, for signed packages only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.variants import unwrap
from missiond.common.subscription import Subscription
from missiond.host.followed_service import is_missing

_NAME = "org.freedesktop.PackageKit"
_PATH = "/org/freedesktop/PackageKit"
_TRANSACTION = "org.freedesktop.PackageKit.Transaction"
_PROPERTIES = "org.freedesktop.DBus.Properties"

# pk-enum.h: bit n stands for the n-th value
_NEWEST, _ARCH = 1 << 16, 1 << 18
_ONLY_TRUSTED = 1 << 1
_SUCCESS = 1
_INSTALLED = 1
_DOWNLOADING, _INSTALLING = 8, 9
"""Statuses; the percentage begins anew with each, and in others is of something else, such as apt's cache."""
_MAX_PERCENTAGE = 100
"""101 is unknown."""
_HINTS = ["locale=C.UTF-8", "background=false", "interactive=false"]
"""Nobody is here to be asked."""
_NOT_AUTHORIZED = 48
"""PK_ERROR_ENUM_NOT_AUTHORIZED: polkit said no."""
_DENIED = (f"{_TRANSACTION}.Denied", f"{_TRANSACTION}.RefusedByPolicy")
_MAY_NOT = "the agent may not install packages on this host, see missiond(8)"

QUIET = 300.0
"""Seconds of silence before a transaction is given up; dpkg says little while working."""
CALL_TIMEOUT = 25.0

Progress = Callable[[int], None]


class PackageKitMissing(Exception):
    """No PackageKit on this host; `str()` is the bus's reason."""


class InstallFailed(Exception):
    """A failed installation; `str()` is the reason."""


class PackageKit:
    """The host's PackageKit, started by the bus when asked."""

    def __init__(self, connection: Connection, quiet: float = QUIET) -> None:
        self._connection = connection
        self._quiet = quiet

    async def install(self, package: str, progress: Progress | None = None) -> None:
        """Install a package by name, with all dependencies, unless installed already.

        `progress` is told per cents, of which the download is the first half. Cancelled, it has PackageKit
        cancel as well until files are being replaced, and goes on without anybody from then on. Raises
        PackageKitMissing, InstallFailed.
        """
        found = await self._run("Resolve", "tas", _NEWEST | _ARCH, [package])
        named = [each for each in found if each.id.partition(";")[0] == package]
        if any(each.info == _INSTALLED for each in named):
            return
        ids = [each.id for each in named]
        if not ids:
            raise InstallFailed(f"PackageKit finds no package {package}")
        await self._run("InstallPackages", "tas", _ONLY_TRUSTED, ids[:1], progress=progress)

    async def _run(
        self, member: str, signature: str, *arguments: object, progress: Progress | None = None
    ) -> list[_Package]:
        """Carry out one transaction; the packages that it names."""
        [path] = await self._call(_PATH, _NAME, "CreateTransaction", "", ())
        heard = _Transaction(str(path), progress)
        try:
            async with contextlib.AsyncExitStack() as stack:
                await heard.listen(self._connection, stack)
                await self._call(heard.path, _TRANSACTION, "SetHints", "as", (_HINTS,))
                await self._call(heard.path, _TRANSACTION, member, signature, arguments)
                return await heard.end(self._quiet)
        except BaseException:
            if heard.can_end:
                self._cancel(heard.path)
            raise

    async def _call(
        self, path: str, interface: str, member: str, signature: str, arguments: tuple[object, ...]
    ) -> list[Any]:
        try:
            return await self._connection.call(
                _NAME, path, interface, member, signature, arguments, timeout=CALL_TIMEOUT
            )
        except CallTimeout:
            raise InstallFailed(f"PackageKit gives no answer to {member}") from None
        except RemoteError as error:
            if is_missing(error) and member == "CreateTransaction":
                raise PackageKitMissing(str(error)) from None
            raise InstallFailed(_explained(error)) from None

    def _cancel(self, path: str) -> None:
        """Have it stop, whatever it says to that."""
        if self._connection.connected:
            self._connection.send_call(_NAME, path, _TRANSACTION, "Cancel", no_auto_start=True)


class _Package(NamedTuple):
    """One that a transaction names: pk-enum.h's info and name;version;architecture;repository."""

    info: int
    id: str


class _Transaction:
    """What one says; it begins with nothing said."""

    def __init__(self, path: str, progress: Progress | None) -> None:
        self.path = path
        self.finished = False
        self._progress = progress
        self._said = asyncio.Event()
        self._packages: list[_Package] = []
        self._why = ""
        self._exit: int | None = None
        self._allows = True
        self._status = 0
        self._percentage = 0

    @property
    def can_end(self) -> bool:
        """Whether Cancel does no harm: it is obeyed later as well, and leaves packages half-configured."""
        return self._allows and not self.finished

    async def listen(self, connection: Connection, stack: contextlib.AsyncExitStack) -> None:
        """Hear it until the stack is left."""
        for interface, member, callback in (
            (_TRANSACTION, "Package", self._package),
            (_TRANSACTION, "ErrorCode", self._error),
            (_TRANSACTION, "ItemProgress", self._alive),
            (_TRANSACTION, "Finished", self._finish),
            (_TRANSACTION, "Destroy", self._destroy),
            (_PROPERTIES, "PropertiesChanged", self._changed),
        ):
            subscription: Subscription = await connection.add_signal(
                sender=_NAME, interface=interface, member=member, path=self.path, callback=callback
            )
            stack.callback(subscription.close)
        stack.callback(connection.watch_name(_NAME, self._owner).close)

    async def end(self, quiet: float) -> list[_Package]:
        """Wait for it; the packages that it named. Raises InstallFailed."""
        while not self.finished:
            self._said.clear()
            try:
                async with asyncio.timeout(quiet):
                    await self._said.wait()
            except TimeoutError:
                raise InstallFailed(f"PackageKit has said nothing for {quiet:.0f} s") from None
        if self._exit != _SUCCESS:
            raise InstallFailed(self._why or f"PackageKit failed (exit {self._exit})")
        return self._packages

    def _package(self, info: int, package_id: str, _summary: str) -> None:
        self._packages.append(_Package(info, package_id))
        self._said.set()

    def _error(self, code: int, details: str) -> None:
        self._why = _MAY_NOT if code == _NOT_AUTHORIZED else f"PackageKit: {' '.join(details.split()):.300}"
        self._said.set()

    def _alive(self, *_: object) -> None:
        self._said.set()

    def _finish(self, code: int, _runtime: int) -> None:
        if not self.finished:
            self._exit = code
            self.finished = True
        self._said.set()

    def _destroy(self) -> None:
        self._leave("PackageKit ended it without a word")

    def _owner(self, old: str, _new: str) -> None:
        if old:
            self._leave("PackageKit ended while it was at work; see `journalctl -u packagekit`")

    def _leave(self, why: str) -> None:
        if not self.finished:
            self._why = self._why or why
            self.finished = True
        self._said.set()

    def _changed(self, _interface: str, changed: dict[str, Any], _invalidated: list[str]) -> None:
        self._said.set()
        values = unwrap(changed)
        status, percentage = values.get("Status"), values.get("Percentage")
        self._allows = bool(values.get("AllowCancel", self._allows))
        if isinstance(status, int):
            self._status = status
            if status == _DOWNLOADING:
                self._percentage = 0
        if isinstance(percentage, int):
            self._percentage = percentage if percentage <= _MAX_PERCENTAGE else 0
        if self._progress is not None and self._status in (_DOWNLOADING, _INSTALLING):
            first = 0 if self._status == _DOWNLOADING else _MAX_PERCENTAGE
            self._progress((first + self._percentage) // 2)


def _explained(error: RemoteError) -> str:
    if error.name in _DENIED:
        return _MAY_NOT
    return f"PackageKit: {' '.join(error.text.split()):.300}"
