# SPDX-License-Identifier: Apache-2.0
"""PackageKit, which knows one package; what it says is what 1.2.6 and 1.3.1 say with apt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from missiond.bus.variants import variant
from missiond.bus.wire.message import Incoming
from standins.services.neighbour import Neighbour

TRANSACTION = "org.freedesktop.PackageKit.Transaction"
PROPERTIES = "org.freedesktop.DBus.Properties"
SUCCESS, FAILED = 1, 2
INSTALLED, AVAILABLE = 1, 2
NOT_AUTHORIZED = 48
DOWNLOAD, INSTALL = 8, 9
_BEGIN = (("Status", 2), ("Status", 27), ("Percentage", 100))
"""It reads apt's cache, which is what this percentage is of."""


class PackageKitStandIn(Neighbour):
    """Installs `known` unless `error` (code and text) is set; says no more from the status `stuck` on.

    `others` are named as well by Resolve, as backends do that look for what provides a name.
    """

    name = "org.freedesktop.PackageKit"
    interface = "org.freedesktop.PackageKit"
    methods: ClassVar[dict[str, str]] = {
        "create_transaction": "CreateTransaction",
        "set_hints": "SetHints",
        "resolve": "Resolve",
        "install_packages": "InstallPackages",
        "cancel": "Cancel",
    }

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.known = "ripgrep"
        self.others: tuple[str, ...] = ()
        self.installed = False
        self.error: tuple[int, str] | None = None
        self.stuck = 0
        self._count = 0

    def serves(self, interface: str) -> bool:
        """Whether calls to this interface are answered."""
        return interface in (self.interface, TRANSACTION)

    async def create_transaction(self, call: Incoming) -> None:
        """Answer CreateTransaction."""
        self._count += 1
        self.connection.reply(call, "o", (f"/{self._count}_abcd",))

    async def set_hints(self, call: Incoming, _hints: list[str]) -> None:
        """Answer SetHints."""
        self.connection.reply(call)

    async def resolve(self, call: Incoming, _filter: int, packages: list[str]) -> None:
        """Answer Resolve."""
        self.connection.reply(call)
        self._show(call, *_BEGIN, ("Status", 4))
        for name in (*self.others, self.known):
            if name in packages or name in self.others:
                info = INSTALLED if self.installed else AVAILABLE
                self._say(call, "Package", "uss", info, f"{name};1.0;all;local", "it")
        self._finish(call, SUCCESS)

    async def install_packages(self, call: Incoming, _flags: int, ids: list[str]) -> None:
        """Answer InstallPackages."""
        self.connection.reply(call)
        self._show(call, ("Status", 31))
        if self.error is not None and self.error[0] == NOT_AUTHORIZED:
            self._show(call, ("Status", 18))
            self._fail(call)
            return
        self._show(call, ("Status", 1), *_BEGIN, ("Status", 4), ("Status", 3), ("Status", 27), ("Status", 8))
        if self.stuck == DOWNLOAD:
            return
        self._item(call, ids[0], 10, 8)
        self._show(call, ("Percentage", 0), ("Percentage", 60), ("Status", 3), ("AllowCancel", False))
        self._show(call, ("Percentage", 101))
        self._item(call, ids[0], 21, 2)
        self._show(call, ("Percentage", 20), ("Status", 9))
        if self.stuck == INSTALL:
            return
        self._item(call, ids[0], 12, 9)
        if self.error is not None:
            self._fail(call)
            return
        self._show(call, ("Percentage", 80), ("AllowCancel", True), ("Status", 18))
        self._finish(call, SUCCESS)

    async def cancel(self, call: Incoming) -> None:
        """Answer Cancel."""
        self.connection.reply(call)

    def _show(self, call: Incoming, *changes: tuple[str, int | bool]) -> None:
        """Change properties, one after the other."""
        for name, value in changes:
            changed = {name: variant("b" if isinstance(value, bool) else "u", value)}
            self.connection.emit(
                call.path or "",
                PROPERTIES,
                "PropertiesChanged",
                "sa{sv}as",
                (TRANSACTION, changed, []),
            )

    def _item(self, call: Incoming, package: str, info: int, status: int) -> None:
        self._say(call, "Package", "uss", info, package, "it")
        self._say(call, "ItemProgress", "suu", package, status, 50)

    def _fail(self, call: Incoming) -> None:
        self._say(call, "ErrorCode", "us", *(self.error or (0, "")))
        self._finish(call, FAILED)

    def _finish(self, call: Incoming, code: int) -> None:
        self._say(call, "Finished", "uu", code, 5)
        self._say(call, "Destroy", "")

    def _say(self, call: Incoming, member: str, signature: str, *body: Any) -> None:
        self.connection.emit(call.path or "", TRANSACTION, member, signature, body)


@asynccontextmanager
async def running_package_kit(address: str) -> AsyncIterator[PackageKitStandIn]:
    """Run it for as long as the block lasts."""
    kit = PackageKitStandIn(address)
    await kit.appear()
    try:
        yield kit
    finally:
        await kit.vanish()
