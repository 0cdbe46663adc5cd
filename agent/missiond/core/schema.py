# SPDX-License-Identifier: Apache-2.0
"""JSON to dataclasses and back, by annotations: types, ranges, lengths and words are checked on the way in.

    class Cgroup(NamedTuple):           # an array
        inode: Annotated[int, Range(0, U64)]
        path: str

    @dataclass(frozen=True, slots=True)
    class Service:                      # an object
        manager: Annotated[int, Range(0, U32)] | None
        cgroup: Cgroup
        forgotten: Later[bool] = False  # not written by earlier versions

`load(Service, json)` and `dump(service)` are each other's inverse. A `str` is one that D-Bus can carry, an
`int` without a range has 64 bits with a sign, a `float` is finite. Tuples, lists and sets are arrays,
mappings with keys of text are objects, an enumeration is its value, bytes are base64.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, NoReturn, TypeVar

I32, U32 = 2**31 - 1, 2**32 - 1
I63, U64 = 2**63 - 1, 2**64 - 1
MAX_TEXT, MOST_ITEMS = 1 << 20, 1 << 20
"""Default limits of texts, and of arrays and objects."""

T = TypeVar("T")
Check = Callable[[Any], Any]
"""JSON value to value; raises BadValue."""


class BadValue(ValueError):
    """A JSON value outside the schema; `str()` gives the reason without the value, safe to log."""


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `least` to `most`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Length:
    """At most so many characters of a text, elements of an array, or members of an object."""

    most: int


@dataclass(frozen=True, slots=True)
class Form:
    """A pattern for all of a text, and a name for people."""

    pattern: str
    name: str


@dataclass(frozen=True, slots=True)
class Words:
    """The allowed values of a text, or of an enumeration of texts."""

    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Base64:
    """Bytes as base64, from `least` to `most` bytes."""

    least: int = 0
    most: int = I32


@dataclass(frozen=True, slots=True)
class Checked:
    """A further check after the one for the type; returns the value to keep."""

    check: Check


@dataclass(frozen=True, slots=True)
class Through:
    """A pair of functions in place of the codec of a type; `dump` is None where the value is JSON already."""

    load: Check
    dump: Callable[[Any], Any] | None = None


class _Later:
    pass


class _Unwritten:
    pass


Later = Annotated[T, _Later]
"""A member unknown to earlier versions: the default stands for a missing one."""
Unwritten = Annotated[T, _Unwritten]
"""A field left out of the JSON: an argument of `load`, or the default."""


@dataclass(frozen=True, slots=True)
class _Plan:
    members: tuple[tuple[str, Check, bool], ...]
    """Name, check, and whether it may be missing."""
    plain: tuple[str, ...]
    dumps: tuple[tuple[str, Callable[[Any], Any]], ...]
    names: frozenset[str]


def load(kind: Callable[..., T], value: object, *, exact: bool = False, **given: object) -> T:
    """Return an instance of the dataclass; raises BadValue.

    :param exact: refuse members that the class does not know, which are ignored otherwise.
    :param given: values of fields that are not in the JSON.
    """
    plan = _plan(kind)
    if type(value) is not dict:
        raise BadValue("not an object")
    for name, check, later in plan.members:
        if name in value:
            try:
                given[name] = check(value[name])
            except BadValue as error:
                raise BadValue(f"{name}: {error}") from None
        elif not later:
            raise BadValue(f"no {name}")
    if exact and not value.keys() <= plan.names:
        raise BadValue("unknown members")
    return kind(**given)


def dump(instance: Any) -> dict[str, Any]:  # noqa: ANN401 (any dataclass)
    """Return a dataclass as an object of JSON, the inverse of `load`."""
    plan = _plan(instance.__class__)
    found = {name: getattr(instance, name) for name in plan.plain}
    for name, convert in plan.dumps:
        found[name] = convert(found[name])
    return found


@functools.cache
def check_of(annotation: Any) -> Check:  # noqa: ANN401 (a type or an Annotated)
    """Return the check for a value of this annotation."""
    return _codec(annotation).load


def decode(data: bytes | str) -> Any:  # noqa: ANN401 (whatever JSON holds)
    """Return the value of a JSON text; raises BadValue."""
    try:
        return _decoder.decode(data if isinstance(data, str) else data.decode())
    except BadValue:
        raise
    except RecursionError:
        raise BadValue("nested too deeply") from None
    except ValueError:  # not UTF-8, not JSON, a number of thousands of digits
        raise BadValue("not JSON") from None


def clean(text: str) -> bool:
    """Return whether D-Bus can carry a text: JSON can spell NUL and lone surrogates, D-Bus can't."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise BadValue(f"{name} is no number")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


@functools.cache
def _plan(kind: Any) -> _Plan:  # noqa: ANN401 (a dataclass)
    hints = typing.get_type_hints(kind, include_extras=True)
    members, plain, dumps = [], [], []
    for field in fields(kind):
        hint = hints[field.name]
        extra = getattr(hint, "__metadata__", ())
        if _Unwritten in extra:
            continue
        codec = _codec(hint)
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        members.append((field.name, codec.load, _Later in extra and has_default))
        plain.append(field.name)
        if codec.dump is not None:
            dumps.append((field.name, codec.dump))
    return _Plan(tuple(members), tuple(plain), tuple(dumps), frozenset(plain))


def _codec(hint: Any) -> Through:  # noqa: ANN401 (a type or an Annotated)
    extra: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, extra = hint.__origin__, hint.__metadata__
    codec = _one(extra, Through, None) or _of_type(hint, extra)
    for each in extra:
        if isinstance(each, Checked):
            codec = Through(_both(codec.load, each.check), codec.dump)
    return codec


def _of_type(hint: Any, extra: tuple[Any, ...]) -> Through:  # noqa: ANN401, PLR0911
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (each for each in args if each is not types.NoneType)
        return _optional(_codec(inner))
    if origin is tuple and args[-1] is not Ellipsis:
        return _array(tuple, args)
    if origin in (tuple, list, frozenset):
        return _sequence(origin, _codec(args[0]), extra)
    if origin is not None and issubclass(origin, Mapping):
        return _object(_codec(args[0]).load, _codec(args[1]), extra)
    if hint in _SIMPLE:
        return _SIMPLE[hint](extra)
    if is_dataclass(hint):
        return Through(functools.partial(load, hint), dump)  # type: ignore[arg-type]
    if issubclass(hint, Enum):
        return _enumeration(hint, extra)
    if issubclass(hint, tuple):
        return _array(hint, typing.get_type_hints(hint, include_extras=True).values())
    raise TypeError(f"no schema for {hint!r}")


def _one(extra: tuple[Any, ...], kind: type[T], default: T | None) -> Any:  # noqa: ANN401 (that kind, or the default)
    return next((each for each in extra if isinstance(each, kind)), default)


def _both(first: Check, second: Check) -> Check:
    return lambda value: second(first(value))


def _as_it_is(value: Any) -> Any:  # noqa: ANN401
    return value


def _whole(extra: tuple[Any, ...]) -> Check:
    bounds = _one(extra, Range, Range(-(2**63), I63))
    least, most = bounds.least, bounds.most

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise BadValue(f"not a whole number from {least} to {most}")
        return value

    return check


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise BadValue("neither true nor false")
    return value


def _finite(value: object) -> float:
    if type(value) is not int and type(value) is not float:
        raise BadValue("not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise BadValue("a number without end")
    return found


def _text(extra: tuple[Any, ...]) -> Check:
    form, words = _one(extra, Form, None), _one(extra, Words, None)
    if words is not None:
        return _word(words.allowed)
    matches = None if form is None else re.compile(form.pattern, re.ASCII).fullmatch
    most = _one(extra, Length, Length(MAX_TEXT)).most
    refusal = f"not a string of at most {most} characters" if form is None else f"not {form.name}"

    def check(value: object) -> str:
        if type(value) is not str or len(value) > most or (matches is not None and not matches(value)):
            raise BadValue(refusal)
        if "\0" in value or not (value.isascii() or clean(value)):
            raise BadValue("not valid text")
        return value

    return check


def _word(allowed: tuple[str, ...]) -> Check:
    def check(value: object) -> str:
        if type(value) is not str or value not in allowed:
            raise BadValue(f"none of {', '.join(allowed)}")
        return value

    return check


def _bytes(extra: tuple[Any, ...]) -> Through:
    form = _one(extra, Base64, Base64())

    def check(value: object) -> bytes:
        if type(value) is not str:
            raise BadValue("not text")
        try:
            found = base64.b64decode(value, validate=True)
        except ValueError:
            raise BadValue("not base64") from None
        if not form.least <= len(found) <= form.most:
            raise BadValue("of a wrong length")
        return found

    return Through(check, lambda value: base64.b64encode(value).decode())


_SIMPLE: dict[Any, Callable[[tuple[Any, ...]], Through]] = {
    Any: lambda _: Through(_as_it_is),
    bool: lambda _: Through(_boolean),
    int: lambda extra: Through(_whole(extra)),
    float: lambda _: Through(_finite),
    str: lambda extra: Through(_text(extra)),
    bytes: _bytes,
}


def _enumeration(kind: type[Enum], extra: tuple[Any, ...]) -> Through:
    words = _one(extra, Words, None)
    members = {each.value: each for each in kind if words is None or each.value in words.allowed}

    def check(value: object) -> Enum:
        if type(value) not in (int, str) or (found := members.get(value)) is None:
            raise BadValue(f"none of {', '.join(map(str, members))}")
        return found

    return Through(check, lambda member: member.value)


def _optional(codec: Through) -> Through:
    check, convert = codec.load, codec.dump
    convert_or_none = None if convert is None else lambda value: None if value is None else convert(value)
    return Through(lambda value: None if value is None else check(value), convert_or_none)


def _array(kind: Any, hints: Iterable[Any]) -> Through:  # noqa: ANN401 (tuple, or a NamedTuple)
    """Return the codec of a tuple whose elements have types of their own."""
    codecs = [_codec(hint) for hint in hints]
    make = tuple if kind is tuple else kind._make
    checks = [codec.load for codec in codecs]
    converts = [codec.dump or _as_it_is for codec in codecs]

    def check(value: object) -> Any:  # noqa: ANN401 (that kind)
        if type(value) is not list or len(value) != len(checks):
            raise BadValue(f"not a list of {len(checks)}")
        return make([each(item) for each, item in zip(checks, value, strict=True)])

    return Through(check, lambda value: [each(item) for each, item in zip(converts, value, strict=True)])


def _sequence(kind: Any, codec: Through, extra: tuple[Any, ...]) -> Through:  # noqa: ANN401
    each, convert = codec.load, codec.dump
    most = _one(extra, Length, Length(MOST_ITEMS)).most

    def check(value: object) -> Any:  # noqa: ANN401 (that kind)
        if type(value) is not list or len(value) > most:
            raise BadValue(f"not a list of at most {most}")
        return kind(map(each, value))

    if kind is frozenset:
        return Through(check, lambda value: sorted(value if convert is None else map(convert, value)))
    return Through(check, list if convert is None else lambda value: [*map(convert, value)])


def _object(key: Check, codec: Through, extra: tuple[Any, ...]) -> Through:
    each, convert = codec.load, codec.dump
    most = _one(extra, Length, Length(MOST_ITEMS)).most

    def check(value: object) -> dict[str, Any]:
        if type(value) is not dict or len(value) > most:
            raise BadValue(f"not an object of at most {most} members")
        return {key(name): each(item) for name, item in value.items()}

    return Through(
        check, dict if convert is None else lambda value: {k: convert(v) for k, v in value.items()}
    )
