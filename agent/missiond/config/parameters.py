# SPDX-License-Identifier: Apache-2.0
"""Declarations of settings, the source of validation, sample and manual."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from missiond.config.value_types import ValueType

_METADATA = "missiond"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of the configuration files.

    ``default`` is written as in a file. ``doc`` is one or more plain sentences; the first says what is set.
    ``item`` is the key of a mapping field that this parameter fills, or empty.
    """

    key: str
    kind: ValueType
    default: str
    doc: str
    item: str = ""
    section: str = ""
    field: str = ""

    @property
    def place(self) -> str:
        """Name in messages: ``[Section] Key``."""
        return f"[{self.section}] {self.key}"

    def parse(self, text: str) -> object:
        """Return the value of ``text``, the default for an empty one; raises ValueError."""
        return self.kind.parse(text or self.default)


def setting(key: str, kind: ValueType, default: str, doc: str) -> Any:  # noqa: ANN401 (like dataclasses.field)
    """Declare a dataclass field set by one key."""
    parameter = Parameter(key, kind, default, doc)
    return dataclasses.field(default=kind.parse(default), metadata={_METADATA: (parameter,)})


def mapping_setting(parameters: tuple[Parameter, ...]) -> Any:  # noqa: ANN401 (like dataclasses.field)
    """Declare a dataclass field with a read-only mapping, one key of the files for each item."""
    value = MappingProxyType({each.item: each.kind.parse(each.default) for each in parameters})
    return dataclasses.field(default_factory=lambda: value, metadata={_METADATA: parameters})


def parameters_of(settings_type: type) -> Iterator[Parameter]:
    """Return the parameters of a dataclass of sections, in the order of declaration."""
    for section, section_type in sections_of(settings_type):
        for field in dataclasses.fields(section_type):
            for parameter in field.metadata[_METADATA]:
                yield dataclasses.replace(parameter, section=section, field=field.name)


def sections_of(settings_type: type) -> Iterator[tuple[str, Any]]:
    """Return name and dataclass of each section, named by the class."""
    for field in dataclasses.fields(settings_type):
        yield field.default_factory.__name__.removesuffix("Settings"), field.default_factory  # type: ignore[union-attr]


def value_of(settings: object, parameter: Parameter) -> object:
    """Return the value of a parameter in ``settings``."""
    value = getattr(getattr(settings, _attribute(parameter.section)), parameter.field)
    return value[parameter.item] if parameter.item else value


def build(settings_type: type, values: Mapping[Parameter, object]) -> Any:  # noqa: ANN401 (an instance of it)
    """Return the settings with these values; every parameter must have one."""
    contents: dict[str, dict[str, Any]] = {}
    for parameter, value in values.items():
        section = contents.setdefault(parameter.section, {})
        if parameter.item:
            section.setdefault(parameter.field, {})[parameter.item] = value
        else:
            section[parameter.field] = value
    parts = {}
    for name, section_type in sections_of(settings_type):
        fields = {
            key: MappingProxyType(value) if isinstance(value, dict) else value
            for key, value in contents[name].items()
        }
        parts[_attribute(name)] = section_type(**fields)
    return settings_type(**parts)


def _attribute(section: str) -> str:
    """Name the field of a section; a word of Python's own gets "_" behind it."""
    name = section.lower()
    return f"{name}_" if keyword.iskeyword(name) else name
