# SPDX-License-Identifier: Apache-2.0
"""A program whose mission can go on elsewhere: it counts lines of standard input, or seconds without one.

Started to go on, it goes on from the count that it was handed. `--state SIZE` hands over so many more bytes
than the count, `--refuse` and `--hang` do as they say. It prints each count.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys

import missiond


class Counter:
    """A count, and what it is handed over as: the number, a newline, ballast, and the digest of that."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.count = 0
        self._arguments = arguments
        handed = missiond.handed_state()
        if handed is not None:
            number, _, rest = handed.state.partition(b"\n")
            ballast, digest = rest[:-32], rest[-32:]
            if hashlib.sha256(number + ballast).digest() != digest:
                raise SystemExit("the state is damaged")
            self.count = int(number)
            print(f"from {handed.device_id} with {handed.want_param}", flush=True)

    async def save(self, _request: missiond.MoveRequest) -> bytes | None:
        """Hand it over."""
        if self._arguments.hang:
            await asyncio.Event().wait()
        if self._arguments.refuse:
            return None
        number, ballast = b"%d" % self.count, bytes(int(self._arguments.state))
        return number + b"\n" + ballast + hashlib.sha256(number + ballast).digest()

    async def run(self) -> None:
        """Count until standard input ends."""
        async with (
            missiond.connect(session=self._arguments.session) as agent,
            agent.continuable(label="Counter", tag=7, on_move=self.save),
        ):
            print(self.count, flush=True)
            while await self._next():
                self.count += 1
                print(self.count, flush=True)

    async def _next(self) -> bool:
        if self._arguments.seconds:
            await asyncio.sleep(1)
            return True
        return bool(await asyncio.to_thread(sys.stdin.readline))


def main() -> None:
    """Read the command line, and count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--session", action="store_true")
    parser.add_argument("--seconds", action="store_true")
    parser.add_argument("--state", type=int, default=0)
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--hang", action="store_true")
    asyncio.run(Counter(parser.parse_args()).run())


if __name__ == "__main__":
    main()
