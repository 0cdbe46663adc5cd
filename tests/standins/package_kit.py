# SPDX-License-Identifier: Apache-2.0
"""PackageKit, which knows one package."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from missiond.bus.values import variant
from missiond.bus.wire import Incoming
from standins.neighbour import Neighbour

TRANSACTION = "org.freedesktop.PackageKit.Transaction"
SUCCESS, FAILED = 1, 2
NOT_AUTHORIZED = 48


class PackageKitStandIn(Neighbour):
    """Installs `known` unless `error` (code and text) is set; with `stuck` it begins and says no more."""

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
        self.error: tuple[int, str] | None = None
        self.stuck = False
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
        """Answer Resolve, also with a package of another name, as a search would."""
        self.connection.reply(call)
        self._say(call, "Package", "uss", 2, f"{self.known}-doc;1.0;all;debian", "its texts")
        if self.known in packages:
            self._say(call, "Package", "uss", 2, f"{self.known};1.0;amd64;debian", "it")
        self._say(call, "Finished", "uu", SUCCESS, 5)

    async def install_packages(self, call: Incoming, _flags: int, _ids: list[str]) -> None:
        """Answer InstallPackages."""
        self.connection.reply(call)
        for percentage in (0, 101, 40):
            changed = {"Percentage": variant("u", percentage)}
            self.connection.emit(
                call.path or "",
                "org.freedesktop.DBus.Properties",
                "PropertiesChanged",
                "sa{sv}as",
                (TRANSACTION, changed, []),
            )
        if self.stuck:
            return
        if self.error is not None:
            self._say(call, "ErrorCode", "us", *self.error)
        self._say(call, "Finished", "uu", FAILED if self.error else SUCCESS, 5)
        self._say(call, "Destroy", "")

    async def cancel(self, call: Incoming) -> None:
        """Answer Cancel."""
        self.connection.reply(call)

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
