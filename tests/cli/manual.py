# SPDX-License-Identifier: Apache-2.0
"""What missionctl(1) says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from standins.generated import manual

_KEY = re.compile(r"\b[a-z_]+\b")


def page(name: str) -> str:
    """Read a manual page, with plain hyphens."""
    return manual(name).replace("\\-", "-")


def sections() -> dict[str, str]:
    """What it says of each verb."""
    verbs = page("missionctl.1").split(".SH VERBS")[1].split(".SH ")[0]
    return {section.split()[0]: section for section in verbs.split(".SS ")[1:]}


def json_keys(verb: str) -> set[str]:
    """Keys that it names under --json of a verb."""
    said = sections()[verb].partition(".B --json\n")[2]
    return {
        key for line in said.splitlines() if line.startswith((".I ", ".IR ", ".RI ")) for key in keys_in(line)
    }


def keys_in(line: str) -> list[str]:
    """Words of a line of the manual, its macro apart."""
    return _KEY.findall(line.partition(" ")[2])


def check_json(arguments: Sequence[str], out: str) -> None:
    """Raise AssertionError where a key of what was printed is not in the manual."""
    verb = next(word for word in arguments if not word.startswith("-"))
    undocumented = set(_keys(_documents(out))) - json_keys(verb)
    assert not undocumented, f"missionctl(1) says nothing of {undocumented} of {verb} --json"


def _documents(out: str) -> list[object]:
    try:
        return [json.loads(out)]
    except ValueError:  # one a line
        return [json.loads(line) for line in out.splitlines()]


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)
