# SPDX-License-Identifier: Apache-2.0
"""Interface descriptions, read from the shipped introspection XML."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from missiond.bus.wire.signature import split

_EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_OPTIONS = "org.missiond.Options"
"""Annotation of a method: the keys of its `a{sv}` argument and their types, as `key:signature`."""
_EMITS_VALUES = ("true", "invalidates", "const", "false")
_PREFIX = "org.missiond."
_SOURCE_TREE = Path(__file__).resolve().parents[3] / "dbus"
_ELEMENT = re.compile(r"[ \t]*<interface\b.*?</interface>", re.DOTALL)


class SpecError(Exception):
    """A missing or wrong XML description."""


@dataclass(frozen=True)
class InterfaceSpec:
    """One D-Bus interface."""

    name: str
    xml: str
    """The `<interface>` element exactly as shipped, with comments and annotations."""
    methods: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Member to (signature of the arguments, signature of the results)."""
    properties: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name to (signature, EmitsChangedSignal: `true`, `invalidates`, `const` or `false`)."""
    signals: dict[str, str] = field(default_factory=dict)
    """Member to signature."""
    options: dict[str, dict[str, str]] = field(default_factory=dict)
    """Keys of the `a{sv}` argument and the signatures of the values, by method."""


def directories() -> list[Path]:
    """Where the XML is looked for, in order: source tree, this Python's prefix, the system."""
    share = "share/dbus-1/interfaces"
    installed = [Path(sys.prefix, share), Path("/usr", share), Path("/usr/local", share)]
    return [_SOURCE_TREE, *dict.fromkeys(installed)]


def load_specs(directory: Path | None = None) -> dict[str, InterfaceSpec]:
    """Read all our interfaces from `directory`, or from the first of `directories()` with any.

    Raises SpecError.
    """
    for candidate in [directory] if directory is not None else directories():
        files = sorted(candidate.glob(f"{_PREFIX}*.xml"))
        if files:
            specs = [spec for file in files for spec in parse(file.read_text(encoding="utf-8"), str(file))]
            return {spec.name: spec for spec in specs}
    raise SpecError(
        f"no {_PREFIX}*.xml in {', '.join(map(str, [directory] if directory else directories()))}"
    )


def load_spec(name: str) -> InterfaceSpec:
    """Read a single interface, for a client; raises SpecError."""
    for directory in directories():
        file = directory / f"{name}.xml"
        if file.is_file():
            return next(
                spec for spec in parse(file.read_text(encoding="utf-8"), str(file)) if spec.name == name
            )
    raise SpecError(f"no {name}.xml in {', '.join(map(str, directories()))}; is missiond installed?")


def parse(text: str, source: str = "XML") -> list[InterfaceSpec]:
    """Read every interface in one introspection document of ours; raises SpecError."""
    try:
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise SpecError(f"{source}: {error}") from None
    elements = root.findall("interface")
    raw = _ELEMENT.findall(text)
    if root.tag != "node" or len(raw) != len(elements):
        raise SpecError(f"{source}: expected a node with interfaces")
    try:
        return [_interface(element, xml) for element, xml in zip(elements, raw, strict=True)]
    except (KeyError, ValueError) as error:
        raise SpecError(f"{source}: {error!r}") from None


def _interface(element: ET.Element, xml: str) -> InterfaceSpec:
    return InterfaceSpec(
        element.attrib["name"],
        xml,
        {
            method.attrib["name"]: (_arguments(method, "in"), _arguments(method, "out"))
            for method in element.findall("method")
        },
        {prop.attrib["name"]: _property(element, prop) for prop in element.findall("property")},
        {signal.attrib["name"]: _arguments(signal, "out") for signal in element.findall("signal")},
        {
            method.attrib["name"]: _options(method)
            for method in element.findall("method")
            if _annotation(method, _OPTIONS) is not None
        },
    )


def _arguments(member: ET.Element, direction: str) -> str:
    default = "in" if member.tag == "method" else "out"
    types = [
        arg.attrib["type"] for arg in member.findall("arg") if arg.get("direction", default) == direction
    ]
    signature = "".join(types)
    if len(split(signature)) != len(types):
        raise ValueError(f"{member.attrib['name']}: one complete type per argument")
    return signature


def _options(method: ET.Element) -> dict[str, str]:
    words = (_annotation(method, _OPTIONS) or "").split()
    options = dict(word.split(":", 1) for word in words)
    for key, signature in options.items():
        if not key or len(split(signature)) != 1:
            raise ValueError(f"{method.attrib['name']}: option {key!r} has one complete type")
    return options


def _property(interface: ET.Element, element: ET.Element) -> tuple[str, str]:
    if element.attrib["access"] != "read":
        raise ValueError(f"{element.attrib['name']}: properties are read-only")
    emits = _annotation(element) or _annotation(interface) or "true"
    if emits not in _EMITS_VALUES:
        raise ValueError(f"{element.attrib['name']}: EmitsChangedSignal={emits}")
    split(element.attrib["type"])
    return element.attrib["type"], emits


def _annotation(element: ET.Element, name: str = _EMITS) -> str | None:
    for annotation in element.findall("annotation"):
        if annotation.get("name") == name:
            return annotation.get("value")
    return None
