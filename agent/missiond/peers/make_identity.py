# SPDX-License-Identifier: Apache-2.0
"""`python3 -m missiond.peers.make_identity DIRECTORY`: make the key and certificate of this host, once.

A host whose state was copied from another makes its own, and trusts nobody yet.

A process of its own, run before the unit: the library that makes certificates would stay in its memory. It is
loaded where there is one to be made: each start of the unit waits for this.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from missiond.peers import IDENTITY as FILE
from missiond.store.machine import set_aside_copies
from missiond.store.safe_files import open_regular, write_all

if TYPE_CHECKING:
    from cryptography import x509

# RFC 5280, 4.1.2.5: a certificate with no well-defined end; and hosts without a clock start in 1970.
_BEGIN = dt.datetime(1970, 1, 1)
_END = dt.datetime(9999, 12, 31, 23, 59, 59)
NAMES = (FILE, "peers", "wishes.json")
"""Files foreign to a clone: the original's identity, trust and subscriptions."""
PAUSE = 10.0
"""Seconds before systemd may try again after a failure."""


def make(common_name: str | None = None, begin: dt.datetime = _BEGIN, end: dt.datetime = _END) -> bytes:
    """Return a new P-256 key and a self-signed certificate of the key, both PEM.

    The name is random: OpenSSL looks trusted certificates up by subject, so two must not share one, and the
    device id, which is made of the certificate, can't be in it.
    """
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name or secrets.token_hex(16))])
    usages = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signatures_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    secret: bytes = key.private_bytes(pem, form, serialization.NoEncryption())
    public: bytes = certificate.public_bytes(pem)
    return secret + public


def _signatures_only() -> x509.KeyUsage:
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def store(directory: Path, pem: bytes) -> None:
    """Write the identity file, whole or not at all after a crash; raises OSError."""
    temporary, final = directory / f"{FILE}.tmp", directory / FILE
    temporary.unlink(missing_ok=True)
    fd = open_regular(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(fd, pem)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(final)


def main(arguments: list[str]) -> int:
    """Make a missing identity; leave a damaged one alone, as a new one would be a stranger.

    The unit then says what is wrong with it.
    """
    if len(arguments) != 1:
        print("usage: python3 -m missiond.peers.make_identity DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    try:
        copied = set_aside_copies(directory, NAMES)
        if copied:
            print(
                f"{', '.join(copied)} came from another machine, whose id is not this one's: set aside in "
                f"{directory}; this host gets an id of its own, and has to be paired",
                file=sys.stderr,
            )
        if not (directory / FILE).exists():
            store(directory, make())
    except OSError as error:
        print(f"the identity of this host can't be made: {error}", file=sys.stderr)
        if "INVOCATION_ID" in os.environ:  # started by systemd
            time.sleep(PAUSE)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
