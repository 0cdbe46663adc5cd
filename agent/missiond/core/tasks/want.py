# SPDX-License-Identifier: Apache-2.0
"""Action of a click on a task's notification: open an application, a URI, or call an application."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from missiond.core.schema import BadValue, Length, Through
from missiond.errors import InvalidParameter

FORMS = {
    "desktop-id": {"desktop-id", "action", "uris"},
    "uri": {"uri"},
    "bus-name": {"bus-name", "object-path", "action", "parameter"},
}
"""Forms of want-agent: the key of each, and all keys allowed."""
SCHEMES = ("http", "https", "mailto")
MOST_URIS = 32
MOST_PARAMETER = 4096
"""Longest `parameter` in bytes of D-Bus."""

_LONGEST_URI = 2048
_LONGEST_NAME = 255
_DESKTOP_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_ACTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_ELEMENT = "[A-Za-z_-][A-Za-z0-9_-]*"
_BUS_NAME = re.compile(rf"{_ELEMENT}(\.{_ELEMENT})+")
_PATH = re.compile(r"/|(/[A-Za-z0-9_]+)+")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+)")
"""Of RFC 3986: what is not ASCII has to be written with %."""


def _of_hex(value: object) -> bytes:
    try:
        return bytes.fromhex(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise BadValue("not hexadecimal digits") from None


@dataclass(frozen=True, slots=True)
class Want:
    """A want-agent in one of three forms: with a `desktop_id`, a `uri` or a `bus_name`.

    `parameter` is a variant in D-Bus' own form (little-endian); empty without one.
    """

    desktop_id: str = ""
    uri: str = ""
    bus_name: str = ""
    object_path: str = ""
    action: str = ""
    uris: Annotated[tuple[str, ...], Length(MOST_URIS)] = ()
    parameter: Annotated[bytes, Through(_of_hex, bytes.hex)] = b""


def parse_want(given: Mapping[str, Any], schemes: Collection[str] = SCHEMES) -> Want:
    """Check a want: keys as on the bus, values of the right types, `parameter` as bytes.

    Raises InvalidParameter, which says what is wrong with it.
    """
    forms = [form for form in FORMS if form in given]
    if len(forms) != 1:
        raise InvalidParameter(f"want-agent has exactly one of {', '.join(FORMS)}, got {len(forms)} of them")
    (form,) = forms
    strange = sorted(set(given) - FORMS[form])
    if strange:
        raise InvalidParameter(f"want-agent with {form} has no {', '.join(strange)}; leave it out")
    if form == "uri":
        return Want(uri=_uri(given["uri"], schemes))
    if form == "desktop-id":
        return _desktop(given, schemes)
    return _bus(given)


def _desktop(given: Mapping[str, Any], schemes: Collection[str]) -> Want:
    name = _fit("desktop-id", given["desktop-id"], _DESKTOP_ID, "is the name of a .desktop file, no path")
    uris = given.get("uris", [])
    if len(uris) > MOST_URIS:
        raise InvalidParameter(f"want-agent takes {MOST_URIS} uris at most, got {len(uris)}")
    return Want(
        desktop_id=name.removesuffix(".desktop") or name,
        action=_action(given) if "action" in given else "",
        uris=tuple(_uri(uri, schemes) for uri in uris),
    )


def _bus(given: Mapping[str, Any]) -> Want:
    name = _fit("bus-name", given["bus-name"], _BUS_NAME, "is a well-known name such as org.example.Player")
    if "action" not in given:
        raise InvalidParameter("want-agent with bus-name needs an action")
    path = given.get("object-path", "/" + name.replace(".", "/").replace("-", "_"))
    if not _PATH.fullmatch(path):
        raise InvalidParameter("object-path of want-agent is no D-Bus object path")
    parameter = bytes(given.get("parameter", b""))
    if len(parameter) > MOST_PARAMETER:
        raise InvalidParameter(f"parameter of want-agent is longer than {MOST_PARAMETER} bytes; shorten it")
    return Want(bus_name=name, object_path=path, action=_action(given), parameter=parameter)


def _action(given: Mapping[str, Any]) -> str:
    return _fit("action", given["action"], _ACTION, "has letters, digits, _ . and - only")


def _fit(key: str, text: str, pattern: re.Pattern[str], rule: str) -> str:
    if len(text) > _LONGEST_NAME or not pattern.fullmatch(text):
        raise InvalidParameter(f"{key} of want-agent {rule}, {_LONGEST_NAME} characters at most")
    return text


def _uri(text: str, schemes: Collection[str]) -> str:
    """Raise InvalidParameter for what is no URI, or of a scheme that is not to be opened."""
    found = _URI.fullmatch(text) if len(text) <= _LONGEST_URI else None
    if found is None:
        raise InvalidParameter(f"want-agent has a uri that is none, or is longer than {_LONGEST_URI} bytes")
    scheme, rest = found[1].lower(), found[2]
    if scheme not in schemes:
        raise InvalidParameter(f"want-agent opens uris of {', '.join(schemes)} only, not {scheme[:40]}")
    if scheme.startswith("http") and not re.match(r"//[^/?#]", rest):
        raise InvalidParameter(f"want-agent has a uri without a host; write {scheme}://HOST/...")
    if scheme == "mailto" and rest.startswith("//"):
        raise InvalidParameter("want-agent has a uri without an address; write mailto:NAME@HOST")
    return text
