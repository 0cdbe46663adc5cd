# SPDX-License-Identifier: Apache-2.0
"""A user with one connection to the bus: asker.

For each line [interface, path, member, signature, body] of input it makes that call and prints
[outcome, results]; options in the body are {key: [signature, value]}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hosts.crowd.wire_client import TASKS, Client, outcome
from missiond.bus.variants import unwrap
from missiond.bus.wire import message
from missiond.bus.wire.encode import Typed
from missiond.bus.wire.signature import split


def _typed(signature: str, body: list[Any]) -> list[Any]:
    values: list[Any] = []
    for type_, value in zip(split(signature), body, strict=True):
        if type_ == "v":
            values.append(Typed(*value))
        elif type_ == "a{sv}":
            values.append({key: Typed(*each) for key, each in value.items()})
        elif type_ == "ay":
            values.append(bytes(value))
        else:
            values.append(value)
    return values


def main() -> None:
    """Ask until the input ends."""
    client = Client(timeout=60)
    for line in sys.stdin:
        interface, path, member, signature, body = json.loads(line)
        answer = client.call((TASKS[0], path, interface), member, signature, _typed(signature, body))
        results = unwrap(list(answer.body)) if answer.type == message.RETURN else []
        print(json.dumps([outcome(answer), results]), flush=True)


main()
