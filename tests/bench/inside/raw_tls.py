# SPDX-License-Identifier: Apache-2.0
"""Bytes over TLS 1.3 alone, from memory to nowhere: what a link and two processors can do at best.

Arguments: "take" SIZE, which prints its port, or "give" SIZE HOST PORT TIMES, which prints the seconds of
each time from the first byte to the answer that the last one is there, as a list in JSON.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from missiond.peers.make_identity import make

_PIECE = 1 << 18


def context(protocol: int) -> ssl.SSLContext:
    """As peers have it, but that nobody looks who the other is."""
    found = ssl.SSLContext(protocol)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "identity.pem"
            file.write_bytes(make())
            found.load_cert_chain(file)
    else:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


def take(size: int) -> None:
    """Take them in, from one after the other, until ended."""
    tls = context(ssl.PROTOCOL_TLS_SERVER)
    room = bytearray(_PIECE)
    with socket.create_server(("", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            plain, _ = listening.accept()
            with tls.wrap_socket(plain, server_side=True) as connection:
                left = size
                while left and (count := connection.recv_into(room)):
                    left -= count
                connection.sendall(b"." if not left else b"!")


def give(size: int, host: str, port: int, times: int) -> list[float]:
    """Send them."""
    tls = context(ssl.PROTOCOL_TLS_CLIENT)
    data = memoryview(os.urandom(size))
    took = []
    for _ in range(times):
        with socket.create_connection((host, port)) as plain, tls.wrap_socket(plain) as connection:
            begun = time.perf_counter()
            for at in range(0, size, _PIECE):
                connection.sendall(data[at : at + _PIECE])
            assert connection.recv(1) == b"."
            took.append(time.perf_counter() - begun)
    return took


if sys.argv[1] == "take":
    take(int(sys.argv[2]))
else:
    print(json.dumps(give(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))))
