# SPDX-License-Identifier: Apache-2.0
"""Calls of everything that the shipped XML names, sensible and not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from missiond import bus_names
from missiond.bus import standard
from missiond.bus.introspection import InterfaceSpec, load_specs
from missiond.bus.wire import message as wire
from missiond.bus.wire.encode import Typed
from missiond.bus.wire.signature import split
from missiond.core.tasks.continuous import KEEP_ALIVE
from missiond.core.tasks.modes import BY_ITEM

SPECS = load_specs()
STANDARD = {
    (standard.PEER, "Ping"): ("", ""),
    (standard.PEER, "GetMachineId"): ("", "s"),
    (standard.INTROSPECTABLE, "Introspect"): ("", "s"),
    (standard.PROPERTIES, "Get"): ("ss", "v"),
    (standard.PROPERTIES, "Set"): ("ssv", ""),
    (standard.PROPERTIES, "GetAll"): ("s", "a{sv}"),
    (standard.OBJECT_MANAGER, "GetManagedObjects"): ("", "a{oa{sa{sv}}}"),
}
METHODS = STANDARD | {
    (spec.name, member): types for spec in SPECS.values() for member, types in spec.methods.items()
}
"""(interface, member) to the signatures of arguments and results."""

ENDS_PROGRAMS = {"TerminateMission", "ContinueMission", "ContinueApplication"}
"""Never called for a program of whoever runs the tests: numbers in them name nothing."""

_KINDS = ("transient", "continuous", "mission", "peer")
_DOCUMENTED = re.compile(r"`([a-z][a-z-]*)` ([a-z{}()]+)")


@dataclass(frozen=True)
class Recent:
    """The id of a task or mission of this sequence: the last one but `back` of its kind."""

    kind: str
    back: int


@dataclass(frozen=True)
class Owner:
    """The pid of one of the processes that wait to own tasks."""

    number: int


@dataclass(frozen=True)
class Call:
    """One message of a client; `path` may end in a Recent."""

    privileged: bool
    path: str | Recent
    interface: str | None
    member: str
    signature: str
    body: tuple[Any, ...]
    flags: int

    @property
    def answered(self) -> bool:
        """Whether there must be an answer."""
        return not self.flags & wire.NO_REPLY_EXPECTED


def _options(spec: InterfaceSpec) -> dict[str, str]:
    """The keys that the documentation in the XML knows, and their types."""
    found = {key: kind for key, kind in _DOCUMENTED.findall(spec.xml) if _is_type(kind)}
    return found or {"pid": "u"}


def _is_type(text: str) -> bool:
    try:
        return len(split(text)) == 1
    except ValueError:
        return False


_RECENT = st.builds(Recent, st.sampled_from(_KINDS[:3]), st.integers(0, 3))
_OWNERS = st.one_of(st.builds(Owner, st.integers(0, 3)), st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
_WORDS: dict[str, values.Values] = {
    "pid": _OWNERS,
    "context": st.sampled_from(["", "a", "b", "c"]),
    "keep-alive": st.sampled_from([*KEEP_ALIVE, "never"]),
    "delay": st.sampled_from([0, 1, 5_000, 200_000, 2**32 - 1]),
}


def _dictionary(options: dict[str, str]) -> values.Values:
    """`a{sv}` with keys that mean something, most of the right type."""

    def entry(key: str) -> st.SearchStrategy[tuple[str, Any]]:
        right = st.builds(Typed, st.just(options[key]), _WORDS.get(key, values.of(options[key])))
        return st.tuples(st.just(key), right if key == "pid" else st.one_of(right, right, values.of("v")))

    known = st.lists(st.sampled_from(sorted(options)).flatmap(entry), max_size=3).map(dict)
    return st.one_of(known, known, st.just({}), values.of("a{sv}"))


def _argument(spec: InterfaceSpec, type_: str) -> values.Values:
    if type_ == "a{sv}":
        return _dictionary(_options(spec))
    if type_ == "u":
        return st.one_of(_RECENT, _RECENT, values.of("u"))
    if type_ == "as":
        modes = st.lists(st.sampled_from([*BY_ITEM, "nothing"]), max_size=4)
        return st.one_of(modes, modes, values.of("as"))
    if type_ == "s":
        return st.one_of(st.just(""), st.sampled_from(["0" * 64, "f" * 64, "F" * 64]), values.TEXTS)
    return values.of(type_)


def _sensible(interface: str, member: str) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    takes = METHODS[interface, member][0]
    if interface == standard.PROPERTIES:
        named = st.sampled_from([(spec.name, name) for spec in SPECS.values() for name in spec.properties])
        whole = named.map(lambda it: (*it, Typed("u", 1)))
        return whole.map(lambda it: (takes, it[: len(takes)]))
    spec = SPECS.get(interface)
    parts = [values.of(type_) if spec is None else _argument(spec, type_) for type_ in split(takes)]
    return st.tuples(*parts).map(lambda body: (takes, body))


def _odd_name(separator: str) -> st.SearchStrategy[str]:
    """What the bus passes on as a member or an interface, but nobody has."""
    words = st.sampled_from(["x", "_", "Get", "A1", "a" * 100, "__init__", "properties", "name"])
    return words if not separator else st.tuples(words, words).map(separator.join)


_OBJECT_PATHS: st.SearchStrategy[str | Recent] = st.one_of(
    st.just(bus_names.MANAGER_PATH),
    _RECENT,
    st.builds(
        lambda kind, end: f"{bus_names.MANAGER_PATH}/{kind}/{end}",
        st.sampled_from(_KINDS),
        st.sampled_from(["0", "1", "01", "4294967295", "4294967296", "x", "1/1", "9" * 40]),
    ),
    values.PATHS,
)
_CREATING = {member for (_, member), (_, gives) in METHODS.items() if gives}
"""Methods with results: where nobody waited for one, nobody would know when it is over."""


def _flags(member: str) -> st.SearchStrategy[int]:
    quiet = 0 if member in _CREATING else wire.NO_REPLY_EXPECTED
    return st.sampled_from([0, 0, 0, quiet, wire.ALLOW_INTERACTIVE_AUTHORIZATION, 0xF0])


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Any call: half of them as they should be, the others wrong somewhere."""
    interface, member = draw(st.sampled_from(sorted(METHODS)))
    sensible = draw(st.booleans())
    path: str | Recent = bus_names.MANAGER_PATH
    if interface in (standard.PROPERTIES, standard.INTROSPECTABLE) or not sensible:
        path = draw(_OBJECT_PATHS)
    signature, body = draw(_sensible(interface, member))
    given: str | None = interface
    if not sensible:
        wrong = draw(st.sampled_from(["body", "path", "interface", "member", "no interface"]))
        if wrong == "body":
            signature, body = draw(values.BODIES)
        elif wrong == "interface":
            given = draw(st.one_of(_odd_name("."), st.sampled_from([name for name, _ in METHODS])))
        elif wrong == "member":
            member = draw(st.one_of(_odd_name(""), st.sampled_from([name for _, name in METHODS])))
        elif wrong == "no interface":
            given = None
    return Call(draw(st.booleans()), path, given, member, signature, body, draw(_flags(member)))
