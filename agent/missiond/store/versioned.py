# SPDX-License-Identifier: Apache-2.0
"""JSON objects in files that name the version of what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from missiond.core import schema

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode(content: Mapping[str, Any], version: int) -> bytes:
    """Write one; raises ValueError for numbers that are none, TypeError for what JSON does not have."""
    return _encode({"version": version, **content}).encode("ascii")


def decode(data: bytes, version: int) -> dict[str, Any]:
    """Read one, without its version; raises ValueError when it is none of this version."""
    content = schema.decode(data)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (content, not a programming error)
    found = content.pop("version", None)
    if type(found) is not int or found != version:
        raise ValueError(f"version {found!r:.40} is not {version}")
    return content
