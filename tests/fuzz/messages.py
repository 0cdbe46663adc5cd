# SPDX-License-Identifier: Apache-2.0
"""D-Bus messages as bytes, whole and spoilt."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz import values
from missiond.bus.wire import message as wire
from missiond.bus.wire.encode import encode

_NAMES = ["org.missiond.Agent1", "org.freedesktop.DBus", "org.missiond.Agent1.Sample", ":1.1"]
_LENGTHS = [0, 1, 7, 8, 0xFFFF, 2**20 + 1, 2**26, 2**27, 2**31, 2**32 - 1]


@dataclass(frozen=True)
class Damage:
    """Something done to the bytes at `place` (a share of the whole, 0 to 1)."""

    how: str
    place: float
    value: int

    def to(self, frame: bytes) -> bytes:
        """The spoilt bytes."""
        at = int(self.place * max(0, len(frame) - 1))
        if self.how == "flip":
            return frame[:at] + bytes([frame[at] ^ (self.value & 0xFF or 1)]) + frame[at + 1 :]
        if self.how == "cut":
            return frame[:at]
        if self.how == "insert":
            return frame[:at] + self.value.to_bytes(4, "little") + frame[at:]
        if self.how == "twice":
            return frame[:at] + frame
        # the lengths of body and header fields, and the serial between them
        field = 4 + 4 * (at % 3)
        return frame[:field] + self.value.to_bytes(4, "little") + frame[field + 4 :]


DAMAGES = st.builds(
    Damage,
    st.sampled_from(["flip", "flip", "cut", "insert", "twice", "length"]),
    st.floats(0, 1),
    st.one_of(st.sampled_from(_LENGTHS), st.integers(0, 2**32 - 1)),
)


@st.composite
def frames(draw: st.DrawFn, kinds: tuple[int, ...] = (1, 2, 3, 4)) -> bytes:
    """A message as it should be, but for what its fields say."""
    kind = draw(st.sampled_from(kinds))
    signature, body = draw(values.BODIES)
    error = draw(st.sampled_from(["org.missiond.Agent1.Error.X", "a.b"])) if kind == wire.ERROR else None
    named = kind in (wire.CALL, wire.SIGNAL)
    return wire.build(
        kind,
        draw(st.integers(1, 2**32 - 1)),
        flags=draw(st.integers(0, 255)),
        path=draw(values.PATHS) if named else None,
        interface=draw(st.sampled_from(_NAMES[:3])) if named else None,
        member=draw(st.sampled_from(["Echo", "Swap", "Ping", "NameOwnerChanged", "x"])) if named else None,
        error_name=error,
        reply_serial=draw(st.integers(1, 300)) if error or kind == wire.RETURN else 0,
        destination=draw(st.sampled_from([None, *_NAMES])),
        signature=signature,
        body=encode(signature, body),
        fd_count=draw(st.sampled_from([0, 0, 0, 1, 3, 255])),
    )


@st.composite
def spoilt(draw: st.DrawFn, kinds: tuple[int, ...] = (1, 2, 3, 4)) -> bytes:
    """Some messages, one of them damaged, or no message at all."""
    found = draw(st.lists(frames(kinds), min_size=1, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        return b"".join(found) + draw(st.binary(min_size=1, max_size=64))
    victim = draw(st.integers(0, len(found) - 1))
    for damage in draw(st.lists(DAMAGES, min_size=1, max_size=3)):
        found[victim] = damage.to(found[victim]) or b"l"
    return b"".join(found)
