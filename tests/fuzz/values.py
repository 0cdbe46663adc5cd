# SPDX-License-Identifier: Apache-2.0
"""Values of D-Bus types: ordinary, at the edges, odd, and huge."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from missiond.bus.wire.encode import Typed
from missiond.bus.wire.signature import split

Values = st.SearchStrategy[Any]

_BITS = {"y": (0, 8), "n": (1, 16), "q": (0, 16), "i": (1, 32), "u": (0, 32), "x": (1, 64), "t": (0, 64)}
_ODD = [
    "", " ", "\n", "\t\r\x1b[31m", "%s%n{0}", "../../etc/passwd", "a" * 64, "'\"`$(id)`", "\u202eevil\u2066",
    "\ufeff", "\uffff", "\U0010ffff", "é" * 512, "é" * 513, "e\u0301" * 40, "<node/>", "-1", "None",
]  # fmt: skip
_LONG = [1023, 1024, 1025, 4096, 4097, 65_537, 300_000]
TEXTS: Values = st.one_of(
    st.sampled_from(_ODD),
    st.text(max_size=12).map(lambda text: text.replace("\0", "0")),
    st.sampled_from(_LONG).map(lambda length: "x" * length),
)
SIGNATURES = st.sampled_from(
    [
        *"ybnqiuxtdsogv", "as", "ay", "au", "av", "a{sv}", "a{us}", "(us)", "a(uu)", "aa{sv}", "a{s(sv)}",
        "((((u))))", "aaaas", "a" * 31 + "u", "(" * 31 + "u" + ")" * 31,
    ]
)  # fmt: skip
PATHS = st.sampled_from(["/", "/a", "/org", "/org/missiond", "/_" * 30, "/0"])
_OTHERS: dict[str, Values] = {
    "b": st.booleans(),
    "d": st.floats(),
    "s": TEXTS,
    "o": PATHS,
    "h": st.integers(0, 3),
    "g": st.one_of(st.just(""), SIGNATURES),
}


def integers(code: str) -> Values:
    """Of one of the integer types, its ends included."""
    signed, bits = _BITS[code]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    edges = {low, low + 1, 0, 1, 2, 100, 101, high - 1, high, high // 2 + 1}
    return st.one_of(
        st.sampled_from(sorted(each for each in edges if low <= each <= high)), st.integers(low, high)
    )


@lru_cache(maxsize=256)
def of(type_: str) -> Values:
    """Values of one complete type, as `missiond.bus.wire.encode` takes them."""
    code = type_[0]
    if code in _BITS:
        return integers(code)
    if code == "v":
        return SIGNATURES.flatmap(lambda inner: of(inner).map(lambda value: Typed(inner, value)))
    if code == "(":
        return st.tuples(*map(of, split(type_[1:-1])))
    return _array(type_[1:]) if code == "a" else _OTHERS[code]


def _array(child: str) -> Values:
    if child == "y":
        return st.binary(max_size=40)
    if child[0] == "{":
        key, value = split(child[1:-1])
        return st.dictionaries(of(key), of(value), max_size=3)
    return st.lists(of(child), max_size=3)


BODIES: st.SearchStrategy[tuple[str, tuple[Any, ...]]] = st.lists(SIGNATURES, max_size=4).flatmap(
    lambda types: st.tuples(*map(of, types)).map(lambda body: ("".join(types), body))
)
"""A signature, and arguments that fit it."""
