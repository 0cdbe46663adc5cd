# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from missiond.bus.connection import Connection
from missiond.daemon.handover.launcher import MissingPrograms
from missiond.errors import RemoteNeedsFreeInstall
from missiond.host.package_kit import InstallFailed, PackageKit, PackageKitMissing
from standins.services.package_kit import (
    DOWNLOAD,
    INSTALL,
    NOT_AUTHORIZED,
    PackageKitStandIn,
    running_package_kit,
)


@pytest.fixture
async def kit(system_bus: str) -> AsyncIterator[PackageKitStandIn]:
    async with running_package_kit(system_bus) as running:
        yield running


async def test_installed_with_progress(kit: PackageKitStandIn, connection: Connection) -> None:
    told: list[int] = []
    await PackageKit(connection).install("ripgrep", told.append)
    # nothing of the cache; twice where the status comes by itself
    assert list(dict.fromkeys(told)) == [0, 30, 60, 90]
    assert kit.called("Resolve") == [[1 << 16 | 1 << 18, ["ripgrep"]]]
    assert kit.called("InstallPackages") == [[2, ["ripgrep;1.0;all;local"]]]
    assert all("interactive=false" in hints for [hints] in kit.called("SetHints"))
    assert kit.called("Cancel") == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ((NOT_AUTHORIZED, "Failed to obtain authentication."), "may not install packages"),
        ((2, "no\nnetwork"), "PackageKit: no network"),
    ],
)
async def test_it_fails(
    kit: PackageKitStandIn, connection: Connection, error: tuple[int, str], said: str
) -> None:
    kit.error = error
    with pytest.raises(InstallFailed, match=said):
        await PackageKit(connection).install("ripgrep")


async def test_it_does_not_know_the_package(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.known = "other"
    with pytest.raises(InstallFailed, match="finds no package ripgrep"):
        await PackageKit(connection).install("ripgrep")
    assert kit.called("InstallPackages") == []


async def test_it_knows_others_that_are_like_it(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.others = ("ripgrep-doc", "ripgrep2")
    await PackageKit(connection).install("ripgrep")
    assert kit.called("InstallPackages") == [[2, ["ripgrep;1.0;all;local"]]]
    kit.known = "other"
    with pytest.raises(InstallFailed, match="finds no package ripgrep"):
        await PackageKit(connection).install("ripgrep")


async def test_it_was_installed_meanwhile(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.installed = True
    await PackageKit(connection).install("ripgrep")
    assert kit.called("InstallPackages") == []


async def test_it_refuses_a_call(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.failures["InstallPackages"] = ("org.freedesktop.PackageKit.Transaction.RefusedByPolicy", "no")
    with pytest.raises(InstallFailed, match="may not install packages"):
        await PackageKit(connection).install("ripgrep")
    kit.failures["InstallPackages"] = ("org.freedesktop.PackageKit.Transaction.PackageIdInvalid", "odd\nid")
    with pytest.raises(InstallFailed, match="PackageKit: odd id"):
        await PackageKit(connection).install("ripgrep")


async def test_it_hangs(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.stuck = DOWNLOAD
    with pytest.raises(InstallFailed, match="said nothing"):
        await PackageKit(connection, quiet=0.1).install("ripgrep")
    await kit.until_called("Cancel")
    installing = asyncio.ensure_future(PackageKit(connection).install("ripgrep"))
    await kit.until_called("InstallPackages", 2)
    installing.cancel()
    await kit.until_called("Cancel", 2)
    with pytest.raises(asyncio.CancelledError):
        await installing


async def test_what_is_being_unpacked_is_left_to_it(kit: PackageKitStandIn, connection: Connection) -> None:
    """It would end dpkg in the middle of that if it was told to."""
    kit.stuck = INSTALL
    with pytest.raises(InstallFailed, match="said nothing"):
        await PackageKit(connection, quiet=0.1).install("ripgrep")
    kit.stuck = 0
    await PackageKit(connection).install("ripgrep")
    assert kit.called("Cancel") == []


async def test_it_dies_at_work(kit: PackageKitStandIn, connection: Connection) -> None:
    kit.stuck = INSTALL
    at_work = asyncio.Event()
    installing = asyncio.ensure_future(
        PackageKit(connection).install("ripgrep", lambda percent: at_work.set() if percent == 60 else None)
    )
    await asyncio.wait_for(at_work.wait(), 20)
    await kit.vanish()
    with pytest.raises(InstallFailed, match="ended"):
        await asyncio.wait_for(installing, 20)


async def test_there_is_none(connection: Connection) -> None:
    kit = PackageKit(connection)
    with pytest.raises(PackageKitMissing):
        await kit.install("ripgrep")

    async def known(_program: str) -> str:
        return "ripgrep"

    with pytest.raises(RemoteNeedsFreeInstall, match=r"no PackageKit.* have ripgrep installed there first"):
        await MissingPrograms(known, kit).missing("/usr/bin/rg", install=True)


async def test_a_missing_program_is_installed(kit: PackageKitStandIn, connection: Connection) -> None:
    async def known(_program: str) -> str:
        return "ripgrep"

    programs = MissingPrograms(known, PackageKit(connection))
    await programs.missing("/usr/bin/rg", install=True)
    with pytest.raises(RemoteNeedsFreeInstall):
        await programs.missing("/usr/bin/rg", install=False)
    kit.error = (NOT_AUTHORIZED, "no")
    with pytest.raises(RemoteNeedsFreeInstall, match=r"may not .* have ripgrep installed"):
        await programs.missing("/usr/bin/rg", install=True)
    assert len(kit.called("InstallPackages")) == 2
