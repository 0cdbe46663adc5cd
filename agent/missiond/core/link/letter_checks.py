# SPDX-License-Identifier: Apache-2.0
"""Checks of what letters say."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from missiond.core.link.checks import BadMessage, clean
from missiond.core.link.timeouts import MAX_BODY

_TRANSFER = re.compile("[0-9a-f]{32}")
_STEP = re.compile("[a-z][a-z0-9-]{0,31}")


def transfer(value: object) -> str:
    """Check for the id of a transfer."""
    if type(value) is not str or not _TRANSFER.fullmatch(value):
        raise BadMessage("not 32 lower-case hexadecimal digits")
    return value


def step(value: object) -> str:
    """Check for the name of a step."""
    if type(value) is not str or not _STEP.fullmatch(value):
        raise BadMessage("not a word of at most 32 lower-case letters, digits and hyphens")
    return value


def body(value: object) -> str:
    """Check for a JSON object, as text, that a bus can carry."""
    if type(value) is not str or len(value) > MAX_BODY or not clean(value):
        raise BadMessage(f"not text of at most {MAX_BODY} bytes")
    if not value.isascii() and len(value.encode()) > MAX_BODY:
        raise BadMessage(f"not text of at most {MAX_BODY} bytes")
    try:
        found = _decoder.decode(value)
    except BadMessage:
        raise
    except RecursionError:
        raise BadMessage("nested too deeply") from None
    except ValueError:  # no JSON, or a number of thousands of digits
        raise BadMessage("not JSON") from None
    if type(found) is not dict:
        raise BadMessage("not a JSON object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise BadMessage(f"{name} is no number")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
