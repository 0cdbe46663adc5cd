# SPDX-License-Identifier: Apache-2.0
"""Bus addresses (D-Bus specification, "Server Addresses"); unix sockets only."""

from __future__ import annotations

import os

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


class AddressError(ValueError):
    """No address that can be used."""


def standard_address(*, system: bool) -> str:
    """Address of the system or session bus, from the environment where it says so; raises AddressError."""
    if system:
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if address:
        return address
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime:
        raise AddressError("no session bus: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR are not set")
    return f"unix:path={runtime}/bus"


def socket_names(address: str) -> list[str]:
    """Socket names to try in order (abstract ones start with NUL); raises AddressError when there is none."""
    names = []
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        if transport != "unix":
            continue
        options = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
        if "path" in options:
            names.append(_unescaped(options["path"]))
        elif "abstract" in options:
            names.append("\0" + _unescaped(options["abstract"]))
    if not names:
        raise AddressError(f"{address}: no unix:path= or unix:abstract= in it")
    return names


def _unescaped(value: str) -> str:
    if "%" not in value:
        return value
    from urllib.parse import unquote  # noqa: PLC0415  (rarely needed, and large)

    return unquote(value)
