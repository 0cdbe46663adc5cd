# SPDX-License-Identifier: Apache-2.0
"""The option want-agent on the bus."""

from __future__ import annotations

from collections.abc import Mapping

from missiond.bus.library import Variant
from missiond.bus.variants import parse_options
from missiond.bus.wire.encode import encode
from missiond.core.tasks.want import Want, parse_want
from missiond.errors import InvalidParameter

_KEYS = {
    "desktop-id": "s",
    "action": "s",
    "uris": "as",
    "uri": "s",
    "bus-name": "s",
    "object-path": "o",
}


def read_want(given: Mapping[str, Variant]) -> Want:
    """Return a checked want-agent; raises InvalidParameter."""
    parameter = given.get("parameter")
    try:
        plain = parse_options({key: value for key, value in given.items() if key != "parameter"}, _KEYS)
    except InvalidParameter as error:
        raise InvalidParameter(f"want-agent: {error.text}") from None
    if parameter is not None:
        plain["parameter"] = _encoded(parameter)
    return parse_want(plain)


def _encoded(parameter: Variant) -> bytes:
    """Any value will do; one in a variant of its own is taken out of it."""
    if parameter.signature == "v":
        parameter = parameter.value
    if "h" in parameter.signature:
        raise InvalidParameter("parameter of want-agent can't be a file descriptor; name the file")
    return bytes(encode("v", (parameter,)))
